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


-- Whether a conversation counts in its member's badge: null, as it stands; 'silent', not at all (muted, archived);
-- 'unread', as one conversation even when no message is unread. Who brings such marks replaces it.
create function badge_mark(p_person uuid, p_conversation uuid) returns text language sql stable return null::text;

-- The badge: unread messages and conversations over all that one is in, by the rule of conversation_states: messages of
-- others above the read cursor that are not deleted, among the first p_unread entries there. It never counts messages
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
            select count(*) filter (where kind = 'message' and author <> p_person and detail ->> 'deleted' is null)
            into v_count from (
                select kind, author, detail from entry where conversation = s.conversation and seq > s.read
                order by seq limit p_unread) e;
        else
            select count(*) into v_count from (
                select from (select kind, author, detail from entry where conversation = s.conversation and seq > s.read
                             order by seq limit p_unread) e
                where kind = 'message' and author <> p_person and detail ->> 'deleted' is null limit 1) first;
        end if;
        v_messages := v_messages + v_count;
        v_conversations := v_conversations + case when v_count > 0 or v_mark = 'unread' then 1 else 0 end;
    end loop;
    return json_build_object('messages', least(v_messages, p_most), 'conversations', v_conversations);
end $$;


-- As before (0002_conversations.sql) but for the two places marked "0012": a deleted message is not unread, and the read
-- cursors of others are 0 for who hides reading, and of who does.
create or replace function conversation_states(asks json, p_named integer, p_unread integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    select coalesce(json_agg(json_build_object('q', i.q, 'state', json_strip_nulls(json_build_object(
        'conversation', v.id, 'kind', v.kind, 'title', v.title, 'history', v.history, 'owner', v.owner,
        'head', coalesce(m.until, v.last_seq), 'first_seq', m.since, 'joined', m.joined, 'until', m.until,
        'read', coalesce(mine.read, 0), 'delivered', coalesce(mine.delivered, 0), 'active_at_ms', v.active_at_ms,
        'members', case when m.until is null then
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
        'unread', (select count(*) filter (where e.kind = 'message' and e.author <> i.p
                                           and e.detail ->> 'deleted' is null) from                           -- 0012
                   (select kind, author, detail from entry where conversation = v.id
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
$$;
