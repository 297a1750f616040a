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
    cross join lateral (                                      -- where many are, nobody else's is looked at
        select * from receipt where v.member_count <= p_named and conversation = m.conversation and at_ms > a.s
        union all
        select * from receipt where v.member_count > p_named and conversation = m.conversation and person = a.p
            and at_ms > a.s) r
    cross join lateral (select r.person <> a.p and ((select read_receipts from privacy where person = a.p) is false
                                                    or (select read_receipts from privacy where person = r.person) is false)
                        as hidden offset 0) h
    where (not h.hidden or coalesce(r.delivered_ms, r.at_ms) > a.s)
$$;


-- Who has received a message, and who of them has read it: members who have belonged since before it was sent (whoever
-- joined later began with the cursors at that place, and an absence began them anew), but not its author; a page of them
-- above p_after, by id. It looks at p_look cursors at most; where it stopped the next page goes on.
--   Returns {"readers": [{"user", "read"}, ...], "more": bool, "after": the last one looked at} or {"error": code}.
create function message_readers(
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


-- As in 0002. New: the newest of one's own rows, if it is above what the asker was told, else 0, at no cost (0006); spans are left
-- out where none has changed; the person's switches, and which conversations are large.
--   asks [{"p": person, "l": lineage or null, "n": number, "s": up to which number spans are known; null: not at all}, ...]
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
                      'last_seq', v.last_seq, 'large', case when v.member_count > 100 then true end,  -- TYPING_MEMBERS
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
