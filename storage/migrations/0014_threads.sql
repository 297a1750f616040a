-- Threads: messages that belong to another one, their root. They stand in the same log, in one order, and say so in their
-- `content`: {"thread": root}, which stays when they are deleted. A root shows in its `detail` what its thread has.
--
-- An append of plain messages (append_new) touches none of this: who writes in a thread does so by an action (0007).

-- What a thread has, of messages that are not deleted.
create table thread (
    conversation uuid    not null references conversation,
    root         bigint  not null,
    count        integer not null check (count >= 0),
    last_seq     bigint  not null,                            -- of the last of them; 0: there are none
    last_at_ms   bigint  not null,
    users        uuid[]  not null,                            -- the first few who wrote there, in order
    primary key (conversation, root)
) with (fillfactor = 70);
create unique index thread_activity on thread (conversation, last_seq) where count > 0;

create table thread_message (
    conversation uuid    not null references conversation,
    root         bigint  not null,
    seq          bigint  not null,
    author       uuid    not null,
    deleted      boolean not null default false,
    primary key (conversation, root, seq)
);
create unique index thread_message_place on thread_message (conversation, seq);
create index thread_message_author on thread_message (conversation, root, author);
create index thread_message_left on thread_message (conversation, root, seq) where not deleted;
create index thread_message_left_by on thread_message (conversation, root, author, seq) where not deleted;


-- Whether message *p_root* can have a thread, as far as the person may know. Null: it can; else {"error": code, "seq"}.
create function thread_problem(p_conversation uuid, p_person uuid, p_root bigint) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    m entry;
begin
    select * into m from visible_message(p_conversation, p_person, p_root);
    if not found then return json_build_object('error', 'unknown_message', 'seq', p_root); end if;
    if m.content ->> 'thread' is not null then return json_build_object('error', 'in_a_thread', 'seq', p_root); end if;
    return null;
end $$;

-- Let a root show what its thread has now, after entry *p_changed*.
--   Returns what that entry is to say of it; null if the root is deleted, and shows nothing.
create function show_thread(p_conversation uuid, p_root bigint, p_changed bigint) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_replies json;
begin
    select json_build_object('count', count, 'last_seq', last_seq, 'last_at_ms', last_at_ms, 'users', to_json(users))
        into v_replies from thread where conversation = p_conversation and root = p_root and count > 0;
    update entry set detail = detail_with(detail, json_build_object('replies', v_replies, 'changed', p_changed))
        where conversation = p_conversation and seq = p_root and detail ->> 'deleted' is null;
    if not found then return null; end if;
    return json_strip_nulls(json_build_object('seq', p_root, 'replies', v_replies));
end $$;

-- Count message *p_begun* of *p_author* in its thread. The conversation is locked.
--   Returns the message's detail; null if it is in no thread.
create function thread_joined(p_conversation uuid, p_root bigint, p_author uuid, p_begun begun, p_rules json) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
begin
    if p_root is null then return null; end if;
    insert into thread_message (conversation, root, seq, author) values (p_conversation, p_root, p_begun.seq, p_author);
    insert into thread as t (conversation, root, count, last_seq, last_at_ms, users)
    values (p_conversation, p_root, 1, p_begun.seq, p_begun.at_ms, array[p_author])
    on conflict (conversation, root) do update set
        count = t.count + 1, last_seq = excluded.last_seq, last_at_ms = excluded.last_at_ms,
        users = case when p_author = any (t.users) or cardinality(t.users) >= (p_rules ->> 'thread_users')::integer
                then t.users else t.users || p_author end;
    return json_build_object('threads', json_build_array(show_thread(p_conversation, p_root, p_begun.seq)));
end $$;

-- Who wrote in a thread first, in order, after messages of *p_gone* were deleted that stood there before; *p_users*: who it
-- was until then. Where these are fewer than are named nobody else is there; where nobody of them is concerned nothing
-- changes. Otherwise the messages are looked through from the first that is left until so many people are found.
create function thread_authors(
    p_conversation uuid, p_root bigint, p_users uuid[], p_gone uuid[], p_most integer
) returns uuid[] language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_users uuid[] := '{}';
    v_author uuid;
    v_seq bigint := 0;
begin
    if not p_users && p_gone then return p_users; end if;
    if cardinality(p_users) < p_most then
        return array(
            select u from unnest(p_users) u cross join lateral (
                select seq from thread_message where conversation = p_conversation and root = p_root and author = u
                    and not deleted order by seq limit 1) first
            order by first.seq);
    end if;
    while cardinality(v_users) < p_most loop
        select seq, author into v_seq, v_author from thread_message
            where conversation = p_conversation and root = p_root and not deleted and seq > v_seq
                and author <> all (v_users)
            order by seq limit 1;
        exit when not found;
        v_users := v_users || v_author;
    end loop;
    return v_users;
end $$;

-- Count messages no more that entry *p_changed* has deleted. The conversation is locked. What this reads does not grow
-- with the thread.
--   Returns what that entry is to say of their roots; null if there is nothing to say.
create function threads_left(p_conversation uuid, p_messages bigint[], p_changed bigint, p_rules json) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_root bigint;
    v_gone uuid[];                                            -- their authors, one each
    v_shown json;
    v_all json[] := '{}';
begin
    for v_root in select distinct root from thread_message
            where conversation = p_conversation and seq = any (p_messages) and not deleted order by root loop
        with gone as (
            update thread_message set deleted = true
            where conversation = p_conversation and root = v_root and seq = any (p_messages) and not deleted
            returning author
        )
        select array_agg(author) into v_gone from gone;
        update thread t set
                count = t.count - cardinality(v_gone), last_seq = left_.seq,
                last_at_ms = case when left_.seq = t.last_seq then t.last_at_ms else coalesce(
                    (select at_ms from entry where conversation = p_conversation and seq = left_.seq), 0) end,
                users = thread_authors(p_conversation, v_root, t.users, v_gone, (p_rules ->> 'thread_users')::integer)
            from (select coalesce((select seq from thread_message
                                   where conversation = p_conversation and root = v_root and not deleted
                                   order by seq desc limit 1), 0) as seq) left_
            where t.conversation = p_conversation and t.root = v_root;
        v_shown := show_thread(p_conversation, v_root, p_changed);
        if v_shown is not null then v_all := v_all || v_shown; end if;
    end loop;
    return case when cardinality(v_all) > 0 then array_to_json(v_all) end;
end $$;


-- --- One's own of it ---

-- Whether somebody follows a thread: as one said; else if the root is one's own, or one has ever written there.
create function follows_thread(p_person uuid, p_conversation uuid, p_root bigint) returns boolean language sql stable
set enable_seqscan = off
return coalesce(
    (select (value ->> 'following')::boolean from personal
     where person = p_person and what = 'thread' and subject = p_conversation || '/' || p_root),
    exists (select from entry where conversation = p_conversation and seq = p_root and author = p_person)
    or exists (select from thread_message where conversation = p_conversation and root = p_root and author = p_person));

-- One's read cursor in a thread.
create function thread_read(p_person uuid, p_conversation uuid, p_root bigint) returns bigint language sql stable
set enable_seqscan = off
return coalesce((select (value ->> 'read')::bigint from personal
                 where person = p_person and what = 'thread' and subject = p_conversation || '/' || p_root), 0);

-- Messages of others above that cursor that one may see, without those that are deleted or hidden; no more than *p_most*.
create function thread_unread(p_person uuid, p_conversation uuid, p_root bigint, p_most integer) returns bigint
language sql stable
set enable_seqscan = off
as $$
    select count(*) from (
        select from thread_message t
        where t.conversation = p_conversation and t.root = p_root
            and t.seq > thread_read(p_person, p_conversation, p_root) and not t.deleted and t.author <> p_person
            and exists (select from span s where s.conversation = p_conversation and s.person = p_person
                        and t.seq between s.since and coalesce(s.until, 9223372036854775807))
            and not exists (select from hidden h where h.person = p_person and h.conversation = p_conversation
                            and h.seq = t.seq)
        limit p_most) unread
$$;

-- Follow a thread or let it go; raise one's read cursor in it (0006: a command of one's own).
create function mark_thread(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_subject text := v_conversation || '/' || (p_command ->> 'seq');
    v_answer json;
    v_old jsonb;
begin
    v_answer := begin_conversation_personal(p_person, p_command);
    if v_answer is not null then return v_answer; end if;
    v_answer := thread_problem(v_conversation, p_person, (p_command ->> 'seq')::bigint);
    if v_answer is not null then return v_answer; end if;
    select value::jsonb into v_old from personal
        where person = p_person and what = 'thread' and subject = v_subject;
    v_old := coalesce(v_old, '{}') || case p_command ->> 't'
        when 'thread.follow' then jsonb_build_object('following', (p_command ->> 'on')::boolean)
        when 'thread.read' then jsonb_build_object('read', greatest(
            (v_old ->> 'read')::bigint,
            least((p_command ->> 'read')::bigint, (select last_seq from conversation where id = v_conversation))))
        end;
    return end_personal(p_person, v_conversation::text, p_command ->> 'key', personal_digest(p_command),
                        set_personal(p_person, 'thread', v_subject, v_old::json));
end $$;


-- --- Reading ---

-- The threads of a conversation that one is in, whose root one may see, last active first: a page of those below *p_below*.
--   Returns {"threads": [{"seq", "replies", "following", "read", "unread"}, ...], "more": bool} or {"error": code}.
create function conversation_threads(p_person uuid, p_conversation uuid, p_below bigint, p_limit integer, p_unread integer)
returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    with page as materialized (
        select t.*, row_number() over (order by t.last_seq desc) as nth from (
            select * from thread t where t.conversation = p_conversation and t.count > 0 and t.last_seq < p_below
                and exists (select from span s where s.conversation = p_conversation and s.person = p_person
                            and t.root between s.since and coalesce(s.until, 9223372036854775807))
            order by t.last_seq desc limit p_limit + 1) t
    )
    select case
        when not exists (select from span where conversation = p_conversation and person = p_person and until is null)
            then json_build_object('error', 'not_a_member')
        else json_build_object(
            'threads', (select coalesce(json_agg(json_build_object(
                            'seq', root,
                            'replies', json_build_object('count', count, 'last_seq', last_seq, 'last_at_ms', last_at_ms,
                                                         'users', to_json(users)),
                            'following', follows_thread(p_person, p_conversation, root),
                            'read', thread_read(p_person, p_conversation, root),
                            'unread', thread_unread(p_person, p_conversation, root, p_unread)) order by nth), '[]')
                        from page where nth <= p_limit),
            'more', exists (select from page where nth > p_limit)) end
$$;

-- A page of a thread's messages that one may see, those below *p_before*, oldest first.
--   Returns {"entries", "more"} or {"error": code}.
create function thread_page(
    p_person uuid, p_conversation uuid, p_root bigint, p_before bigint, p_limit integer, p_bytes integer
) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    with page as materialized (
        select e.*::entry as e, e.seq,
               row_number() over (order by e.seq desc) as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0)
                   + coalesce(octet_length(e.content::text), 0) + 200) over (order by e.seq desc) as through
        from (select t.seq from span s cross join lateral (
                  select seq from thread_message where conversation = s.conversation and root = p_root
                      and seq >= s.since and seq < least(p_before, s.until + 1)
                  order by seq desc limit p_limit + 1) t
              where s.conversation = p_conversation and s.person = p_person order by t.seq desc limit p_limit + 1) t
        cross join lateral (select * from entry where conversation = p_conversation and seq = t.seq limit 1) e
    ), fitting as (
        select * from page where nth <= p_limit and (through <= p_bytes or nth = 1)
    )
    select case
        when not exists (select from span where conversation = p_conversation and person = p_person)
            then json_build_object('error', 'not_a_member')
        else coalesce(
            thread_problem(p_conversation, p_person, p_root),
            json_build_object('entries', coalesce((select json_agg(entry_json(e) order by seq) from fitting), '[]'),
                              'more', (select count(*) from fitting) < (select count(*) from page))) end
$$;


-- --- A conversation as a person sees it ---

-- As in 0002, with all that was added since. Unread are messages of others that are neither deleted (0005), nor hidden by
-- oneself (0006), nor in a thread, which has a number of its own; who hides reading neither shows nor sees it (0012); rooms
-- and channels are counted, not listed (0009).
create or replace function conversation_states(asks json, p_named integer, p_unread integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    select coalesce(json_agg(json_build_object('q', i.q, 'state', json_strip_nulls(json_build_object(
        'conversation', v.id, 'kind', v.kind, 'title', v.title, 'history', v.history, 'owner', v.owner,
        'retention_s', v.retention_s,
        'pins', case when m.until is null and exists (select from pin where conversation = v.id)
            then conversation_pins(v.id, i.p) end,
        'head', coalesce(m.until, v.last_seq), 'first_seq', m.since, 'joined', m.joined, 'until', m.until,
        'read', coalesce(mine.read, 0), 'delivered', coalesce(mine.delivered, 0), 'active_at_ms', v.active_at_ms,
        'members', case when m.until is null and v.kind in ('direct', 'group') then   -- nobody lists a room
            (select json_agg(s.person order by s.joined, s.place) from span s where s.conversation = v.id and s.until is null) end,
        'names', case when m.until is null and v.member_count <= p_named then
            (select json_object_agg(a.id, a.name) from span s join account a on a.id = s.person
             where s.conversation = v.id and s.until is null) end,
        'receipts', case when m.until is null and v.member_count <= p_named then
            (select json_agg(json_build_object('user', r.person, 'delivered', r.delivered,
                 'read', case when (select read_receipts from privacy where person = i.p) is not false
                               and (select read_receipts from privacy where person = r.person) is not false
                              then r.read else 0 end) order by r.person)
             from receipt r join span s on s.conversation = v.id and s.person = r.person and s.until is null
             where r.conversation = v.id and r.person <> i.p) end,
        'topic', v.topic, 'photo', v.photo, 'slow_mode_s', v.slow_mode_s,
        'tags', nullif(v.tags, '{}'), 'public', v.public,
        'member_count', case when m.until is null and v.kind in ('room', 'channel') then v.member_count end,
        'admins', case when m.until is null and v.kind <> 'direct' then        
            (select json_agg(s.person order by s.person) from span s
             where s.conversation = v.id and s.until is null and s.role = 'admin') end,
        'unread', (select count(*) filter (where e.kind = 'message' and e.author <> i.p and e.content ->> 'thread' is null and e.seq <> all (h.seqs)
                                           and e.detail ->> 'deleted' is null) from
                   (select kind, author, content, detail, seq from entry where conversation = v.id
                        and seq > greatest(mine.read, m.since - 1) and seq <= coalesce(m.until, 9223372036854775807)
                    order by seq limit p_unread) e),
        'recent', (select json_agg(entry_json(e.*) order by e.seq) from
                   (select e.* from span s cross join lateral (
                        select * from entry where conversation = s.conversation
                            and seq >= s.since and seq <= coalesce(s.until, 9223372036854775807)
                        order by seq desc limit i.r) e
                    where s.conversation = v.id and s.person = i.p order by e.seq desc limit i.r) e)))) order by i.n), '[]')
    from rows from (json_to_recordset(asks) as (q integer, p uuid, c uuid, r integer)) with ordinality as i(q, p, c, r, n)
    cross join lateral (select * from conversation where id = i.c limit 1) v
    cross join lateral (select * from span where conversation = v.id and person = i.p order by joined desc limit 1) m
    left join lateral (select * from receipt where conversation = v.id and person = i.p limit 1) mine on true
    cross join lateral (select coalesce(array_agg(seq), '{}') as seqs from hidden
                        where person = i.p and conversation = v.id and seq > coalesce(mine.read, 0)) h
$$;
