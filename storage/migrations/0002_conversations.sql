-- Conversations, their logs, their members, and how far each member is.
--
-- Locks are taken in one order everywhere: conversations by id, then accounts by id; rows that refer to them after that.
-- Functions that write lock in a first statement and read in later ones: in READ COMMITTED each statement has its own
-- snapshot, and a snapshot taken before the wait for a lock would miss what the holder of the lock committed
-- (docs/hazards.md, A2).

create table conversation (
    id           uuid    primary key,
    kind         text    not null check (kind in ('direct', 'group')),
    title        text    check ((kind = 'group') = (title is not null)),
    history      text    not null default 'all' check (history in ('all', 'from_join')),
    owner        uuid    references account,
    last_seq     bigint  not null default 0 check (last_seq >= 0),   -- unindexed, so that an append stays a heap-only update
    active_at_ms bigint  not null default 0,
    member_count integer not null default 0 check (member_count >= 0)
) with (fillfactor = 50);

create table direct (
    low          uuid not null references account,
    high         uuid not null references account,
    conversation uuid not null unique references conversation,
    primary key (low, high),
    check (low < high)
);
create index direct_high on direct (high);

-- (author, key) of every group ever created: a repeated conversation.create finds the first.
create table creation (
    author       uuid not null references account,
    key          text not null check (length(key) between 1 and 64),
    conversation uuid not null unique references conversation,
    digest       uuid not null,
    primary key (author, key)
);

-- Membership as spans: entries with since <= seq <= until are visible. Never deleted.
create table span (
    conversation uuid    not null references conversation,
    person       uuid    not null references account,
    joined       bigint  not null check (joined >= 1),        -- seq of the entry that began it
    since        bigint  not null check (since between 1 and joined),
    until        bigint  check (until > joined),              -- seq of the entry that ended it, inclusive
    place        integer not null default 0,                  -- order among those who joined by the same entry
    number       bigint  not null,                            -- the person's number at the last change of this row
    primary key (conversation, person, joined)
);
create unique index span_open on span (conversation, person) where until is null;
create index span_person on span (person, conversation);

-- Constraints of entries are domains: a table's own would be read and compiled once for each partition that an append
-- touches, and cost it a tenth of its time (docs/decisions/0006).
create domain entry_seq  as bigint check (value >= 1);
create domain entry_kind as text   check (value in ('created', 'message', 'member.added', 'member.removed'));
create domain entry_key  as text   check (length(value) between 1 and 64);

create table entry (
    conversation uuid       not null references conversation not enforced,   -- who inserts has just locked its row
    seq          entry_seq  not null,
    kind         entry_kind not null,
    author       uuid       not null,
    key          entry_key  not null,
    key_hash     uuid       not null,                         -- of author and key: what is unique for ever, even where a key is blanked
    digest       uuid       not null,                         -- of the content under this key, to tell a repeat from a reuse
    at_ms        bigint     not null,
    text         text,
    subject      uuid,                                        -- who was added or removed
    detail       json,                                        -- of created: title, members
    primary key (conversation, seq),
    unique (key_hash, conversation)
) partition by hash (conversation);

do $$
begin
    for part in 0..7 loop
        execute format('create table entry_%s partition of entry for values with (modulus 8, remainder %s)', part, part);
        -- A conversation is always taken for a long one: statistics from when it was short would have a key looked up by
        -- reading all of it (seen: 0.5 ms a message instead of 10 us).
        execute format('alter table entry_%s alter column conversation set (n_distinct = -0.0001)', part);
    end loop;
end $$;

-- Cursors, not rows per message. Apart from membership, so that a receipt is no membership change.
create table receipt (
    conversation uuid   not null references conversation,
    person       uuid   not null references account,
    delivered    bigint not null default 0,
    read         bigint not null default 0 check (read <= delivered),
    at_ms        bigint not null,
    primary key (conversation, person)
) with (fillfactor = 50);

-- One row at each server start and every few minutes: a cursor that names an unknown one comes from a lost future.
create table lineage (
    id uuid        primary key,
    at timestamptz not null default now()
);

-- Processes that are there now.
create table node (
    id   uuid        primary key,
    beat timestamptz not null default now()
);


create function now_ms() returns bigint language sql volatile parallel safe
return floor(extract(epoch from clock_timestamp()) * 1000)::bigint;

-- A person's next number. At least the time, so that no number is given out again by a database that was restored from an
-- older copy: a client that saw the lost ones would take the new ones for old (docs/hazards.md, A12).
create function next_number(number bigint) returns bigint language sql volatile parallel safe
return greatest(number + 1, now_ms());

create function key_hash(author uuid, key text) returns uuid language sql immutable parallel safe
return md5(author::text || key)::uuid;

create function entry_json(e entry) returns json language sql immutable parallel safe
return json_strip_nulls(json_build_object(
    'conversation', e.conversation, 'seq', e.seq, 'kind', e.kind, 'author', e.author, 'key', e.key, 'at_ms', e.at_ms,
    'text', e.text, 'user', e.subject, 'title', e.detail -> 'title', 'members', e.detail -> 'members'));


-- Append a batch of new messages of members, of any conversations: what nearly every batch is. If any is not (a repeated
-- key, an author who is no member, a conversation that does not exist), nothing is stored and the error is
-- unique_violation: append_messages then looks at each.
--   batch     [{"i": place of its conversation among p_ids, "o": 1, 2, 3 ... within it, "a": author, "k": key, "x": text}, ...]
--   p_ids     the conversations, in rising order: so they are locked, and so the row of each is met
--   p_heads   for each, up to where the caller has delivered; null: nowhere
--   p_counts  for each, how many messages
-- Returns {"tops": for each conversation, the log's end before, "at_ms", "missed": as append_messages}.
--
-- The update is what waits for the locks: whoever comes later adds to what the holder has left. The insert is a statement
-- after it, with a snapshot of its own, and so knows of removals that were committed meanwhile. (docs/decisions/0006)
create function append_new(batch json, p_ids uuid[], p_heads bigint[], p_counts integer[]) returns json language plpgsql volatile
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    ids uuid[];
    tops bigint[];
    v_at bigint;                                            -- taken under the locks: a conversation's times do not go back
    stored bigint;
    missed json;
begin
    with raised as (
        update conversation v set last_seq = v.last_seq + p_counts[array_position(p_ids, v.id)], active_at_ms = now_ms()
        where v.id = any (p_ids)
        returning v.id, v.last_seq - p_counts[array_position(p_ids, v.id)] as top, v.active_at_ms
    )
    select array_agg(id), array_agg(top), max(active_at_ms) into ids, tops, v_at from raised;
    if ids is distinct from p_ids then
        raise unique_violation using message = 'not all of these conversations exist';
    end if;
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text)
    select p_ids[i], tops[i] + o, 'message', a, k, key_hash(a, k), md5('message:' || x)::uuid, v_at, x
    from json_to_recordset(batch) as r(i integer, o integer, a uuid, k text, x text)
    where exists (select from span m where m.conversation = p_ids[i] and m.person = a and m.until is null);
    get diagnostics stored = row_count;
    if stored <> json_array_length(batch) then
        raise unique_violation using message = 'not all of these authors are members';
    end if;
    if tops is distinct from p_heads then
        select json_agg(entry_json(e.*) order by e.conversation, e.seq) into missed
        from generate_subscripts(p_ids, 1) i cross join lateral (
            select * from entry where conversation = p_ids[i] and seq > p_heads[i] and seq <= tops[i] order by seq limit 500) e
        where p_heads[i] < tops[i];
    end if;
    return json_build_object('tops', to_json(tops), 'at_ms', v_at, 'missed', coalesce(missed, '[]'));
end $$;


-- Append a batch of messages, whatever each of them is: new, a repeat, or not allowed.
--   batch  [{"c": conversation, "a": author, "k": key, "x": text}, ...] in the order to store
--   heads  [{"c": conversation, "h": seq}, ...] up to where the caller has delivered
-- Returns {"answers": [{"seq", "at_ms", "new", "reused"}, ...] in the batch's order (seq null: not a member),
--          "missed": [entry, ...] what others stored above the heads, at most 500 a conversation}.
--
-- Every look at a table is a lateral subquery with a limit, a scalar one, or an array: these can only be run as one index
-- look-up a row. A join would be planned once, when the tables are small, and that plan reads all of them (seen: 0.5 ms a
-- message after some hundred of them).
create function append_messages(batch json, heads json) returns json language plpgsql volatile
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare answer json;
begin
    perform from conversation where id = any (array(select c from json_to_recordset(batch) as x(c uuid)))
        order by id for no key update;                      -- wait here; the next statement has a new snapshot
    with i as materialized (
        select x.*, key_hash(x.a, x.k) as hash, md5('message:' || x.t)::uuid as digest
        from rows from (json_to_recordset(batch) as (c uuid, a uuid, k text, x text)) with ordinality as x(c, a, k, t, n)
    ), old as materialized (                                -- the key first: a repeat is answered even after a removal
        select i.n, e.*
        from i cross join lateral (select seq, at_ms, digest from entry
                                   where entry.key_hash = i.hash and conversation = i.c limit 1) e
    ), fresh as materialized (                              -- the first of each key, if the author is a member now
        select distinct on (c, hash) * from i
        where n not in (select n from old)
          and (select true from span m where m.conversation = i.c and m.person = i.a and m.until is null)
        order by c, hash, n
    ), numbered as materialized (
        select f.*, (select last_seq from conversation where id = f.c) + row_number() over (partition by f.c order by f.n) as seq,
               now_ms() as at_ms
        from fresh f
    ), top as materialized (
        select c, max(seq) as seq, max(at_ms) as at_ms from numbered group by c
    ), raised as (
        update conversation v set last_seq = top.seq, active_at_ms = top.at_ms
        from top where v.id = top.c and v.id = any (array(select c from top))
    ), stored as (
        insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text)
        select c, seq, 'message', a, k, hash, digest, at_ms, t from numbered
        returning conversation, key_hash, seq, at_ms, digest
    )
    select json_build_object(
        'missed', (select coalesce(json_agg(entry_json(e.*) order by e.conversation, e.seq), '[]')
                   from json_to_recordset(heads) as h(c uuid, h bigint)
                   cross join lateral (select from conversation v where v.id = h.c and v.last_seq > h.h limit 1) behind
                   cross join lateral (select * from entry where conversation = h.c and seq > h.h order by seq limit 500) e),
        'answers', (select coalesce(json_agg(json_build_object(
                        'seq', coalesce(o.seq, s.seq), 'at_ms', coalesce(o.at_ms, s.at_ms), 'new', f.n is not null,
                        'reused', coalesce(o.digest, s.digest) is distinct from i.digest
                                  and coalesce(o.seq, s.seq) is not null) order by i.n), '[]')
                    from i left join old o using (n) left join fresh f using (n)
                    left join stored s on (s.key_hash, s.conversation) = (i.hash, i.c)))
    into answer;
    return answer;
end $$;


-- Add somebody to a group, remove somebody, or leave.
--   Returns {"seq", "at_ms", "new"} or {"error": code}; "missing" with not_a_member is the person who is none.
create function change_member(
    p_change text, p_conversation uuid, p_author uuid, p_key text, p_user uuid, p_most integer
) returns json language plpgsql volatile as $$
declare
    v conversation;
    old record;
    v_digest uuid := md5(p_change || ':' || p_user)::uuid;
    v_seq bigint;
    v_at bigint;
    v_number bigint;
begin
    select * into v from conversation where id = p_conversation for no key update;
    if not found then return json_build_object('error', 'not_a_member', 'missing', p_author); end if;

    select seq, at_ms, digest into old from entry
        where entry.key_hash = key_hash(p_author, p_key) and conversation = p_conversation;
    if found then
        if old.digest <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('seq', old.seq, 'at_ms', old.at_ms, 'new', false);
    end if;

    if not exists (select from span where conversation = v.id and person = p_author and until is null) then
        return json_build_object('error', 'not_a_member', 'missing', p_author);
    end if;
    if v.kind = 'direct' then return json_build_object('error', 'wrong_kind'); end if;
    if p_change = 'add' then
        if not exists (select from account where id = p_user) then return json_build_object('error', 'unknown_user'); end if;
        if exists (select from span where conversation = v.id and person = p_user and until is null) then
            return json_build_object('error', 'already_a_member');
        end if;
        if v.member_count >= p_most then return json_build_object('error', 'conversation_full'); end if;
    else
        if p_change = 'remove' and p_author is distinct from v.owner and p_author <> p_user then
            return json_build_object('error', 'forbidden');
        end if;
        if not exists (select from span where conversation = v.id and person = p_user and until is null) then
            return json_build_object('error', 'not_a_member', 'missing', p_user);
        end if;
    end if;

    v_seq := v.last_seq + 1;
    v_at := now_ms();
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, subject)
    values (v.id, v_seq, case p_change when 'add' then 'member.added' else 'member.removed' end,
            p_author, p_key, key_hash(p_author, p_key), v_digest, v_at, p_user);
    update account set number = next_number(number) where id = p_user returning number into v_number;
    if p_change = 'add' then
        insert into span (conversation, person, joined, since, number)
        values (v.id, p_user, v_seq,
                case when v.history = 'all' and not exists (select from span where conversation = v.id and person = p_user)
                     then 1 else v_seq end, v_number);
        insert into receipt (conversation, person, delivered, read, at_ms) values (v.id, p_user, v_seq, v_seq, v_at)
        on conflict (conversation, person) do update set delivered = v_seq, read = v_seq, at_ms = v_at;   -- the past is no news
    else
        update span set until = v_seq, number = v_number where conversation = v.id and person = p_user and until is null;
    end if;
    update conversation set
        last_seq = v_seq, active_at_ms = v_at,
        member_count = member_count + case p_change when 'add' then 1 else -1 end,
        owner = case when p_change <> 'add' and owner = p_user    -- the longest-standing member inherits
                     then (select person from span where conversation = v.id and until is null order by joined, place limit 1)
                     else owner end
    where id = v.id;
    return json_build_object('seq', v_seq, 'at_ms', v_at, 'new', true);
end $$;


-- Create a group with its first entry. p_members: the owner first, no repeats.
--   Returns {"conversation", "new"} or {"error": code, "missing": user}.
create function create_group(
    p_id uuid, p_author uuid, p_key text, p_title text, p_history text, p_members json, p_most integer
) returns json language plpgsql volatile as $$
declare
    old creation;
    v_digest uuid := md5(json_build_array('group', p_title, p_history, p_members)::text)::uuid;
    v_at bigint;
    v_unknown uuid;
    v_count integer := json_array_length(p_members);
begin
    -- Whoever holds the author's row decides; a repeat that waited here sees what was made meanwhile. Everybody's row at
    -- once and in id order: two people who create groups with each other would deadlock, the author's row taken first.
    perform from account where id = p_author or id in (select m.value::uuid from json_array_elements_text(p_members) m)
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
        where not exists (select from account where id = m.value::uuid) limit 1;
    if found then return json_build_object('error', 'unknown_user', 'missing', v_unknown); end if;

    v_at := now_ms();
    insert into conversation (id, kind, title, history, owner, last_seq, active_at_ms, member_count)
    values (p_id, 'group', p_title, p_history, p_author, 1, v_at, v_count);
    insert into creation (author, key, conversation, digest) values (p_author, p_key, p_id, v_digest);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (p_id, 1, 'created', p_author, p_key, key_hash(p_author, p_key), v_digest, v_at,
            json_build_object('title', p_title, 'members', p_members));
    perform raise_and_join(p_id, p_members);
    return json_build_object('conversation', p_id, 'new', true);
end $$;


-- The one direct conversation of two people.
--   Returns {"conversation", "new"} or {"error": code, "missing": user}.
create function open_direct(p_id uuid, p_author uuid, p_user uuid) returns json language plpgsql volatile as $$
declare
    v_found uuid;
    v_at bigint;
    v_members json := json_build_array(p_author, p_user);
begin
    select conversation into v_found from direct where low = least(p_author, p_user) and high = greatest(p_author, p_user);
    if found then return json_build_object('conversation', v_found, 'new', false); end if;
    -- Both sides may race: the lower account's row decides, then look again.
    perform from account where id in (p_author, p_user) order by id for no key update;
    if not exists (select from account where id = p_user) then
        return json_build_object('error', 'unknown_user', 'missing', p_user);
    end if;
    select conversation into v_found from direct where low = least(p_author, p_user) and high = greatest(p_author, p_user);
    if found then return json_build_object('conversation', v_found, 'new', false); end if;

    v_at := now_ms();
    insert into conversation (id, kind, last_seq, active_at_ms, member_count) values (p_id, 'direct', 1, v_at, 2);
    insert into direct (low, high, conversation) values (least(p_author, p_user), greatest(p_author, p_user), p_id);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (p_id, 1, 'created', p_author, 'direct:' || p_id, key_hash(p_author, 'direct:' || p_id), md5('direct')::uuid, v_at,   -- no key that a client would choose
            json_build_object('members', v_members));
    perform raise_and_join(p_id, v_members);
    return json_build_object('conversation', p_id, 'new', true);
end $$;


-- First members of a new conversation: each one's number rises (accounts in id order), each gets a span from entry 1.
create function raise_and_join(p_conversation uuid, p_members json) returns void language plpgsql volatile as $$
begin
    perform from account where id in (select value::uuid from json_array_elements_text(p_members)) order by id for no key update;
    with member as (
        select value::uuid as person, ordinality as place from json_array_elements_text(p_members) with ordinality
    ), raised as (
        update account a set number = next_number(number) from member m where a.id = m.person returning a.id, a.number
    )
    insert into span (conversation, person, joined, since, place, number)
    select p_conversation, m.person, 1, 1, m.place, r.number from member m join raised r on r.id = m.person;
end $$;


-- Raise cursors; batch [{"c": conversation, "p": person, "d": delivered, "r": read}, ...], one row a person and conversation.
--   Returns [{"member", "delivered", "read", "rose", "members"}, ...] in the batch's order.
create function move_receipts(batch json) returns json language plpgsql volatile set enable_seqscan = off as $$
declare answer json;
begin
    perform from (select c, p from json_to_recordset(batch) as x(c uuid, p uuid) order by c, p) x
        cross join lateral (select from receipt where conversation = x.c and person = x.p for no key update) locked;
    with i as materialized (
        select x.c, x.p, x.n, v.member_count, m.person is not null as member,
               least(greatest(x.d, x.r), v.last_seq) as d, least(x.r, v.last_seq) as r
        from rows from (json_to_recordset(batch) as (c uuid, p uuid, d bigint, r bigint)) with ordinality as x(c, p, d, r, n)
        left join lateral (select member_count, last_seq from conversation where id = x.c limit 1) v on true
        left join lateral (select person from span where conversation = x.c and person = x.p and until is null limit 1) m on true
    ), moved as (
        insert into receipt as t (conversation, person, delivered, read, at_ms)
        select c, p, d, r, now_ms() from i where member order by c, p
        on conflict (conversation, person) do update
            set delivered = greatest(t.delivered, excluded.delivered), read = greatest(t.read, excluded.read), at_ms = excluded.at_ms
            where excluded.delivered > t.delivered or excluded.read > t.read
        returning conversation, person, delivered, read
    )
    select coalesce(json_agg(json_build_object(
        'member', i.member, 'delivered', coalesce(m.delivered, r.delivered, i.d, 0), 'read', coalesce(m.read, r.read, i.r, 0),
        'rose', m.person is not null, 'members', coalesce(i.member_count, 0)) order by i.n), '[]')
    from i left join moved m on (m.conversation, m.person) = (i.c, i.p)
    left join lateral (select delivered, read from receipt where conversation = i.c and person = i.p limit 1) r on true
    into answer;
    return answer;
end $$;


-- The questions of those who come back are answered for many at once (storage/gather.py). Each asker has a number "q",
-- and each part of an answer names it.

-- What entries of one page each asker may see.
--   ranges [{"q": asker, "p": person, "b": bytes a page, "c": conversation, "lo": seq, "hi": seq}, ...] in the order to send
--   Returns [{"q", "entries": [...], "cut": true when the page was full before the ranges ended}, ...]; no entry, no part.
create function visible_entries(ranges json) returns json language sql stable
set enable_seqscan = off
as $$
    with sized as materialized (
        select r.q, r.b, r.n, e.seq, entry_json(e) as body,
               row_number() over page as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0) + 200) over page as through
        from rows from (json_to_recordset(ranges) as (q integer, p uuid, b integer, c uuid, lo bigint, hi bigint))
            with ordinality as r(q, p, b, c, lo, hi, n)
        cross join lateral (
            select * from entry e where e.conversation = r.c and e.seq between r.lo and r.hi
                and (select true from span s where s.conversation = r.c and s.person = r.p
                     and e.seq between s.since and coalesce(s.until, 9223372036854775807) limit 1)
            order by e.seq limit 1000) e
        window page as (partition by r.q order by r.n, e.seq)
    ), page as (
        select q, json_agg(body order by n, seq) filter (where through <= b or nth = 1) as entries,
               bool_or(not (through <= b or nth = 1)) as cut
        from sized group by q
    )
    select coalesce(json_agg(json_build_object('q', q, 'entries', entries, 'cut', cut)), '[]') from page
$$;


-- Conversations as one of their members sees them; somebody who left sees them as they were at the end of the last
-- span, without members. Those the person was never in are left out.
--   asks [{"q": asker, "p": person, "c": conversation, "r": how many recent entries}, ...]
--   Returns [{"q", "state"}, ...] in that order.
-- Nothing here reads more of a log than it gives, or a year of a busy group would take seconds: what is unread is counted
-- among the first p_unread entries above the read cursor (which a return raises, so all of them are in the last span), and
-- past entries are sought span by span, so that an absence is not walked through.
create function conversation_states(asks json, p_named integer, p_unread integer) returns json language sql stable
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
            (select json_agg(json_build_object('user', r.person, 'delivered', r.delivered, 'read', r.read) order by r.person)
             from receipt r join span s on s.conversation = v.id and s.person = r.person and s.until is null
             where r.conversation = v.id and r.person <> i.p) end,
        'unread', (select count(*) filter (where e.kind = 'message' and e.author <> i.p) from
                   (select kind, author from entry where conversation = v.id
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


-- All that a resume starts from, in one snapshot.
--   asks [{"p": person, "l": lineage or null}, ...]
--   Returns [{"number", "at_ms", "known": whether the lineage (null: yes) is one of ours, "spans": [...] in conversation order}, ...].
create function standings(asks json) returns json language sql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select coalesce(json_agg(json_build_object(
        'number', (select number from account where id = a.p),
        'at_ms', now_ms(),
        'known', a.l is null or exists (select from lineage where id = a.l),
        'spans', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                      'conversation', s.conversation, 'joined', s.joined, 'since', s.since, 'until', s.until, 'number', s.number,
                      'last_seq', v.last_seq,
                      'partner', case when v.kind = 'direct' then
                          (select case when d.low = a.p then d.high else d.low end from direct d where d.conversation = v.id) end))
                      order by s.conversation, s.joined), '[]')
                  from span s join conversation v on v.id = s.conversation where s.person = a.p)) order by a.n), '[]')
    from rows from (json_to_recordset(asks) as (p uuid, l uuid)) with ordinality as a(p, l, n)
$$;


-- A page of the past, newest p_limit entries below p_before, oldest first.
--   Returns null for somebody who was never a member, else {"entries": [...], "more": bool}.
create function history_page(p_person uuid, p_conversation uuid, p_before bigint, p_limit integer, p_bytes integer)
returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    with page as materialized (
        select e.*::entry as e, e.seq,
               row_number() over (order by e.seq desc) as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0) + 200) over (order by e.seq desc) as through
        from (select e.* from span s cross join lateral (   -- span by span: an absence is not walked through
                  select * from entry where conversation = s.conversation
                      and seq >= s.since and seq < least(p_before, s.until + 1)
                  order by seq desc limit p_limit + 1) e
              where s.conversation = p_conversation and s.person = p_person order by e.seq desc limit p_limit + 1) e
    ), fitting as (
        select * from page where nth <= p_limit and (through <= p_bytes or nth = 1)
    )
    select case when exists (select from span where conversation = p_conversation and person = p_person) then
        json_build_object('entries', coalesce((select json_agg(entry_json(e) order by seq) from fitting), '[]'),
                          'more', (select count(*) from fitting) < (select count(*) from page)) end
$$;


-- Others' and one's own receipts since a time, in the conversations where receipts are shown and one is a member now.
--   asks [{"q": asker, "p": person, "s": since, ms}, ...]
--   Returns [{"q", "conversation", "user", "delivered", "read"}, ...].
create function receipts_since(asks json, p_named integer) returns json language sql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select coalesce(json_agg(json_build_object(
        'q', a.q, 'conversation', r.conversation, 'user', r.person, 'delivered', r.delivered, 'read', r.read)), '[]')
    from json_to_recordset(asks) as a(q integer, p uuid, s bigint)
    join span m on m.person = a.p and m.until is null
    join conversation v on v.id = m.conversation
    join receipt r on r.conversation = m.conversation and r.at_ms > a.s
    where v.member_count <= p_named or r.person = a.p
$$;


-- Whose log or number is above what the asker has delivered.
--   heads [{"c": conversation, "h": seq}, ...], numbers [{"p": person, "n": number}, ...]
create function moved(heads json, numbers json) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'conversations', (select coalesce(json_agg(json_build_object('conversation', v.id, 'seq', v.last_seq)), '[]')
                          from json_to_recordset(heads) as h(c uuid, h bigint)
                          cross join lateral (select id, last_seq from conversation where id = h.c and last_seq > h.h limit 1) v),
        'people', (select coalesce(json_agg(a.id), '[]')
                   from json_to_recordset(numbers) as p(p uuid, n bigint)
                   cross join lateral (select id from account where id = p.p and number > p.n limit 1) a))
$$;
