-- What is unread, who sees how far whom has read, and who sees whom there.

-- A person's switches. Who never touched one has no row, so the table stays small and nearly every look-up misses.
create table privacy (
    person        uuid    primary key references account,
    read_receipts boolean not null default true,             -- off: one's read cursors are told to nobody, and nobody's to one
    last_seen     text    not null default 'everyone' check (last_seen in ('everyone', 'contacts', 'nobody')),
    typing        boolean not null default true
) with (fillfactor = 70);

-- When the delivered cursor rose last. Who may not see the read cursor is told nothing when that alone rises: the time of
-- a receipt that says nothing new would be the time of reading. Null: as `at_ms` (rows from before, and of newcomers).
alter table receipt add column delivered_ms bigint;


-- Whether a conversation counts in its member's badge, by the member's settings of it (0006_personal.sql): null, as it
-- stands; 'silent', not at all (muted now, archived); 'unread', as one conversation even when no message is unread.
create function badge_mark(p_person uuid, p_conversation uuid) returns text language sql stable
set enable_seqscan = off
as $$
    select case when value ->> 'archived' = 'true'
                     or (value ->> 'muted' = 'true' and coalesce((value ->> 'muted_until_ms')::bigint > now_ms(), true)) then 'silent'
                when value ->> 'unread' = 'true' then 'unread' end
    from personal where person = p_person and what = 'settings' and subject = p_conversation::text
$$;

-- The badge: unread messages and conversations over all that one is in, by the rule of conversation_states: messages of
-- others above the read cursor that are not deleted nor hidden by oneself, among the first p_unread entries there. It never counts messages
-- beyond p_most ("999+"): from there on it only looks whether a conversation has any.
--   Returns {"messages", "conversations"}.
create function unread_total(p_person uuid, p_most integer default 1000, p_unread integer default 1000) returns json
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
declare
    s record;
    v_mark text;
    v_count bigint;
    v_messages bigint := 0;
    v_conversations bigint := 0;
begin
    for s in
        select m.conversation, greatest(coalesce(r.read, 0), m.since - 1) as read, v.last_seq
        -- (Not "until is null": the index of open spans looks like one by person while it is small.)
        from (select conversation, since from span where person = p_person and coalesce(until, 0) = 0 offset 0) m
        cross join lateral (select last_seq from conversation where id = m.conversation limit 1) v
        left join lateral (select read from receipt where conversation = m.conversation and person = p_person limit 1) r on true
    loop
        v_mark := badge_mark(p_person, s.conversation);
        continue when v_mark = 'silent' or (v_mark is null and s.last_seq <= s.read);
        if v_messages < p_most then
            select count(*) filter (where kind = 'message' and author <> p_person and detail ->> 'deleted' is null
                                          and not exists (select from hidden h where h.person = p_person
                                                          and h.conversation = s.conversation and h.seq = e.seq))
            into v_count from (
                select seq, kind, author, detail from entry where conversation = s.conversation and seq > s.read
                order by seq limit p_unread) e;
        else
            select count(*) into v_count from (
                select from (select seq, kind, author, detail from entry where conversation = s.conversation and seq > s.read
                             order by seq limit p_unread) e
                where kind = 'message' and author <> p_person and detail ->> 'deleted' is null
                    and not exists (select from hidden h where h.person = p_person
                                    and h.conversation = s.conversation and h.seq = e.seq) limit 1) first;
        end if;
        v_messages := v_messages + v_count;
        v_conversations := v_conversations + case when v_count > 0 or v_mark = 'unread' then 1 else 0 end;
    end loop;
    return json_build_object('messages', least(v_messages, p_most), 'conversations', v_conversations);
end $$;


-- As before (0006_personal.sql) but for the two places marked "0012": a deleted message is not unread, and the read
-- cursors of others are 0 for who hides reading, and of who does.
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
                 'read', case when (select read_receipts from privacy where person = i.p) is not false        -- 0012
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
        'unread', (select count(*) filter (where e.kind = 'message' and e.author <> i.p and e.seq <> all (h.seqs)
                                           and e.detail ->> 'deleted' is null) from                           -- 0012
                   (select kind, author, detail, seq from entry where conversation = v.id
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


-- As before, and beside it what is needed to tell the others as much as they may know:
--   Returns [{"member", "delivered", "read", "rose", "members",
--             "arrived": the delivered cursor rose, "hidden": the person's reading is told to nobody}, ...].
create or replace function move_receipts(batch json) returns json language plpgsql volatile set enable_seqscan = off as $$
declare answer json;
begin
    perform from (select c, p from json_to_recordset(batch) as x(c uuid, p uuid) order by c, p) x
        cross join lateral (select from receipt where conversation = x.c and person = x.p for no key update) locked;
    with i as materialized (
        select x.c, x.p, x.n, v.member_count, m.person is not null as member,
               least(greatest(x.d, x.r), v.last_seq) as d, least(x.r, v.last_seq) as r,
               (select delivered from receipt where conversation = x.c and person = x.p) as before,
               (select read_receipts from privacy where person = x.p) is false as hidden
        from rows from (json_to_recordset(batch) as (c uuid, p uuid, d bigint, r bigint)) with ordinality as x(c, p, d, r, n)
        left join lateral (select member_count, last_seq from conversation where id = x.c limit 1) v on true
        left join lateral (select person from span where conversation = x.c and person = x.p and until is null limit 1) m on true
    ), moved as (
        insert into receipt as t (conversation, person, delivered, read, at_ms)
        select c, p, d, r, now_ms() from i where member order by c, p
        on conflict (conversation, person) do update
            set delivered = greatest(t.delivered, excluded.delivered), read = greatest(t.read, excluded.read), at_ms = excluded.at_ms,
                delivered_ms = case when excluded.delivered > t.delivered then excluded.at_ms else coalesce(t.delivered_ms, t.at_ms) end
            where excluded.delivered > t.delivered or excluded.read > t.read
        returning conversation, person, delivered, read
    )
    select coalesce(json_agg(json_build_object(
        'member', i.member, 'delivered', coalesce(m.delivered, r.delivered, i.d, 0), 'read', coalesce(m.read, r.read, i.r, 0),
        'rose', m.person is not null, 'members', coalesce(i.member_count, 0),
        'arrived', m.person is not null and m.delivered is distinct from i.before, 'hidden', i.hidden) order by i.n), '[]')
    from i left join moved m on (m.conversation, m.person) = (i.c, i.p)
    left join lateral (select delivered, read from receipt where conversation = i.c and person = i.p limit 1) r on true
    into answer;
    return answer;
end $$;


-- As before (0003_coming_back.sql), by the same look-ups; where reading is hidden, by either side, only deliveries are told.
create or replace function receipts_since(asks json, p_named integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    select coalesce(json_agg(json_build_object(
        'q', a.q, 'conversation', r.conversation, 'user', r.person, 'delivered', r.delivered,
        'read', case when h.hidden then 0 else r.read end)), '[]')
    from json_to_recordset(asks) as a(q integer, p uuid, s bigint)
    cross join lateral (select conversation from span where person = a.p and coalesce(until, 0) = 0 offset 0) m
    cross join lateral (select member_count from conversation where id = m.conversation limit 1) v
    cross join lateral (select * from receipt where conversation = m.conversation and at_ms > a.s offset 0) r
    cross join lateral (select r.person <> a.p and ((select read_receipts from privacy where person = a.p) is false
                                                    or (select read_receipts from privacy where person = r.person) is false)
                        as hidden offset 0) h
    where (v.member_count <= p_named or r.person = a.p)
        and (not h.hidden or coalesce(r.delivered_ms, r.at_ms) > a.s)
$$;


-- Who has received a message, and who of them has read it: members who have belonged since before it was sent (whoever
-- joined later began with the cursors at that place, and an absence began them anew), but not its author; a page of them
-- above p_after, by id.
--   Returns {"readers": [{"user", "read"}, ...], "more": bool} or {"error": code}.
create function message_readers(p_person uuid, p_conversation uuid, p_seq bigint, p_after uuid, p_limit integer)
returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    with m as materialized (
        select author from visible_message(p_conversation, p_person, p_seq)
    ), page as materialized (
        select r.person, r.read >= p_seq
                         and (select read_receipts from privacy where person = p_person) is not false
                         and (select read_receipts from privacy where person = r.person) is not false as read,
               row_number() over (order by r.person) as nth
        from receipt r
        where r.conversation = p_conversation and r.person > p_after and r.delivered >= p_seq
            and r.person <> (select author from m)
            and (select s.joined from span s where s.conversation = p_conversation and s.person = r.person
                 and s.until is null) <= p_seq
        order by r.person limit p_limit + 1
    )
    select case
        when not exists (select from span where conversation = p_conversation and person = p_person and until is null)
            then json_build_object('error', 'not_a_member')
        when not exists (select from m) then json_build_object('error', 'unknown_message')
        else json_build_object(
            'readers', (select coalesce(json_agg(json_build_object('user', person, 'read', read) order by nth), '[]')
                        from page where nth <= p_limit),
            'more', exists (select from page where nth > p_limit)) end
$$;


-- Turn switches, those that the command names. A row of one's own, too, so that all of one's devices hear of it
-- (0006_personal.sql): the number that it raises is what makes them look, here and in other processes, also when a bell is
-- lost; and what they then read is what this process goes by.
create function set_privacy(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := md5(json_build_array('privacy', p_command -> 'read_receipts', p_command -> 'last_seen',
                                          p_command -> 'typing')::text)::uuid;
    v_answer json;
    n privacy;
begin
    v_answer := begin_personal(p_person, 'privacy', p_command ->> 'key', v_digest);
    if v_answer is not null then return v_answer; end if;
    insert into privacy (person) values (p_person) on conflict do nothing;
    update privacy set
        read_receipts = coalesce((p_command ->> 'read_receipts')::boolean, read_receipts),
        last_seen = coalesce(p_command ->> 'last_seen', last_seen),
        typing = coalesce((p_command ->> 'typing')::boolean, typing)
        where person = p_person returning * into n;
    return end_personal(p_person, 'privacy', p_command ->> 'key', v_digest,
                        set_personal(p_person, 'privacy', '', json_build_object(
                            'read_receipts', n.read_receipts, 'last_seen', n.last_seen, 'typing', n.typing)));
end $$;

-- A person's switches; null for who never touched one.
create function privacy_of(p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object('read_receipts', read_receipts, 'last_seen', last_seen, 'typing', typing)
    from privacy where person = p_person
$$;


-- As before (0006_personal.sql), and the person's switches, and which conversations are large.
create or replace function standings(asks json) returns json language sql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select coalesce(json_agg(json_build_object(
        'number', h.number,
        'rows', case when h.number > coalesce(a.n, 0) then
            coalesce((select number from personal where person = a.p and number > coalesce(a.n, 0)
                      order by number desc limit 1), 0)
            else 0 end,
        'at_ms', now_ms(),
        'known', a.l is null or exists (select from lineage where id = a.l),
        'same', not w.wanted,
        'privacy', (select json_build_object('read_receipts', read_receipts, 'last_seen', last_seen, 'typing', typing)
                    from privacy where person = a.p),                                                          -- 0012
        'spans', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                      'conversation', s.conversation, 'joined', s.joined, 'since', s.since, 'until', s.until, 'number', s.number,
                      'last_seq', v.last_seq, 'large', case when v.member_count > 100 then true end,       -- 0012: TYPING_MEMBERS
                      'partner', case when v.kind = 'direct' then
                          (select case when d.low = a.p then d.high else d.low end from direct d where d.conversation = v.id) end))
                      order by s.conversation, s.joined), '[]')
                  from span s join conversation v on v.id = s.conversation where s.person = a.p and w.wanted))
        order by a.n_th), '[]')
    from rows from (json_to_recordset(asks) as (p uuid, l uuid, n bigint, s bigint)) with ordinality as a(p, l, n, s, n_th)
    left join lateral (select number from account where id = a.p limit 1) h on true
    cross join lateral (
        select a.s is null or exists (select from span where person = a.p and number > a.s) as wanted) w
$$;


-- When people were last connected, in whole minutes; and who is connected to which process now, as far as the processes have
-- said so (they do it about once a second, some thousand people at a time): what is left of a process that died.
create table last_seen (
    person uuid   primary key references account,
    at_ms  bigint not null
) with (fillfactor = 70);
create table seat (
    node   uuid not null,
    person uuid not null,
    primary key (node, person)
);

create function whole_minute(at_ms bigint) returns bigint language sql immutable parallel safe
return at_ms / 60000 * 60000;

-- Who came to a process and who went from it. p_went [{"p": person, "ago": ms}, ...]
create function take_seats(p_node uuid, p_came uuid[], p_went json) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    insert into seat (node, person) select p_node, unnest(p_came)
        where exists (select from node where id = p_node)   -- else another process took it for dead, and cleared it away
        on conflict do nothing;
    delete from seat where node = p_node and person = any (array(select p from json_to_recordset(p_went) as w(p uuid)));
    insert into last_seen as l (person, at_ms)
        select p, whole_minute(now_ms() - max(ago)) from json_to_recordset(p_went) as w(p uuid, ago bigint)
        where exists (select from account where id = p) group by p order by p
        on conflict (person) do update set at_ms = excluded.at_ms where excluded.at_ms > l.at_ms;
end $$;

-- A process is gone, or goes: its people were there until p_at. Some of them; more follow while it returns true.
create function clear_seats(p_node uuid, p_at bigint, p_limit integer) returns boolean language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_people uuid[];
begin
    with gone as (
        delete from seat where node = p_node
            and person = any (array(select person from seat where node = p_node order by person limit p_limit))
        returning person
    )
    select array_agg(person order by person) into v_people from gone;
    insert into last_seen as l (person, at_ms) select p, whole_minute(p_at) from unnest(v_people) p
        where exists (select from account where id = p) order by p
        on conflict (person) do update set at_ms = excluded.at_ms where excluded.at_ms > l.at_ms;
    return coalesce(cardinality(v_people), 0) = p_limit;
end $$;

-- Say that process p_node is there. Whoever has not said so for 15 seconds is dead: its people were last seen at its last
-- beat. One of those that look does it, some thousand people at a time.
--   Returns which other processes were there within the last 5 seconds.
create function beat_node(p_node uuid) returns uuid[] language plpgsql volatile
as $$
declare
    v_dead node;
begin
    insert into node (id) values (p_node) on conflict (id) do update set beat = now();
    select * into v_dead from node where beat < now() - interval '15 seconds' order by beat limit 1 for update skip locked;
    if found and not clear_seats(v_dead.id, floor(extract(epoch from v_dead.beat) * 1000)::bigint, 5000) then
        delete from node where id = v_dead.id;
    end if;
    return array(select id from node where id <> p_node and beat > now() - interval '5 seconds');
end $$;

-- Process p_node goes. Should its people be too many for one call, it is left as one that died.
create function leave_node(p_node uuid) returns void language plpgsql volatile as $$
begin
    if clear_seats(p_node, now_ms(), 5000) then
        update node set beat = now() - interval '16 seconds' where id = p_node;
    else
        delete from node where id = p_node;
    end if;
end $$;


-- Whose presence a person may see: of those asked for, who share a conversation with the person now (contacts: a direct
-- one), where the switch of each side allows it to the other.
--   Returns [{"user", "contact", "last_seen_ms"}, ...].
create function presences(p_person uuid, p_users uuid[]) returns json language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
declare
    v_mine text := coalesce((select last_seen from privacy where person = p_person), 'everyone');
    v_places uuid[];
begin
    if v_mine = 'nobody' then return '[]'; end if;
    select array_agg(conversation) into v_places from span where person = p_person and coalesce(until, 0) = 0;
    return (
        select coalesce(json_agg(json_strip_nulls(json_build_object(
            'user', u.id, 'contact', c.contact,
            'last_seen_ms', (select at_ms from last_seen where person = u.id))) order by u.nth), '[]')
        from (select id, min(nth) as nth from unnest(p_users) with ordinality as x(id, nth) where id <> p_person group by id) u
        cross join lateral (select coalesce((select last_seen from privacy where person = u.id), 'everyone') as theirs offset 0) t
        cross join lateral (select exists (select from direct where low = least(p_person, u.id) and high = greatest(p_person, u.id))
                            as contact offset 0) c
        where t.theirs <> 'nobody'
            and (c.contact or (t.theirs = 'everyone' and v_mine = 'everyone'
                 and exists (select from span s where s.person = u.id and coalesce(s.until, 0) = 0
                             and s.conversation = any (v_places)))));
end $$;

-- The badge of a push (0011): what unread.get tells. It stops at 1,000, as that does.
create or replace function push_badge(p_person uuid, p_unread integer) returns bigint language sql stable
return (unread_total(p_person, 1000, p_unread) ->> 'messages')::bigint;
