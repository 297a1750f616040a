-- Who blocked whom, and what was reported; and that a direct conversation may be closed for writing.


-- --- A conversation that is closed for writing ---

-- Nobody of the two of a direct conversation may write there: one blocked the other, or what they were to each other is
-- over, and the deployment lets only such people write (may_write). It stands in the row that whoever writes locks anyway;
-- and it is guarded (0009), so that an append looks at nothing more than it did.
alter table conversation add column shut boolean not null default false;

select add_entry_kinds('conversation.closed', 'conversation.opened');

-- Whether the deployment lets the two write to each other; by default everybody may.
create function may_write(p_one uuid, p_other uuid) returns boolean language sql stable return true;

-- Lock what is between two people: their direct conversation, if there is one, and then both accounts, in id order. Whoever
-- changes what two people are to each other calls this first, and then settle_direct when all is changed.
create function lock_pair(p_one uuid, p_other uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_found uuid;
    v_conversation uuid;
begin
    loop
        select conversation into v_conversation from direct
            where low = least(p_one, p_other) and high = greatest(p_one, p_other);
        begin
            perform from conversation where id = v_conversation for no key update;
            perform from account where id in (p_one, p_other) order by id for no key update;
            select conversation into v_found from direct
                where low = least(p_one, p_other) and high = greatest(p_one, p_other);
            if v_found is not distinct from v_conversation then return; end if;
            raise sqlstate 'KN001';                           -- it was opened while we waited: let go, and lock it first
        exception when sqlstate 'KN001' then null;
        end;
    end loop;
end $$;

-- Close the direct conversation of two people, or open it again, as they are to each other now; after lock_pair. What
-- changes is an entry by nobody, as of what disappears (0008): it does not tell who did it, and makes nothing more active.
-- Both people's numbers rise, so that their devices read again whether typing is told there.
--   Returns {"conversation", "seq"}: the log that grew, for Registry.stored_elsewhere, and then Registry.changed of both;
--   null: nothing changed.
create function settle_direct(p_one uuid, p_other uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_shut boolean := blocked(p_one, p_other) or not (may_write(p_one, p_other) and may_write(p_other, p_one));
    v_kind text := case when v_shut then 'conversation.closed' else 'conversation.opened' end;
    v_nobody uuid := '00000000-0000-0000-0000-000000000000';
    v_key text;
    v_at bigint;
    v conversation;
begin
    select c.* into v from direct d join conversation c on c.id = d.conversation
        where d.low = least(p_one, p_other) and d.high = greatest(p_one, p_other);
    if not found or v.shut = v_shut then return null; end if;
    v_at := now_ms();
    v_key := v_kind || ':' || (v.last_seq + 1);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms)
    values (v.id, v.last_seq + 1, v_kind, v_nobody, v_key, key_hash(v_nobody, v_key), md5(v_kind)::uuid, v_at);
    update conversation set last_seq = v.last_seq + 1, shut = v_shut, guarded = v_shut where id = v.id;
    if not v_shut then                                        -- what was told to nobody meanwhile is told now
        update receipt set at_ms = v_at, delivered_ms = v_at where conversation = v.id;
    end if;
    with raised as (
        update account set number = next_number(number) where id in (p_one, p_other) returning id, number
    )
    update span s set number = r.number from raised r where s.conversation = v.id and s.person = r.id and s.until is null;
    return json_build_object('conversation', v.id, 'seq', v.last_seq + 1);
end $$;

-- As in 0009; new: a conversation that is closed.
create or replace function held_back(p_conversation uuid, p_author uuid, out error text, out wait_ms bigint, out slow_ms bigint)
language plpgsql stable
set enable_seqscan = off
as $$
begin
    wait_ms := 0;
    slow_ms := 0;
    if (select shut from conversation where id = p_conversation) then
        error := 'conversation_closed';
    elsif not may(p_conversation, p_author, 'write') then
        error := 'forbidden';
    elsif not may(p_conversation, p_author, 'hurry') then
        select slow_mode_s * 1000 into slow_ms from conversation where id = p_conversation;
        select greatest(at_ms + slow_ms - now_ms(), 0) into wait_ms from slowed
            where conversation = p_conversation and person = p_author;
        wait_ms := coalesce(wait_ms, 0);
        if wait_ms > 0 then error := 'slow_mode'; end if;
    end if;
end $$;

-- As in 0009; new: where a conversation is closed, one does nothing but delete what one said.
create or replace function begin_action(p_author uuid, p_command json, p_digest uuid) returns begun language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_hash uuid := key_hash(p_author, p_command ->> 'key');
    v_last bigint;
    v_seq bigint;                                             -- of what stands under this key, and so on; no record: what
    v_at bigint;                                              -- comes from two tables would have two types, and a plan one
    v_stored uuid;
    v_guarded boolean;
    v_shut boolean;
    h record;
begin
    select last_seq, guarded, shut into v_last, v_guarded, v_shut from conversation where id = v_conversation for no key update;
    if not found then
        return (json_build_object('error', 'not_a_member', 'missing', p_author), null, null)::begun;
    end if;
    -- It waited for the lock; what it read of other tables is older than that, and of the row is not.
    select seq, at_ms, digest into v_seq, v_at, v_stored from entry
        where key_hash = v_hash and conversation = v_conversation;
    if not found then
        select seq, at_ms, digest into v_seq, v_at, v_stored from settled
            where key_hash = v_hash and conversation = v_conversation;
    end if;
    if found then
        if v_stored <> p_digest then return (json_build_object('error', 'key_reused'), null, null)::begun; end if;
        return (json_build_object('seq', v_seq, 'at_ms', v_at), null, null)::begun;
    end if;
    if not exists (select from span where conversation = v_conversation and person = p_author and until is null) then
        return (json_build_object('error', 'not_a_member', 'missing', p_author), null, null)::begun;
    end if;
    if v_shut and p_command ->> 't' is distinct from 'message.delete' then
        return (json_build_object('error', 'conversation_closed'), null, null)::begun;
    end if;
    -- What says something: a command of that name, or a scheduled message, which has none and was not sent in a hurry.
    if v_guarded and coalesce(p_command ->> 't', 'scheduled') in ('message.send', 'message.forward', 'poll.create', 'scheduled')
    then
        select * into h from held_back(v_conversation, p_author);
        if h.error = 'forbidden' or (h.error = 'slow_mode' and p_command ->> 't' is not null) then
            return (json_build_object('error', h.error, 'retry_after_ms', h.wait_ms), null, null)::begun;
        end if;
    end if;
    return (null, v_last + 1, now_ms())::begun;
end $$;

-- As in 0012; new: where a conversation is closed, nobody is told of a cursor but oneself.
create or replace function move_receipts(batch json) returns json language plpgsql volatile set enable_seqscan = off as $$
declare answer json;
begin
    perform from (select c, p from json_to_recordset(batch) as x(c uuid, p uuid) order by c, p) x
        cross join lateral (select from receipt where conversation = x.c and person = x.p for no key update) locked;
    with i as materialized (
        select x.c, x.p, x.n, v.member_count, m.person is not null as member,
               v.shut, least(greatest(x.d, x.r), v.last_seq) as d, least(x.r, v.last_seq) as r,
               (select delivered from receipt where conversation = x.c and person = x.p) as before,
               (select read_receipts from privacy where person = x.p) is false as hidden
        from rows from (json_to_recordset(batch) as (c uuid, p uuid, d bigint, r bigint)) with ordinality as x(c, p, d, r, n)
        left join lateral (select member_count, last_seq, shut from conversation where id = x.c limit 1) v on true
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
        'arrived', m.person is not null and m.delivered is distinct from i.before and not i.shut,
        'hidden', i.hidden or coalesce(i.shut, false)) order by i.n), '[]')
    from i left join moved m on (m.conversation, m.person) = (i.c, i.p)
    left join lateral (select delivered, read from receipt where conversation = i.c and person = i.p limit 1) r on true
    into answer;
    return answer;
end $$;

-- As in 0012; the same.
create or replace function receipts_since(asks json, p_named integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    select coalesce(json_agg(json_build_object(
        'q', a.q, 'conversation', r.conversation, 'user', r.person, 'delivered', r.delivered,
        'read', case when h.hidden then 0 else r.read end)), '[]')
    from json_to_recordset(asks) as a(q integer, p uuid, s bigint)
    cross join lateral (select conversation from span where person = a.p and coalesce(until, 0) = 0 offset 0) m
    cross join lateral (select member_count, shut from conversation where id = m.conversation limit 1) v
    cross join lateral (                                      -- where many are, nobody else's is looked at
        select * from receipt where v.member_count <= p_named and conversation = m.conversation and at_ms > a.s
        union all
        select * from receipt where v.member_count > p_named and conversation = m.conversation and person = a.p
            and at_ms > a.s) r
    cross join lateral (select r.person <> a.p and ((select read_receipts from privacy where person = a.p) is false
                                                    or (select read_receipts from privacy where person = r.person) is false)
                        as hidden offset 0) h
    where (r.person = a.p or not v.shut)
        and (not h.hidden or coalesce(r.delivered_ms, r.at_ms) > a.s)
$$;

-- As in 0012; the same.
create or replace function message_readers(
    p_person uuid, p_conversation uuid, p_seq bigint, p_after uuid, p_limit integer, p_look integer
) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    with m as materialized (
        select author from visible_message(p_conversation, p_person, p_seq)
    ), looked as materialized (
        select r.person, r.delivered, r.read from receipt r
        where r.conversation = p_conversation and r.person > p_after order by r.person limit p_look
    ), page as materialized (
        select r.person, r.read >= p_seq
                         and (select read_receipts from privacy where person = p_person) is not false
                         and (select read_receipts from privacy where person = r.person) is not false as read,
               row_number() over (order by r.person) as nth
        from looked r
        where r.delivered >= p_seq
            and r.person <> (select author from m)
            and (r.person = p_person or (select shut from conversation where id = p_conversation) is not true)
            and (select s.joined from span s where s.conversation = p_conversation and s.person = r.person
                 and s.until is null) <= p_seq
        order by r.person limit p_limit + 1
    ), full_ as (
        select exists (select from page where nth > p_limit) as page,
               (select count(*) from looked) = p_look as look
    )
    select case
        when not exists (select from span where conversation = p_conversation and person = p_person and until is null)
            then json_build_object('error', 'not_a_member')
        when not exists (select from m) then json_build_object('error', 'unknown_message')
        else (select json_strip_nulls(json_build_object(
            'readers', (select coalesce(json_agg(json_build_object('user', person, 'read', read) order by nth), '[]')
                        from page where nth <= p_limit),
            'more', page or look,
            'after', case when page then (select person from page where nth = p_limit)
                          when look then (select person from looked order by person desc limit 1) end))
            from full_) end
$$;

-- As in 0012; new: a conversation that is closed is "large" too: typing is not told there.
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
                    from privacy where person = a.p),
        'spans', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                      'conversation', s.conversation, 'joined', s.joined, 'since', s.since, 'until', s.until, 'number', s.number,
                      'last_seq', v.last_seq, 'large', case when v.member_count > 100 or v.shut then true end,  -- TYPING_MEMBERS
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

-- As in 0014; new: whether it is closed, and then the other's cursors are not told.
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
        'closed', case when v.shut then true end,
        'receipts', case when m.until is null and v.member_count <= p_named and not v.shut then
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
