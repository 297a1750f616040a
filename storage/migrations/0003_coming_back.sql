-- Stretches of logs for many who come back at once: the members of a group miss the same entries, so these are read once
-- and given to all of them (konnect_server/stretches.py). Not narrowed to one reader: the caller knows from a standing
-- that each of them may see every entry of a stretch.
--   stretches [{"q": place among them, "c": conversation, "lo": seq, "hi": seq}, ...]
--   Returns [{"q", "entries": [...], "cut": true when the stretch goes on}, ...]: each up to p_bytes, at least one entry;
--   no entry, no part.
create function log_stretches(stretches json, p_bytes integer) returns json language sql stable
set enable_seqscan = off
as $$
    with sized as materialized (
        select r.q, e.seq, entry_json(e) as body,
               row_number() over stretch as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0) + 200) over stretch as through
        from json_to_recordset(stretches) as r(q integer, c uuid, lo bigint, hi bigint)
        cross join lateral (
            select * from entry e where e.conversation = r.c and e.seq between r.lo and r.hi order by e.seq limit 1000) e
        window stretch as (partition by r.q order by e.seq)
    ), cut as (
        select q, json_agg(body order by seq) filter (where through <= p_bytes or nth = 1) as entries,
               bool_or(not (through <= p_bytes or nth = 1)) as cut
        from sized group by q
    )
    select coalesce(json_agg(json_build_object('q', q, 'entries', entries, 'cut', cut)), '[]') from cut
$$;


-- As before; but by its form each look is one index look-up (docs/decisions/0003). Planned as joins on a young database it
-- took twenty times as long: 62 us a person instead of 3. (Written "until is null", the open spans would be sought in the
-- index of open spans, which is no index by person, but looks like one while it is small.)
create or replace function receipts_since(asks json, p_named integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    select coalesce(json_agg(json_build_object(
        'q', a.q, 'conversation', r.conversation, 'user', r.person, 'delivered', r.delivered, 'read', r.read)), '[]')
    from json_to_recordset(asks) as a(q integer, p uuid, s bigint)
    cross join lateral (select conversation from span where person = a.p and coalesce(until, 0) = 0 offset 0) m
    cross join lateral (select member_count from conversation where id = m.conversation limit 1) v
    cross join lateral (select * from receipt where conversation = m.conversation and at_ms > a.s offset 0) r
    where v.member_count <= p_named or r.person = a.p
$$;
