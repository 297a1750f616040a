-- What the server does by itself, later: a queue of jobs; devices that take pushes; who gets a push for what.
--
-- Nothing here is written by an append. What a conversation's log asks of this room is read from the log a moment later
-- (gather_pushes), up to a cursor of its own, so that a kill loses nothing and a restart repeats nothing.


-- Work to be done outside transactions: claimed for the time of a lease, done while no lock is held, then marked
-- (docs/hazards.md, B3). Who is killed meanwhile leaves a claim that ends by itself.
create table job (
    id         bigint  generated always as identity primary key,
    kind       text    not null check (length(kind) between 1 and 64),
    key        text    not null check (length(key) between 1 and 200),  -- one job for each, as long as its row is kept
    payload    json    not null,
    state      text    not null default 'waiting' check (state in ('waiting', 'done', 'dead')),
    due_at_ms  bigint  not null,            -- waiting: nobody takes it before; done: when its row may go
    claims     bigint  not null default 0,  -- names the newest claim: an older one marks nothing any more
    attempts   integer not null default 0,  -- claims that were not given back
    problem    text,                        -- why it was not done at the last attempt
    made_at_ms bigint  not null default now_ms(),
    unique (kind, key)
) with (fillfactor = 70);
create index job_waiting on job (due_at_ms) where state = 'waiting';
create index job_done on job (due_at_ms) where state = 'done';
create index job_dead on job (kind) where state = 'dead';

-- Take up to p_most jobs of these kinds that are due, for p_lease_ms.
--   Returns [{"id", "kind", "key", "payload", "claim", "attempts"}, ...], the one due first first.
create function claim_jobs(p_kinds text[], p_most integer, p_lease_ms bigint) returns json language sql volatile
set enable_seqscan = off
as $$
    with picked as materialized (
        select id, due_at_ms from job where state = 'waiting' and due_at_ms <= now_ms() and kind = any (p_kinds)
        order by due_at_ms limit p_most for no key update skip locked
    ), taken as (
        update job j set claims = j.claims + 1, attempts = j.attempts + 1, due_at_ms = now_ms() + p_lease_ms
        from picked where j.id = picked.id
        returning j.id, j.kind, j.key, j.payload, j.claims, j.attempts, picked.due_at_ms as was_due
    )
    select coalesce(json_agg(json_build_object(
        'id', id, 'kind', kind, 'key', key, 'payload', payload, 'claim', claims, 'attempts', attempts)
        order by was_due, id), '[]') from taken
$$;


-- Devices that take pushes, one row for each device of an account. A push token is one installation of the app: it belongs
-- to whoever registered it last.
create table device (
    account    uuid   not null references account,
    device     text   not null check (length(device) between 1 and 64),  -- as in `hello`
    platform   text   not null check (platform in ('android', 'ios', 'web')),
    token      text   not null check (length(token) between 1 and 4096),
    token_hash bytea  not null unique,       -- SHA-256: a token may be too long for an index
    sign_in    uuid,                         -- by which it was registered: it ends with it
    node       uuid,                         -- the process that holds its socket, as far as this is known
    at_ms      bigint not null,
    primary key (account, device)
);
create index device_sign_in on device (sign_in);
create index device_node on device (node) where node is not null;

-- Register a device; its token is taken from whoever had it. Of more than p_most, the one registered longest ago goes.
create function register_device(
    p_account uuid, p_device text, p_platform text, p_token text, p_sign_in uuid, p_most integer
) returns boolean language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_hash bytea := sha256(convert_to(p_token, 'UTF8'));
begin
    -- One at a time for each token, before any account is locked: whose it is stays so until this is done, and so all
    -- accounts concerned are known and can be locked in the order of their ids.
    perform pg_advisory_xact_lock(hashtextextended(encode(v_hash, 'hex'), 0));
    perform from account where id = any (p_account || array(select account from device where token_hash = v_hash))
        order by id for no key update;
    if not exists (select from account where id = p_account) then return false; end if;
    delete from device where token_hash = v_hash and (account, device) <> (p_account, p_device);
    insert into device (account, device, platform, token, token_hash, sign_in, at_ms)
    values (p_account, p_device, p_platform, p_token, v_hash, p_sign_in, now_ms())
    on conflict (account, device) do update set platform = excluded.platform, token = excluded.token,
        token_hash = excluded.token_hash, sign_in = excluded.sign_in, at_ms = excluded.at_ms;
    delete from device d where d.account = p_account and d.device in (
        select o.device from device o where o.account = p_account order by o.at_ms desc, o.device offset p_most);
    return true;
end $$;

-- Whose sign-in ends gets no pushes there any more, however it ended.
create function forget_devices_of_sign_in() returns trigger language plpgsql as $$
begin
    delete from device where sign_in = old.id;
    return null;
end $$;
create trigger sign_in_ended after update of ended_at_ms on sign_in
    for each row when (old.ended_at_ms is null and new.ended_at_ms is not null) execute function forget_devices_of_sign_in();
create trigger sign_in_gone after delete on sign_in for each row execute function forget_devices_of_sign_in();

-- Whether a socket of that device is open now: p_node says so, and is alive.
create function is_connected(p_node uuid) returns boolean language sql stable
return p_node is not null and exists (select from node where id = p_node and beat > now() - interval '5 seconds');

-- Sockets of devices that opened or closed at process p_node.
--   seats [{"a": account, "d": device, "here": whether one is open at p_node}, ...]
create function seat_devices(p_node uuid, seats json) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from json_to_recordset(seats) as s(a uuid, d text)
        cross join lateral (select from device where account = s.a and device = s.d for no key update) locked;
    update device v set node = case when s.here then p_node end
    from json_to_recordset(seats) as s(a uuid, d text, here boolean)
    where v.account = s.a and v.device = s.d
        and case when s.here then v.node is distinct from p_node else v.node = p_node end;
end $$;


-- Whether it is between two times of day (minutes after midnight), which may lie on both sides of midnight; the same twice:
-- never.
create function is_quiet(p_from integer, p_to integer, p_timezone text) returns boolean language sql stable
return p_from is not null and p_to is not null and (
    select case when p_from <= p_to then at >= p_from and at < p_to else at >= p_from or at < p_to end
    from (select extract(hour from t)::integer * 60 + extract(minute from t)::integer
          from (select now() at time zone coalesce(p_timezone, 'UTC')) n(t)) t(at));

-- Whether the person wants to hear by push what is said there now; p_mention: it names the person.
create function wants_push(p_person uuid, p_conversation uuid, p_mention boolean) returns boolean language sql stable
set enable_seqscan = off
as $$
    select case
            when coalesce((c.value ->> 'muted')::boolean, false)
                and coalesce((c.value ->> 'muted_until_ms')::bigint > now_ms(), true) then false
            when c.value ->> 'notify' = 'none' or c.value ->> 'notify' = 'mentions' and not p_mention then false
            else not is_quiet((o.value ->> 'quiet_from')::integer, (o.value ->> 'quiet_to')::integer, o.value ->> 'timezone') end
    from (select) one
    left join personal c on c.person = p_person and c.what = 'settings' and c.subject = p_conversation::text
    left join personal o on o.person = p_person and o.what = 'notifying' and o.subject = ''
$$;


-- Up to where a conversation's log was looked at for what is to be told by push or by notification.
create table pushed (
    conversation uuid   primary key references conversation,
    seq          bigint not null
) with (fillfactor = 50);

-- Messages that a device is owed a push for: one row, and so one push, for all of a conversation.
create table push (
    account      uuid    not null references account,
    device       text    not null,
    conversation uuid    not null references conversation,
    since        bigint  not null,   -- the oldest of them
    seq          bigint  not null,   -- the newest
    mention      boolean not null,   -- whether one of them names the person
    at_ms        bigint  not null,   -- since when it waits
    primary key (conversation, account, device),
    foreign key (account, device) references device on delete cascade
) with (fillfactor = 70);
create index push_device on push (account, device);

-- What a message is beside its text; null of plain text.
create function entry_content(e entry) returns jsonb language sql stable
return to_jsonb(e) -> 'content';

-- Whether a message with that content names the person. `here` names those who see it anyway.
create function names_person(p_content jsonb, p_person uuid) returns boolean language sql immutable parallel safe
return coalesce(p_content ->> 'mention_all' = 'all'
    or p_content @? format('$.entities[*] ? (@.kind == "mention" && @.user == "%s")', p_person)::jsonpath, false);

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
            select count(*) filter (where kind = 'message' and author <> p_person and content ->> 'thread' is null and detail ->> 'deleted' is null
                                          and not exists (select from hidden h where h.person = p_person
                                                          and h.conversation = s.conversation and h.seq = e.seq))
            into v_count from (
                select seq, kind, author, content, detail from entry where conversation = s.conversation and seq > s.read
                order by seq limit p_unread) e;
        else
            select count(*) into v_count from (
                select from (select seq, kind, author, content, detail from entry where conversation = s.conversation and seq > s.read
                             order by seq limit p_unread) e
                where kind = 'message' and author <> p_person and content ->> 'thread' is null and detail ->> 'deleted' is null
                    and not exists (select from hidden h where h.person = p_person
                                    and h.conversation = s.conversation and h.seq = e.seq) limit 1) first;
        end if;
        v_messages := v_messages + v_count;
        v_conversations := v_conversations + case when v_count > 0 or v_mark = 'unread' then 1 else 0 end;
    end loop;
    return json_build_object('messages', least(v_messages, p_most), 'conversations', v_conversations);
end $$;

-- The badge of a push: its messages. It stops at 1,000, as that does.
create function push_badge(p_person uuid, p_unread integer) returns bigint language sql stable
return (unread_total(p_person, 1000, p_unread) ->> 'messages')::bigint;


-- Look at what was stored in these conversations since the last look: who is to be told of it in the app, and by push.
-- Only entries younger than p_stale_ms count, and at most p_entries of a conversation at once. Each look at a table is a
-- lateral subquery: a join would be planned as one that reads the whole log (docs/decisions/0003). Members are looked
-- through for a push, where there are devices, and for a mention of all; else only who is named is.
--   Returns {"people": [whose own rows changed, ...], "more": [conversations with more to look at, ...], "jobs": made}.
create function gather_pushes(p_conversations uuid[], p_entries integer, p_devices integer, p_stale_ms bigint, p_kept integer)
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
        where t.person <> t.author and (
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
            select e.conversation, e.seq, e.author, entry_content(e) as said
            from unnest(v_ids, v_los, v_his) as r(id, lo, hi)
            cross join lateral (select * from entry where conversation = r.id and seq > r.lo and seq <= r.hi offset 0) e
            where e.kind = 'message' and e.at_ms >= v_now - p_stale_ms and e.detail ->> 'deleted' is null
        ), owed as materialized (
            select s.person, m.conversation, min(m.seq) as since, max(m.seq) as seq,
                   bool_or(m.said is not null and names_person(m.said, s.person)) as mention
            from said m cross join lateral (
                select person from span where conversation = m.conversation and until is null and since <= m.seq
                    and person <> m.author offset 0) s
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

-- Conversations that moved within p_within_ms and were not looked at since.
create function unpushed(p_within_ms bigint, p_most integer) returns json language sql stable
return (
    select coalesce(json_agg(id), '[]') from (
        select c.id from conversation c left join pushed p on p.conversation = c.id
        where c.active_at_ms >= now_ms() - p_within_ms and c.last_seq > coalesce(p.seq, 0)
        limit p_most) c);


-- What is to be told to these devices of a conversation now, of what they are owed.
--   devices [[account, device], ...]
--   Returns [{"account", "device", "seq", "verdict": "send" | "wait" | "drop", "token", "platform", "kind", "title", "author",
--   "name", "text", "content", "count", "mention", "badge", "hide"}, ...]; nothing of a device that is owed nothing any more.
create function push_contents(p_conversation uuid, p_devices json, p_patience_ms bigint, p_stale_ms bigint, p_unread integer)
returns json language sql volatile
set enable_seqscan = off
as $$
    with owed as materialized (
        select p.*, d.platform, d.token, is_connected(d.node) as connected, coalesce(r.read, 0) as read,
               coalesce(r.delivered, 0) as delivered, s.since as visible
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
            order by e.seq desc limit 1) m on true
        left join lateral (
            select count(*) from (
                select e.kind, e.author, e.detail from entry e
                where e.conversation = p_conversation and e.seq between greatest(o.since, o.read + 1, o.visible) and o.seq
                order by e.seq limit p_unread) e
            where e.kind = 'message' and e.author <> o.account and e.detail ->> 'deleted' is null) n on true
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

-- These devices were told up to a message, or need not be.
--   done [{"a": account, "d": device, "s": seq}, ...]
--   Returns [[account, device], ...]: those that are owed more since.
create function settle_pushes(p_conversation uuid, done json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    answer json;
begin
    perform from (select a, d from json_to_recordset(done) as x(a uuid, d text) order by a, d) x
        cross join lateral (select from push where conversation = p_conversation and account = x.a and device = x.d
                            for update) locked;
    delete from push p using json_to_recordset(done) as x(a uuid, d text, s bigint)
        where p.conversation = p_conversation and p.account = x.a and p.device = x.d and p.seq <= x.s;
    -- What was told is not told again with the rest.
    update push p set since = x.s + 1 from json_to_recordset(done) as x(a uuid, d text, s bigint)
        where p.conversation = p_conversation and p.account = x.a and p.device = x.d;
    select coalesce(json_agg(json_build_array(p.account, p.device)), '[]') into answer
        from json_to_recordset(done) as x(a uuid, d text)
        join push p on p.conversation = p_conversation and p.account = x.a and p.device = x.d;
    return answer;
end $$;


-- Notifications in the app: rows of one's own (0006), what 'notification', under ids that sort by time.

-- Add one to each of these people, unless it is there; of more than p_kept, the oldest go. One statement for all of them.
-- Call with the accounts' rows locked.
--   Returns to whom it was added.
create function add_notifications(p_people uuid[], p_id text, p_value json, p_kept integer) returns uuid[]
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_value json := p_value::jsonb::text;                     -- spelt as set_personal does
    v_told uuid[];
    v_old record;
begin
    with raised as (
        update account a set number = next_number(a.number)
        where a.id = any (p_people)
            and not exists (select from personal where person = a.id and what = 'notification' and subject = p_id)
        returning a.id, a.number
    ), put as (
        insert into personal (person, what, subject, value, number)
        select id, 'notification', p_id, v_value, number from raised returning person
    )
    select coalesce(array_agg(person order by person), '{}') into v_told from put;
    for v_old in
        select o.person, o.subject from unnest(v_told) t(person) cross join lateral (
            select person, subject from personal
            where person = t.person and what = 'notification' and value is not null
            order by subject desc offset p_kept) o
    loop
        perform set_personal(v_old.person, 'notification', v_old.subject, null);
    end loop;
    return v_told;
end $$;

-- The same for one person. Returns whether it was added.
create function add_notification(p_person uuid, p_id text, p_value json, p_kept integer) returns boolean
language sql volatile
return cardinality(add_notifications(array[p_person], p_id, p_value, p_kept)) > 0;

-- A page of them below p_below, newest first.
--   Returns {"notifications": [{"id", ...}, ...], "more": bool, "unread": of all, "settings": {...}}.
create function list_notifications(p_person uuid, p_below text, p_limit integer, p_unread_only boolean)
returns json language sql stable
set enable_seqscan = off
as $$
    with page as materialized (
        select subject, value from personal
        where person = p_person and what = 'notification' and value is not null and subject < p_below
            and not (p_unread_only and coalesce((value ->> 'read')::boolean, false))
        order by subject desc limit p_limit + 1
    )
    select json_build_object(
        'notifications', (select coalesce(json_agg((value::jsonb || jsonb_build_object('id', subject)) order by subject desc), '[]')
                          from (select * from page order by subject desc limit p_limit) p),
        'more', (select count(*) from page) > p_limit,
        'unread', (select count(*) from personal where person = p_person and what = 'notification' and value is not null
                   and not coalesce((value ->> 'read')::boolean, false)),
        'settings', coalesce((select value from personal where person = p_person and what = 'notifying' and subject = ''),
                             '{}'::json))
$$;

-- Mark them as read: those named by "ids", or all up to "through".
create function read_notifications(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_ids text[] := array(select json_array_elements_text(p_command -> 'ids'));
    v_through text := (p_command ->> 'through') collate "C";
    v_answer json;
    v_row personal;
    v_number bigint := 0;
begin
    v_answer := begin_personal(p_person, 'notification', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then return v_answer; end if;
    for v_row in
        select * from personal where person = p_person and what = 'notification' and value is not null
            and not coalesce((value ->> 'read')::boolean, false)
            and (subject = any (v_ids) or subject <= v_through)
        order by subject
    loop
        v_number := greatest(v_number, set_personal(
            p_person, 'notification', v_row.subject, (v_row.value::jsonb || '{"read": true}')::json));
    end loop;
    return end_personal(p_person, 'notification', p_command ->> 'key', personal_digest(p_command), v_number);
end $$;

-- Set when and how one is told by push. What is as if nobody had set it is not kept.
create function change_notifying(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_zone text := p_command ->> 'timezone';
    v_answer json;
    v_value json;
begin
    v_answer := begin_personal(p_person, 'notification', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then return v_answer; end if;
    if not exists (select from pg_timezone_names where name = v_zone) then
        return json_build_object('error', 'unknown_timezone');
    end if;
    v_value := json_strip_nulls(json_build_object(
        'quiet_from', p_command -> 'quiet_from', 'quiet_to', p_command -> 'quiet_to', 'timezone', nullif(v_zone, 'UTC'),
        'hide_content', case when (p_command ->> 'hide_content')::boolean then true end));
    return end_personal(
        p_person, 'notification', p_command ->> 'key', personal_digest(p_command),
        set_personal(p_person, 'notifying', '', nullif(v_value::text, '{}')::json));
end $$;


-- Word from who runs the app, for many: told in parts, each in one transaction with the job of the next.
create table notice (
    id         uuid    primary key,
    key        text    not null unique,
    digest     uuid    not null,
    said       json    not null,            -- title, body, data
    target     json    not null,            -- one of: users, conversation, platform, all
    push       boolean not null,
    at_ms      bigint  not null,
    told       bigint  not null default 0,  -- people so far
    done_at_ms bigint
);

create function notice_json(n notice) returns json language sql stable
return json_strip_nulls(json_build_object('id', n.id, 'at_ms', n.at_ms, 'told', n.told, 'done_at_ms', n.done_at_ms));

-- Make a notice, and the job that begins to tell it; a repeat finds the first.
--   Returns it as it stands, or {"error": "key_reused"}.
create function make_notice(p_id uuid, p_key text, p_said json, p_target json, p_push boolean) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := md5(json_build_array(p_said::jsonb, p_target::jsonb, p_push)::text)::uuid;
    n notice;
begin
    insert into notice (id, key, digest, said, target, push, at_ms)
    values (p_id, p_key, v_digest, p_said, p_target, p_push, now_ms()) on conflict (key) do nothing;
    if found then
        insert into job (kind, key, payload, due_at_ms)
        values ('notice', p_id || ':', json_build_object('notice', p_id), now_ms());
    end if;
    select * into n from notice where key = p_key;
    if n.digest <> v_digest then return json_build_object('error', 'key_reused'); end if;
    return notice_json(n);
end $$;

-- Tell the next p_most people above p_after, who may be told already.
--   Returns the people whose own rows changed.
create function tell_notice(p_notice uuid, p_after uuid, p_most integer, p_kept integer) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    n notice;
    v_people uuid[];
    v_told uuid[];
    v_one uuid;
begin
    select * into n from notice where id = p_notice;
    if not found then return '[]'; end if;
    p_after := coalesce(p_after, '00000000-0000-0000-0000-000000000000');
    if n.target ->> 'users' is not null then
        select array_agg(id) into v_people from (
            select a.id from json_array_elements_text(n.target -> 'users') u join account a on a.id = u.value::uuid
            where a.id > p_after group by a.id order by a.id limit p_most) p;
    elsif n.target ->> 'conversation' is not null then
        select array_agg(person) into v_people from (
            select person from span where conversation = (n.target ->> 'conversation')::uuid and until is null
                and person > p_after order by person limit p_most) p;
    elsif n.target ->> 'platform' is not null then
        select array_agg(account) into v_people from (
            select account from device where account > p_after and platform = n.target ->> 'platform'
            group by account order by account limit p_most) p;
    else
        select array_agg(id) into v_people from (
            select id from account where id > p_after order by id limit p_most) p;
    end if;
    perform from account where id = any (v_people) order by id for no key update;
    v_told := add_notifications(
        v_people, p_notice::text, (jsonb_build_object('kind', 'operator', 'at_ms', n.at_ms) || n.said::jsonb)::json, p_kept);
    if n.push then
        insert into job (kind, key, payload, due_at_ms)
        select 'notice.push', p_notice || ':' || p_after, json_build_object('notice', p_notice, 'devices',
               json_agg(json_build_array(d.account, d.device) order by d.account, d.device)), now_ms()
        from device d where d.account = any (v_told) having count(*) > 0
        on conflict do nothing;
    end if;
    if cardinality(v_people) = p_most then
        v_one := v_people[p_most];
        insert into job (kind, key, payload, due_at_ms)
        values ('notice', p_notice || ':' || v_one, json_build_object('notice', p_notice, 'after', v_one), now_ms())
        on conflict do nothing;
    end if;
    update notice set told = told + cardinality(v_told),
        done_at_ms = case when coalesce(cardinality(v_people), 0) < p_most then now_ms() end
        where id = p_notice;
    return to_json(v_told);
end $$;

-- What these devices are to be told of a notice now.
--   Returns [{"account", "device", "token", "platform", "title", "body", "data", "badge", "hide"}, ...]; nothing of those who
--   have read it meanwhile, or want quiet.
create function notice_contents(p_notice uuid, p_devices json, p_unread integer) returns json language sql stable
set enable_seqscan = off
as $$
    with due as materialized (
        select d.account, d.device, d.token, d.platform, o.value as notifying
        from json_array_elements(p_devices) x
        join device d on d.account = (x ->> 0)::uuid and d.device = x ->> 1
        left join personal o on o.person = d.account and o.what = 'notifying' and o.subject = ''
        join personal m on m.person = d.account and m.what = 'notification' and m.subject = p_notice::text
        where not coalesce((m.value ->> 'read')::boolean, m.value is null)
            and not is_quiet((o.value ->> 'quiet_from')::integer, (o.value ->> 'quiet_to')::integer, o.value ->> 'timezone')
    ), badge as materialized (
        select account, push_badge(account, p_unread) as unread from (select distinct account from due) a
    )
    select coalesce(json_agg(json_build_object(
        'account', d.account, 'device', d.device, 'token', d.token, 'platform', d.platform, 'title', n.said -> 'title',
        'body', coalesce(n.said ->> 'body', ''), 'data', coalesce(n.said -> 'data', '{}'::json), 'badge', b.unread,
        'hide', coalesce((d.notifying ->> 'hide_content')::boolean, false)) order by d.account, d.device), '[]')
    from due d join notice n on n.id = p_notice join badge b on b.account = d.account
$$;
