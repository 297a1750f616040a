-- Who blocked whom, and what was reported; and that a direct conversation may be closed for writing.


-- --- A conversation that is closed for writing ---

-- Nobody of the two of a direct conversation may write there: one blocked the other, or what they were to each other is
-- over, and the deployment lets only such people write (may_write). It stands in the row that whoever writes locks anyway;
-- and it is guarded (0009), so that an append looks at nothing more than it did.
alter table conversation add column shut boolean not null default false;

-- Whether somebody was ever part of a block, on either side. It stands in the row that is read of whoever comes back
-- anyway: of nearly everybody nothing more has to be looked up.
alter table account add column wary boolean not null default false;

-- Who is not seen by *p_person*, and does not see the person: whoever blocked, or is blocked.
create function unseen_by(p_person uuid) returns uuid[] language sql stable
set enable_seqscan = off
as $$
    select array(select blocked from block where person = p_person union select person from block where blocked = p_person)
$$;

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

-- As in 0012; the same, and of who is not seen.
create or replace function receipts_since(asks json, p_named integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    select coalesce(json_agg(json_build_object(
        'q', a.q, 'conversation', r.conversation, 'user', r.person, 'delivered', r.delivered,
        'read', case when h.hidden then 0 else r.read end)), '[]')
    from json_to_recordset(asks) as a(q integer, p uuid, s bigint)
    cross join lateral (select wary from account where id = a.p offset 0) w
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
    where (r.person = a.p or not v.shut and not (w.wary and blocked(a.p, r.person)))
        and (not h.hidden or coalesce(r.delivered_ms, r.at_ms) > a.s)
$$;

-- As in 0012; the same, and of who is not seen.
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
            and (r.person = p_person or (select shut from conversation where id = p_conversation) is not true
                 and not ((select wary from account where id = p_person) and blocked(p_person, r.person)))
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

-- As in 0012; new: a conversation that is closed is "large" too: typing is not told there; and who is not seen.
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
        'unseen', case when h.wary then to_json(unseen_by(a.p)) else '[]' end,
        'spans', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                      'conversation', s.conversation, 'joined', s.joined, 'since', s.since, 'until', s.until, 'number', s.number,
                      'last_seq', v.last_seq, 'large', case when v.member_count > 100 or v.shut then true end,  -- TYPING_MEMBERS
                      'partner', case when v.kind = 'direct' then
                          (select case when d.low = a.p then d.high else d.low end from direct d where d.conversation = v.id) end))
                      order by s.conversation, s.joined), '[]')
                  from span s join conversation v on v.id = s.conversation where s.person = a.p and w.wanted))
        order by a.n_th), '[]')
    from rows from (json_to_recordset(asks) as (p uuid, l uuid, n bigint, s bigint)) with ordinality as a(p, l, n, s, n_th)
    left join lateral (select number, wary from account where id = a.p limit 1) h on true
    cross join lateral (
        select a.s is null or exists (select from span where person = a.p and number > a.s) as wanted) w
$$;

-- As in 0014; new: whether it is closed; the cursors of who is not seen, and of the other then, are not told.
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
             where r.conversation = v.id and r.person <> i.p and not (w.wary and blocked(i.p, r.person))) end,
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
    cross join lateral (select wary from account where id = i.p limit 1) w
    left join lateral (select * from receipt where conversation = v.id and person = i.p limit 1) mine on true
    cross join lateral (select coalesce(array_agg(seq), '{}') as seqs from hidden
                        where person = i.p and conversation = v.id and seq > coalesce(mine.read, 0)) h
$$;

-- --- Who may see whom, in what was there before ---

-- As in 0012; new: may_see decides first.
create or replace function presences(p_person uuid, p_users uuid[]) returns json language plpgsql stable
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
        where t.theirs <> 'nobody' and may_see(p_person, u.id)
            and (c.contact or (t.theirs = 'everyone' and v_mine = 'everyone'
                 and exists (select from span s where s.person = u.id and coalesce(s.until, 0) = 0
                             and s.conversation = any (v_places)))));
end $$;

-- The names of people, for somebody who may see them, or is or was in a conversation with them: what they said there needs a
-- name. Each once, in the order asked for.
create function names_for(p_person uuid, p_users uuid[]) returns json language sql stable
set enable_seqscan = off
as $$
    select coalesce(json_agg(json_build_object('id', a.id, 'name', a.name) order by u.nth), '[]')
    from (select id, min(nth) as nth from unnest(p_users) with ordinality as x(id, nth) group by id) u
    cross join lateral (select id, name from account where id = u.id limit 1) a
    where may_see(p_person, a.id)
        or exists (select from span s where s.person = a.id and s.conversation = any (array(
            select conversation from span where person = p_person)))
$$;

-- As in 0009; new: whom one may not see there is not. Who belongs already is seen to belong.
create or replace function change_member(
    p_change text, p_conversation uuid, p_author uuid, p_key text, p_user uuid, p_most integer,
    p_room_most integer default null
) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v conversation;
    old record;
    v_digest uuid := md5(p_change || ':' || p_user)::uuid;
    v_seq bigint;
    v_at bigint;
    v_number bigint;
    v_heir uuid;                                              -- of an owner who leaves
    v_count integer;                                          -- of a room or a channel: its members after it
begin
    select * into v from conversation where id = p_conversation for no key update;
    if not found then return json_build_object('error', 'not_a_member', 'missing', p_author); end if;

    select seq, at_ms, digest into old from entry
        where entry.key_hash = key_hash(p_author, p_key) and conversation = p_conversation;
    if not found then
        select seq, at_ms, digest into old from settled
            where settled.key_hash = key_hash(p_author, p_key) and conversation = p_conversation;
    end if;
    if found then
        if old.digest <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('seq', old.seq, 'at_ms', old.at_ms, 'new', false);
    end if;

    if not exists (select from span where conversation = v.id and person = p_author and until is null) then
        return json_build_object('error', 'not_a_member', 'missing', p_author);
    end if;
    if v.kind = 'direct' then return json_build_object('error', 'wrong_kind'); end if;
    if p_change = 'add' then
        if not may(v.id, p_author, 'add') then return json_build_object('error', 'forbidden'); end if;
        if not exists (select from account where id = p_user) then return json_build_object('error', 'unknown_user'); end if;
        if exists (select from span where conversation = v.id and person = p_user and until is null) then
            return json_build_object('error', 'already_a_member');
        end if;
        if not (may_see(p_author, p_user) and may_write(p_author, p_user)) then   -- no way round the rule of the house
            return json_build_object('error', 'unknown_user');
        end if;
        if barred(v.id, p_user) then return json_build_object('error', 'banned'); end if;
        if v.member_count >= (case when v.kind = 'group' then p_most else coalesce(p_room_most, p_most) end) then
            return json_build_object('error', 'conversation_full');
        end if;
    else
        if p_change = 'remove' and p_author <> p_user and (p_user = v.owner or not may(v.id, p_author, 'remove')) then
            return json_build_object('error', 'forbidden');
        end if;
        if not exists (select from span where conversation = v.id and person = p_user and until is null) then
            return json_build_object('error', 'not_a_member', 'missing', p_user);
        end if;
        if p_user = v.owner then v_heir := heir_of(v.kind, v.id, v.owner); end if;
    end if;

    v_seq := v.last_seq + 1;
    v_at := now_ms();
    if v.kind <> 'group' then v_count := v.member_count + case p_change when 'add' then 1 else -1 end; end if;
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, subject, detail)
    values (v.id, v_seq, case p_change when 'add' then 'member.added' else 'member.removed' end,
            p_author, p_key, key_hash(p_author, p_key), v_digest, v_at, p_user,
            nullif(json_strip_nulls(json_build_object('owner', v_heir, 'count', v_count))::text, '{}')::json);
    if p_change = 'add' then
        perform begin_span(v, p_user, v_seq, v_at);
    else
        perform end_span(v.id, p_user, v_seq);
        update span set role = 'member' where conversation = v.id and person = v_heir and until is null;
    end if;
    update conversation set
        last_seq = v_seq, active_at_ms = v_at,
        member_count = member_count + case p_change when 'add' then 1 else -1 end,
        owner = case when p_change <> 'add' and owner = p_user then v_heir else owner end
    where id = v.id;
    return json_strip_nulls(json_build_object(
        'seq', v_seq, 'at_ms', v_at, 'new', true, 'owner', v_heir, 'count', v_count));
end $$;

-- As in 0009; new: the same.
create or replace function create_group(
    p_id uuid, p_author uuid, p_key text, p_title text, p_history text, p_members json, p_most integer,
    p_kind text default 'group', p_topic text default null, p_tags json default '[]', p_public boolean default false
) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    old creation;
    v_digest uuid := md5((case
        when p_kind = 'group' and p_topic is null and json_array_length(p_tags) = 0
            then json_build_array('group', p_title, p_history, p_members)
        else json_build_array(p_kind, p_title, p_history, p_members, p_topic, p_tags, p_public) end)::text)::uuid;
    v_at bigint;
    v_unknown uuid;
    v_count integer := json_array_length(p_members);
begin
    -- Whoever holds the author's row decides; a repeat that waited here sees what was made meanwhile. Everybody's row at
    -- once and in id order: two people who create groups with each other would deadlock, the author's row taken first.
    -- (An array: "in (select ...)" would read every account there is.)
    perform from account
        where id = any (p_author || array(select m.value::uuid from json_array_elements_text(p_members) m))
        order by id for no key update;
    if not exists (select from account where id = p_author) then
        return json_build_object('error', 'unknown_user', 'missing', p_author);
    end if;
    select * into old from creation where author = p_author and key = p_key;
    if found then
        if old.digest <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('conversation', old.conversation, 'new', false);
    end if;
    if v_count > p_most then return json_build_object('error', 'conversation_full'); end if;
    select m.value::uuid into v_unknown from json_array_elements_text(p_members) m
        where m.value::uuid <> p_author and not (may_see(p_author, m.value::uuid) and may_write(p_author, m.value::uuid)) limit 1;
    if found then return json_build_object('error', 'unknown_user', 'missing', v_unknown); end if;

    v_at := now_ms();
    insert into conversation (id, kind, title, history, owner, last_seq, active_at_ms, member_count, topic, tags, public, guarded)
    values (p_id, p_kind, p_title, p_history, p_author, 1, v_at, v_count, p_topic,
            array(select json_array_elements_text(p_tags)), p_public, p_kind = 'channel');
    insert into creation (author, key, conversation, digest) values (p_author, p_key, p_id, v_digest);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (p_id, 1, 'created', p_author, p_key, key_hash(p_author, p_key), v_digest, v_at,
            case when p_topic is null and json_array_length(p_tags) = 0
                then json_build_object('title', p_title, 'members', p_members)
                else json_strip_nulls(json_build_object(
                    'title', p_title, 'members', p_members, 'topic', p_topic,
                    'tags', case when json_array_length(p_tags) > 0 then p_tags end)) end);
    perform raise_and_join(p_id, p_members);
    return json_build_object('conversation', p_id, 'new', true);
end $$;

-- As in 0002; new: the same. The one that is there is found.
create or replace function open_direct(p_id uuid, p_author uuid, p_user uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_found uuid;
    v_at bigint;
    v_members json := json_build_array(p_author, p_user);
begin
    select conversation into v_found from direct where low = least(p_author, p_user) and high = greatest(p_author, p_user);
    if found then return json_build_object('conversation', v_found, 'new', false); end if;
    -- Both sides may race: the lower account's row decides, then look again.
    perform from account where id in (p_author, p_user) order by id for no key update;
    select conversation into v_found from direct where low = least(p_author, p_user) and high = greatest(p_author, p_user);
    if found then return json_build_object('conversation', v_found, 'new', false); end if;
    if not exists (select from account where id = p_user) or not may_see(p_author, p_user) then
        return json_build_object('error', 'unknown_user', 'missing', p_user);
    end if;

    v_at := now_ms();
    insert into conversation (id, kind, last_seq, active_at_ms, member_count) values (p_id, 'direct', 1, v_at, 2);
    insert into direct (low, high, conversation) values (least(p_author, p_user), greatest(p_author, p_user), p_id);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (p_id, 1, 'created', p_author, 'direct:' || p_id, key_hash(p_author, 'direct:' || p_id), md5('direct')::uuid, v_at,   -- no key that a client would choose
            json_build_object('members', v_members));
    perform raise_and_join(p_id, v_members);
    return json_build_object('conversation', p_id, 'new', true);
end $$;

-- As in 0011; new: nobody is told of what somebody did whom the person may not see, in the app or by push.
create or replace function gather_pushes(p_conversations uuid[], p_entries integer, p_devices integer, p_stale_ms bigint, p_kept integer)
returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_now bigint := now_ms();
    v_ids uuid[]; v_los bigint[]; v_his bigint[]; v_more uuid[];
    v_told json;
    v_one json;
    v_jobs integer := 0;
begin
    insert into pushed (conversation, seq)
    select c.id, greatest(c.last_seq - p_entries, 0) from conversation c
    where c.id = any (p_conversations) and (select seq from pushed p where p.conversation = c.id limit 1) is null
    order by c.id on conflict do nothing;
    -- One process at a time looks at a conversation. Appends are not held up: they do not touch this row.
    perform from pushed where conversation = any (p_conversations) order by conversation for no key update;
    select array_agg(p.conversation), array_agg(p.seq), array_agg(least(c.last_seq, p.seq + p_entries)),
           array_agg(p.conversation) filter (where c.last_seq > p.seq + p_entries)
        into v_ids, v_los, v_his, v_more
        from pushed p cross join lateral (select last_seq from conversation where id = p.conversation limit 1) c
        where p.conversation = any (p_conversations) and c.last_seq > p.seq;
    if v_ids is null then
        return json_build_object('people', '[]'::json, 'more', '[]'::json, 'jobs', 0);
    end if;

    with fresh as materialized (
        select e.*, entry_content(e) as said, v.kind = 'direct' as direct
        from unnest(v_ids, v_los, v_his) as r(id, lo, hi)
        cross join lateral (select * from entry where conversation = r.id and seq > r.lo and seq <= r.hi offset 0) e
        cross join lateral (select kind from conversation where id = r.id limit 1) v
        where e.at_ms >= v_now - p_stale_ms
    ), told as (
        select f.subject as person, 'added' as kind, 3 as rank, f.conversation, f.seq, null::bigint as about, f.author, f.at_ms,
               null::text as emoji
        from fresh f where f.kind = 'member.added'
        union all
        select m.value::uuid, 'added', 3, f.conversation, f.seq, null, f.author, f.at_ms, null
        from fresh f cross join lateral json_array_elements_text(f.detail -> 'members') m
        where f.kind = 'created' and not f.direct
        union all
        select o.author, 'reaction', 3, f.conversation, f.seq, o.seq, f.author, f.at_ms, f.detail ->> 'emoji'
        from fresh f cross join lateral (
            select seq, author from entry where conversation = f.conversation and seq = (f.detail ->> 'of')::bigint limit 1) o
        where f.kind = 'message.reacted' and (f.detail ->> 'on')::boolean
        union all
        select o.author, 'reply', 2, f.conversation, f.seq, o.seq, f.author, f.at_ms, null
        from fresh f cross join lateral (
            select seq, author from entry where conversation = f.conversation and seq = (f.said ->> 'reply_to')::bigint
            limit 1) o
        where f.kind = 'message' and f.said is not null
        union all
        select (n ->> 'user')::uuid, 'mention', 1, f.conversation, f.seq, null, f.author, f.at_ms, null
        from fresh f cross join lateral jsonb_array_elements(f.said -> 'entities') n
        where f.kind = 'message' and n ->> 'kind' = 'mention'
        union all                                             -- whoever says "all" has every member looked at
        select s.person, 'mention', 1, f.conversation, f.seq, null, f.author, f.at_ms, null
        from fresh f cross join lateral (
            select person from span where conversation = f.conversation and until is null offset 0) s
        where f.kind = 'message' and f.said ->> 'mention_all' = 'all'
    )
    select json_agg(t) into v_told from (
        select distinct on (t.person, t.conversation, t.seq) t.* from told t
        where t.person <> t.author and may_see(t.person, t.author) and (
            select s.since from span s where s.conversation = t.conversation and s.person = t.person and s.until is null
            limit 1) <= t.seq
        order by t.person, t.conversation, t.seq, t.rank) t;
    if v_told is not null then
        perform from account where id = any (array(select (t ->> 'person')::uuid from json_array_elements(v_told) t))
            order by id for no key update;
        for v_one in select t from json_array_elements(v_told) t loop
            perform add_notification((v_one ->> 'person')::uuid, uuidv7()::text, json_strip_nulls(json_build_object(
                'kind', v_one -> 'kind', 'at_ms', v_one -> 'at_ms', 'conversation', v_one -> 'conversation', 'seq', v_one -> 'seq',
                'of', v_one -> 'about', 'user', v_one -> 'author', 'emoji', v_one -> 'emoji')), p_kept);
        end loop;
    end if;

    if exists (select from device) then
        with said as materialized (
            select e.conversation, e.seq, e.author, entry_content(e) as said,
                   coalesce((select wary from account where id = e.author limit 1), false) as wary
            from unnest(v_ids, v_los, v_his) as r(id, lo, hi)
            cross join lateral (select * from entry where conversation = r.id and seq > r.lo and seq <= r.hi offset 0) e
            where e.kind = 'message' and e.at_ms >= v_now - p_stale_ms and e.detail ->> 'deleted' is null
        ), owed as materialized (
            select s.person, m.conversation, min(m.seq) as since, max(m.seq) as seq,
                   bool_or(m.said is not null and names_person(m.said, s.person)) as mention
            from said m cross join lateral (
                select person from span where conversation = m.conversation and until is null and since <= m.seq
                    and person <> m.author and not (m.wary and blocked(person, m.author)) offset 0) s
            where (select true from device d where d.account = s.person limit 1)
                and (m.said ->> 'thread' is null or names_person(m.said, s.person)
                     or follows_thread(s.person, m.conversation, (m.said ->> 'thread')::bigint))
            group by s.person, m.conversation
        ), put as (
            insert into push as p (account, device, conversation, since, seq, mention, at_ms)
            select d.account, d.device, o.conversation, o.since, o.seq, o.mention, v_now
            from owed o cross join lateral (select device, node, account from device where account = o.person offset 0) d
            left join lateral (select read, delivered from receipt where conversation = o.conversation and person = o.person
                               limit 1) r on true
            where o.seq > coalesce(r.read, 0) and not (coalesce(r.delivered, 0) >= o.seq and is_connected(d.node))
                and wants_push(o.person, o.conversation, o.mention)
            order by o.conversation, d.account, d.device
            on conflict (conversation, account, device) do update set
                seq = greatest(p.seq, excluded.seq), mention = p.mention or excluded.mention,
                -- One that waits for so long waits in vain: its job is dead.
                since = case when p.at_ms < v_now - p_stale_ms then excluded.since else p.since end,
                at_ms = case when p.at_ms < v_now - p_stale_ms then v_now else p.at_ms end
            returning p.conversation, p.account, p.device, p.at_ms = v_now as fresh
        ), chunk as (
            select conversation, account, device,
                   (row_number() over (partition by conversation order by account, device) - 1) / p_devices as nth
            from put where fresh
        ), made as (
            insert into job (kind, key, payload, due_at_ms)
            select 'push', c.conversation || ':' || r.hi || ':' || c.nth,
                   json_build_object('conversation', c.conversation, 'devices',
                                     json_agg(json_build_array(c.account, c.device) order by c.account, c.device)), v_now
            from chunk c join unnest(v_ids, v_his) as r(id, hi) on r.id = c.conversation
            group by c.conversation, r.hi, c.nth order by 1
            on conflict do nothing returning id
        )
        select count(*) into v_jobs from made;
    end if;

    update pushed set seq = v_his[array_position(v_ids, conversation)] where conversation = any (v_ids);
    return json_build_object(
        'people', coalesce((select json_agg(distinct t ->> 'person') from json_array_elements(v_told) t), '[]'),
        'more', coalesce(to_json(v_more), '[]'), 'jobs', v_jobs);
end $$;

-- As in 0011; the same, of what was gathered before.
create or replace function push_contents(p_conversation uuid, p_devices json, p_patience_ms bigint, p_stale_ms bigint, p_unread integer)
returns json language sql volatile
set enable_seqscan = off
as $$
    with owed as materialized (
        select p.*, d.platform, d.token, is_connected(d.node) as connected, coalesce(r.read, 0) as read,
               coalesce(r.delivered, 0) as delivered, s.since as visible,
               (select wary from account where id = p.account limit 1) as wary
        from json_array_elements(p_devices) x
        join push p on p.conversation = p_conversation and p.account = (x ->> 0)::uuid and p.device = x ->> 1
        join device d on d.account = p.account and d.device = p.device
        left join receipt r on r.conversation = p.conversation and r.person = p.account
        left join span s on s.conversation = p.conversation and s.person = p.account and s.until is null
    ), told as materialized (
        select o.*, m.seq as newest, m.author, m.text, m.content, n.count
        from owed o
        left join lateral (
            select e.seq, e.author, e.text, entry_content(e) as content from entry e
            where e.conversation = p_conversation and e.seq between o.since and o.seq and e.seq > o.read and e.seq >= o.visible
                and e.kind = 'message' and e.author <> o.account and e.detail ->> 'deleted' is null
                and not (o.wary and blocked(o.account, e.author))
            order by e.seq desc limit 1) m on true
        left join lateral (
            select count(*) from (
                select e.kind, e.author, e.detail from entry e
                where e.conversation = p_conversation and e.seq between greatest(o.since, o.read + 1, o.visible) and o.seq
                order by e.seq limit p_unread) e
            where e.kind = 'message' and e.author <> o.account and e.detail ->> 'deleted' is null
                and not (o.wary and blocked(o.account, e.author))) n on true
    ), judged as materialized (
        select t.*, case
            when t.visible is null or t.newest is null or t.at_ms < now_ms() - p_stale_ms then 'drop'
            when not wants_push(t.account, p_conversation, t.mention) then 'drop'
            when not t.connected then 'send'
            -- An open socket may be a dead one that nobody has noticed: what it took, it says; and in this time it was
            -- asked whether it lives.
            when t.delivered >= t.seq or t.at_ms < now_ms() - p_patience_ms then 'drop'
            else 'wait' end as verdict
        from told t
    ), badge as materialized (
        select account, push_badge(account, p_unread) as unread from (
            select distinct account from judged where verdict = 'send') a
    )
    select coalesce(json_agg(json_strip_nulls(json_build_object(
        'account', j.account, 'device', j.device, 'seq', j.seq, 'verdict', j.verdict, 'token', j.token, 'platform', j.platform,
        'kind', v.kind, 'title', v.title, 'author', j.author, 'name', a.name, 'text', j.text, 'content', j.content,
        'newest', j.newest, 'count', j.count, 'mention', j.mention, 'badge', b.unread,
        'hide', coalesce((o.value ->> 'hide_content')::boolean, false))) order by j.account, j.device), '[]')
    from judged j
    join conversation v on v.id = p_conversation
    left join account a on a.id = j.author
    left join badge b on b.account = j.account
    left join personal o on o.person = j.account and o.what = 'notifying' and o.subject = ''
$$;

-- As in 0013; the same: who may answer a request finds it in the list.
create or replace function tell_request(p_conversation uuid, p_person uuid, p_request uuid, p_devices integer, p_kept integer)
returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v conversation;
    r join_request;
    v_people uuid[];
begin
    -- Under this lock the request is told of before it is answered, or it is not told of at all.
    select * into v from conversation where id = p_conversation for no key update;
    select * into r from join_request where conversation = p_conversation and person = p_person and id = p_request;
    if not found then return '[]'; end if;
    if cardinality(r.told) > 0 then return to_json(r.told); end if;
    v_people := array(
        select m.person from (
            select person, 'admin' as role from span
            where conversation = v.id and role = 'admin' and until is null and person is distinct from v.owner
            union all
            select person, 'owner' from span where conversation = v.id and person = v.owner and until is null) m
        join permission p on p.what = 'links' and p.kind = v.kind and p.role = m.role
        where not blocked(m.person, p_person)
        order by m.person);
    perform from account where id = any (v_people) order by id for no key update;
    update join_request set told = add_notifications(v_people, p_request::text, json_build_object(
            'kind', 'request', 'at_ms', r.at_ms, 'conversation', v.id, 'user', p_person), p_kept)
        where conversation = p_conversation and person = p_person returning * into r;
    perform push_notification(p_request, r.told, p_devices);
    return to_json(r.told);
end $$;


-- --- Blocks ---

-- What was between two people ends, with nothing told that its own end would not tell: contacts, requests and follows
-- (part_ways, 0022), and a match. Both accounts are locked.
create function end_relations(p_person uuid, p_other uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_match uuid;
    v_each uuid;
begin
    perform part_ways(p_person, p_other);
    update matched set ended_at_ms = now_ms(), ended_by = p_person
        where low = least(p_person, p_other) and high = greatest(p_person, p_other) and ended_at_ms is null
        returning id into v_match;
    if found then
        foreach v_each in array array[least(p_person, p_other), greatest(p_person, p_other)] loop
            perform set_personal(v_each, 'match', v_match::text, null);
        end loop;
    end if;
end $$;

-- Block somebody, or take it back; the latter brings nothing back but that the two see each other. The blocker has a row of
-- one's own for it; the number of the other rises, too, so that the process of that person looks again whom it shows.
--   Returns {"number", "new"}, and "conversation" and "seq" if their conversation was closed or opened; or {"error": code}.
create function change_block(p_on boolean, p_person uuid, p_command json, p_most integer) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_user uuid := p_command ->> 'user';
    v_digest uuid := md5(json_build_array('block', p_on, v_user)::text)::uuid;
    v_answer json;
    v_settled json;
    v_number bigint := 0;
begin
    perform lock_pair(p_person, v_user);
    v_answer := begin_personal(p_person, 'block', p_command ->> 'key', v_digest);
    if v_answer is not null then return v_answer; end if;
    if p_person = v_user then return json_build_object('error', 'oneself'); end if;
    if not exists (select from account where id = v_user and standing <> 'deleted') and p_on then
        return json_build_object('error', 'unknown_user');
    end if;
    if p_on <> exists (select from block where person = p_person and blocked = v_user) then
        if p_on then
            if (select count(*) from block where person = p_person) >= p_most then
                return json_build_object('error', 'too_many');
            end if;
            insert into block (person, blocked) values (p_person, v_user);
            update account set wary = true where id in (p_person, v_user) and not wary;
            perform end_relations(p_person, v_user);
        else
            delete from block where person = p_person and blocked = v_user;
        end if;
        v_number := set_personal(p_person, 'block', v_user::text, (
            select json_build_object('at_ms', at_ms) from block where person = p_person and blocked = v_user));
        update account set number = next_number(number) where id = v_user;
        v_settled := settle_direct(p_person, v_user);
    end if;
    v_answer := end_personal(p_person, 'block', p_command ->> 'key', v_digest, v_number);
    return json_build_object('number', v_number, 'new', true, 'conversation', v_settled -> 'conversation',
                             'seq', v_settled -> 'seq');
end $$;

-- Whom a person has blocked, last first, those before (*p_at*, *p_user*).
--   Returns {"blocks": [{"user", "name", "at_ms"}, ...], "more": bool}.
create function block_page(p_person uuid, p_at bigint, p_user uuid, p_limit integer) returns json language sql stable
set enable_seqscan = off
as $$
    with page as materialized (
        select blocked, at_ms, row_number() over (order by at_ms desc, blocked desc) as nth from block
        where person = p_person and (at_ms, blocked) < (p_at, p_user) order by at_ms desc, blocked desc limit p_limit + 1
    )
    select json_build_object(
        'blocks', (select coalesce(json_agg(json_build_object('user', p.blocked, 'name', a.name, 'at_ms', p.at_ms)
                                            order by p.nth), '[]')
                   from page p cross join lateral (select name from account where id = p.blocked limit 1) a
                   where p.nth <= p_limit),
        'more', (select count(*) from page) > p_limit)
$$;


-- --- Reports ---

-- What somebody reported, with a copy of it for the moderators: what was said may be edited or deleted meanwhile. The copy
-- is kept while the report is open, and no longer.
create table report (
    id           uuid   primary key,
    nth          bigint generated always as identity unique,  -- what its key is kept with (personal_key.number)
    reporter     uuid   not null references account,
    what         text   not null check (what in ('message', 'user', 'post', 'comment', 'conversation')),
    target       text   not null,                             -- names it, whoever reports it
    about        uuid   references account,                   -- whose it is; null of a conversation
    reason       text   not null,
    said         text   not null default '',                  -- by the reporter
    evidence     json,                                        -- null: it was closed
    at_ms        bigint not null,
    closed_at_ms bigint,
    closed_by    uuid   references account,
    verdict      text,
    note         text   not null default '',
    check ((closed_at_ms is null) = (verdict is null)),
    check ((closed_at_ms is null) or evidence is null)
);
create unique index report_once on report (reporter, what, target) where closed_at_ms is null;
create index report_open on report (at_ms, id) where closed_at_ms is null;
create index report_closed on report (closed_at_ms desc, id desc) where closed_at_ms is not null;
create index report_reporter on report (reporter, at_ms);
create index report_about on report (about);

-- Media that open reports show: no sweep takes them meanwhile.
create table report_medium (
    report uuid not null references report,
    upload uuid not null references upload on delete cascade,
    primary key (report, upload)
);
create index report_medium_upload on report_medium (upload);

-- As in 0004; new: what an open report shows is no orphan.
create or replace function upload_detach(p_upload uuid, p_conversation uuid, p_seq bigint, p_unused_ms bigint) returns void
language plpgsql volatile
as $$
begin
    perform from upload where id = p_upload for no key update;
    delete from upload_use
    where upload = p_upload and conversation is not distinct from p_conversation and seq is not distinct from p_seq;
    update upload set used_at_ms = null, due_at_ms = greatest(now_ms() + p_unused_ms, coalesce(incoming_until_ms, 0))
    where id = p_upload and used_at_ms is not null and not exists (select from upload_use where upload = p_upload)
        and not exists (select from report_medium where upload = p_upload);
end $$;

-- The copy of what is reported, as *p_person* sees it.
--   Returns {"about", "evidence", "media": [id, ...]} or {"error": code}.
create function evidence_of(p_person uuid, p_what json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := coalesce(p_what -> 'message' ->> 'conversation', p_what ->> 'conversation');
    v_user uuid := p_what ->> 'user';
    v_found json;
    v_shown json;
    m entry;
begin
    if p_what -> 'message' is not null then
        select * into m from visible_message(v_conversation, p_person, (p_what -> 'message' ->> 'seq')::bigint);
        if not found or m.detail ->> 'deleted' is not null then return json_build_object('error', 'unknown_message'); end if;
        return json_build_object(
            'about', m.author, 'evidence', json_build_object(
                'entries', json_build_array(entry_json(m)),
                'versions', message_edits(p_person, v_conversation, m.seq, 0, 50, 262144) -> 'versions'),
            'media', ids_of(m.content -> 'media'));
    elsif v_user is not null then
        v_found := names_for(p_person, array[v_user]);
        if json_array_length(v_found) = 0 then return json_build_object('error', 'unknown_user'); end if;
        v_shown := profile_evidence(p_person, v_user);
        return json_build_object(
            'about', v_user, 'evidence', json_build_object('shown', json_strip_nulls(json_build_object(
                'name', v_found -> 0 -> 'name', 'profile', v_shown))), 'media', ids_of(v_shown -> 'photos'));
    elsif v_conversation is not null then
        if not exists (select from span where conversation = v_conversation and person = p_person) then
            return json_build_object('error', 'not_a_member');
        end if;
        v_found := history_page(p_person, v_conversation, 9223372036854775807, 20, 65536) -> 'entries';
        return (
            select json_build_object('about', null, 'evidence', json_build_object(
                'shown', json_strip_nulls(json_build_object(
                    'kind', v.kind, 'title', v.title, 'topic', v.topic, 'photo', v.photo)),
                'entries', v_found),
                'media', array_to_json(array_remove(v.photo || array(
                    select (x ->> 'id')::uuid from json_array_elements(v_found) e
                    cross join json_array_elements(coalesce(e -> 'content' -> 'media', '[]')) x), null)))
            from conversation v where v.id = v_conversation);
    end if;
    return post_evidence(p_person, p_what);
end $$;

create function ids_of(p_media json) returns json language sql immutable
return (select coalesce(json_agg(x -> 'id'), '[]') from json_array_elements(coalesce(p_media, '[]')) x);

-- A person's profile as somebody is shown it (0019).
create function profile_evidence(p_person uuid, p_user uuid) returns json language plpgsql stable as $$
begin
    return profile_shown(p_person, p_user);
end $$;

-- A post or a comment, as evidence_of. Where there are none, nobody can see one.
create function post_evidence(p_person uuid, p_what json) returns json language sql stable
return json_build_object('error', 'not_found');

-- Report something. What is reported already by the same person, and not closed, is one report.
--   Returns {"report": id}, or {"error": code, "retry_after_ms"}.
create function make_report(p_id uuid, p_person uuid, p_command json, p_most integer) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_what json := json_strip_nulls(p_command -> 'what');
    v_kind text := (select key from json_each(v_what));
    v_target text := case when v_kind = 'message' then (v_what -> 'message' ->> 'conversation') || '/' || (v_what -> 'message' ->> 'seq')
                     else v_what ->> v_kind end;
    v_digest uuid := md5(json_build_array('report', v_kind, v_target, p_command -> 'reason', p_command -> 'text')::text)::uuid;
    v_answer json;
    v_found json;
    v_oldest bigint;
    r report;
begin
    v_answer := begin_personal(p_person, 'report', p_command ->> 'key', v_digest);
    if v_answer ->> 'error' is not null then return v_answer; end if;
    if v_answer is not null then
        return (select json_build_object('report', id) from report where nth = (v_answer ->> 'number')::bigint);
    end if;
    v_found := evidence_of(p_person, v_what);
    if v_found ->> 'error' is not null then return v_found; end if;
    if (v_found ->> 'about')::uuid = p_person then return json_build_object('error', 'oneself'); end if;
    select * into r from report where reporter = p_person and what = v_kind and target = v_target and closed_at_ms is null;
    if not found then
        select at_ms into v_oldest from report where reporter = p_person and at_ms > now_ms() - 86400000
            order by at_ms desc offset p_most - 1 limit 1;
        if found then
            return json_build_object('error', 'rate_limited', 'retry_after_ms', greatest(1, v_oldest + 86400000 - now_ms()));
        end if;
        insert into report (id, reporter, what, target, about, reason, said, evidence, at_ms)
        values (p_id, p_person, v_kind, v_target, (v_found ->> 'about')::uuid, p_command ->> 'reason', p_command ->> 'text',
                v_found -> 'evidence', now_ms())
        returning * into r;
        perform from upload where id = any (array(select x.value::uuid from json_array_elements_text(v_found -> 'media') x))
            order by id for no key update;
        insert into report_medium (report, upload)
        select r.id, u.id from upload u where u.state = 'ready'
            and u.id = any (array(select x.value::uuid from json_array_elements_text(v_found -> 'media') x));
        update upload set used_at_ms = coalesce(used_at_ms, now_ms())
            where id = any (array(select upload from report_medium where report = r.id));
    end if;
    perform end_personal(p_person, 'report', p_command ->> 'key', v_digest, r.nth);
    return json_build_object('report', r.id);
end $$;

create function moderates(p_person uuid) returns boolean language sql stable
return exists (select from account where id = p_person and role in ('moderator', 'admin'));

-- Whether an open report holds this medium, and *p_person* is to judge it.
create function sees_in_report(p_person uuid, p_upload uuid) returns boolean language sql stable
set enable_seqscan = off
as $$
    select exists (select from report_medium where upload = p_upload) and moderates(p_person)
$$;

-- A page of the reports, the open ones oldest first, the closed ones last closed first; those after (*p_at*, *p_id*).
--   Returns {"reports": [...], "more": bool} or {"error": "forbidden"}.
create function report_page(p_person uuid, p_open boolean, p_at bigint, p_id uuid, p_limit integer) returns json
language plpgsql stable
set enable_seqscan = off
as $$
begin
    if not moderates(p_person) then return json_build_object('error', 'forbidden'); end if;
    return (
        with page as materialized (
            select * from (
                (select r.*, at_ms as place from report r
                 where p_open and closed_at_ms is null and (at_ms, id) > (p_at, p_id) order by at_ms, id limit p_limit + 1)
                union all
                (select r.*, closed_at_ms from report r
                 where not p_open and closed_at_ms is not null and (closed_at_ms, id) < (p_at, p_id)
                 order by closed_at_ms desc, id desc limit p_limit + 1)) both_kinds
        ), numbered as (
            select *, case when p_open then row_number() over (order by place, id)
                      else row_number() over (order by place desc, id desc) end as turn from page
        )
        select json_build_object(
            'reports', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                'report', id, 'reporter', reporter, 'what', what, 'target', target, 'about', about, 'reason', reason,
                'text', nullif(said, ''), 'evidence', evidence, 'at_ms', at_ms, 'closed_at_ms', closed_at_ms,
                'closed_by', closed_by, 'verdict', verdict, 'note', nullif(note, ''))) order by turn), '[]')
                from numbered where turn <= p_limit),
            'more', (select count(*) from page) > p_limit));
end $$;

-- Close a report: its copy goes. A report that is closed takes another verdict.
--   Returns {"number"} or {"error": code}.
create function close_report(p_person uuid, p_command json, p_unused_ms bigint) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_report uuid := p_command ->> 'report';
    v_answer json;
begin
    v_answer := begin_personal(p_person, 'report.close', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then return v_answer; end if;
    if not moderates(p_person) then return json_build_object('error', 'forbidden'); end if;
    perform from report where id = v_report for no key update;
    if not found then return json_build_object('error', 'not_found'); end if;
    update report set closed_at_ms = coalesce(closed_at_ms, now_ms()), closed_by = p_person, evidence = null,
            verdict = p_command ->> 'verdict', note = p_command ->> 'note'
        where id = v_report;
    perform let_go_of_media(array[v_report], p_unused_ms);
    return end_personal(p_person, 'report.close', p_command ->> 'key', personal_digest(p_command), 0);
end $$;

-- What these reports show is kept for them no more.
create function let_go_of_media(p_reports uuid[], p_unused_ms bigint) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_media uuid[] := array(select distinct upload from report_medium where report = any (p_reports));
begin
    perform from upload where id = any (v_media) order by id for no key update;
    delete from report_medium where report = any (p_reports);
    update upload set used_at_ms = null, due_at_ms = greatest(now_ms() + p_unused_ms, coalesce(incoming_until_ms, 0))
    where id = any (v_media) and used_at_ms is not null and not exists (select from upload_use where upload = id)
        and not exists (select from report_medium where upload = id);
end $$;


-- --- Leaving ---

-- Erase what somebody blocked and reported. What others blocked stays theirs, and names an account without a name. Of reports
-- about the person, open ones keep their copy until they are closed: that is what they are for; closed ones have none.
create function erase_blocks(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    delete from block where person = p_person;
    perform let_go_of_media(array(select id from report where reporter = p_person), 0);
    delete from report where reporter = p_person;
    update report set closed_by = null where closed_by = p_person;
end $$;

-- What somebody blocked and reported; who reported the person is told to nobody.
create function export_blocks(p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'blocks', (select coalesce(json_agg(json_build_object('user', blocked, 'at_ms', at_ms) order by at_ms, blocked), '[]')
                   from block where person = p_person),
        'reports', (select coalesce(json_agg(json_build_object(
                        'what', what, 'target', target, 'reason', reason, 'text', said, 'at_ms', at_ms) order by at_ms, id), '[]')
                    from report where reporter = p_person))
$$;
