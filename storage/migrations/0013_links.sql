-- Finding rooms, knowing who is in them and who is there now; links that let people in, and requests of those who ask.


-- Members in order of joining, page by page.
create index span_in_order on span (conversation, joined, place) where until is null;

-- A page of the members, in order of joining, those after (*p_joined*, *p_place*).
--   Returns {"members": [{"user", "name", "role", "joined", "place"}, ...], "more": bool} or {"error": code}.
create function member_page(p_person uuid, p_conversation uuid, p_joined bigint, p_place integer, p_limit integer)
returns json language plpgsql stable
set enable_seqscan = off set enable_sort = off
as $$
declare
    v_owner uuid;
begin
    if role_of(p_conversation, p_person) is null then return json_build_object('error', 'not_a_member'); end if;
    select owner into v_owner from conversation where id = p_conversation;
    return (
        with page as materialized (
            select person, role, joined, place from span
            where conversation = p_conversation and until is null and (joined, place) > (p_joined, p_place)
            order by joined, place limit p_limit + 1
        ), first as (
            select * from page order by joined, place limit p_limit
        )
        select json_build_object(
            'members', (select coalesce(json_agg(json_build_object(
                            'user', f.person, 'name', a.name, 'joined', f.joined, 'place', f.place,
                            'role', case when f.person = v_owner then 'owner' else f.role end) order by f.joined, f.place), '[]')
                        from first f cross join lateral (select name from account where id = f.person limit 1) a),
            'more', (select count(*) from page) > p_limit));
end $$;


-- What may be found: a row for each public conversation. Apart from the conversation's row, for that one is written at
-- every message, and an index on its activity would cost each of them. Activity stands here to the minute, and is told by
-- the processes that hold the room's people (publish_rooms).
create table listed (
    conversation uuid     primary key references conversation,
    words        tsvector not null,                           -- of title, topic and tags; found by their beginnings
    tags         text[]   not null,                           -- in lower case
    active_at_ms bigint   not null
);
create index listed_active on listed (active_at_ms, conversation);
create index listed_words on listed using gin (words);
create index listed_tags on listed using gin (tags);

-- The words of a text, in lower case, each once. The same whatever the locale of the database.
create function words_of(p_text text) returns text[] language sql immutable parallel safe
return coalesce((
    select array_agg(distinct w collate "C") from regexp_split_to_table(lower(p_text collate pg_c_utf8), '[^[:alnum:]]+') w
    where w <> ''), '{}');

create function tags_of(p_tags text[]) returns text[] language sql immutable parallel safe
return coalesce((select array_agg(distinct lower(t collate pg_c_utf8) collate "C") from unnest(p_tags) t), '{}');

-- A trigger, so that whoever sets a title need not know of the list. It looks at columns that no message touches.
create function list_conversation() returns trigger language plpgsql
set enable_seqscan = off
as $$
begin
    insert into listed (conversation, words, tags, active_at_ms)
    values (new.id, array_to_tsvector(words_of(concat_ws(' ', new.title, new.topic, array_to_string(new.tags, ' ')))),
            tags_of(new.tags), new.active_at_ms)
    on conflict (conversation) do update set words = excluded.words, tags = excluded.tags;
    return null;
end $$;
create trigger list_new after insert on conversation for each row when (new.public) execute function list_conversation();
create trigger list_set after update of title, topic, tags on conversation for each row when (new.public)
    execute function list_conversation();

insert into listed (conversation, words, tags, active_at_ms)
select id, array_to_tsvector(words_of(concat_ws(' ', title, topic, array_to_string(tags, ' ')))), tags_of(tags), active_at_ms
from conversation where public;


-- How many people each process has in each public conversation. A row counts while its process beats, so it is written
-- only when the number changes.
create table room_online (
    conversation uuid    not null references listed,
    node         uuid    not null references node on delete cascade,
    people       integer not null check (people > 0),
    primary key (conversation, node)
);
create index room_online_node on room_online (node);

-- A process tells how many people it has now; 0: none any more. *p_counts*: [{"c": conversation, "n": people}, ...].
create function publish_rooms(p_node uuid, p_counts json) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    -- The process's row first, as whoever clears up after a dead one does.
    perform from node where id = p_node for key share;
    if not found then return; end if;
    delete from room_online where node = p_node
        and conversation = any (array(select c from json_to_recordset(p_counts) as x(c uuid, n integer) where n = 0));
    insert into room_online (conversation, node, people)
    select c, p_node, n from json_to_recordset(p_counts) as x(c uuid, n integer)
    where n > 0 and exists (select from listed where conversation = c)
    on conflict (conversation, node) do update set people = excluded.people where room_online.people <> excluded.people;
    -- Nobody waits here: whom another process is just telling of the same needs it told once.
    update listed l set active_at_ms = v.active_at_ms from conversation v
    where v.id = l.conversation and l.conversation = any (array(
        select conversation from listed where conversation = any (array(
            select c from json_to_recordset(p_counts) as x(c uuid, n integer)))
        for no key update skip locked))
        and v.active_at_ms >= l.active_at_ms + 60000;
end $$;

-- A page of the public conversations: those first that share most of *p_tags*, and among equals the last active. The page
-- is of what comes after (*p_shared*, *p_active*, *p_id*). *p_query*: every word of it begins a word of title, topic or tags.
--   Returns {"rooms": [{"conversation", "kind", ..., "shared", "active_at_ms"}, ...], "more": bool}.
create function room_list(
    p_person uuid, p_query text, p_tags text[], p_shared integer, p_active bigint, p_id uuid, p_limit integer
) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_tags text[] := tags_of(p_tags);
    v_words text[] := words_of(p_query);
    v_query tsquery;
    v_page text;                                              -- each form of the question has a plan of its own
    v_rooms json;
begin
    if p_query is not null then
        if cardinality(v_words) = 0 then return json_build_object('rooms', '[]'::json, 'more', false); end if;
        v_query := (select string_agg('''' || w || ''':*', ' & ') from unnest(v_words) w)::tsquery;   -- words have no quotes
    end if;
    v_page := replace(case when cardinality(v_tags) = 0 then $sql$
        select conversation, active_at_ms, 0 as shared from listed
        where (active_at_ms, conversation) < ($5, $6) and FOUND
        order by active_at_ms desc, conversation desc limit $7 + 1
    $sql$ else $sql$
        select * from (
            (select * from (
                select conversation, active_at_ms,
                       cardinality(array(select unnest(tags) intersect select unnest($2))) as shared
                from listed where tags && $2 and FOUND) t
             where (shared, active_at_ms, conversation) < ($4, $5, $6)
             order by shared desc, active_at_ms desc, conversation desc limit $7 + 1)
            union all
            (select conversation, active_at_ms, 0 from listed
             where (active_at_ms, conversation) < ($8, $9) and not tags && $2 and FOUND
             order by active_at_ms desc, conversation desc limit $7 + 1)) both_kinds
        order by shared desc, active_at_ms desc, conversation desc limit $7 + 1
    $sql$ end, 'FOUND', case when v_query is null then 'true' else 'words @@ $3' end);
    execute format($sql$
        with page as materialized (%s), first as (
            select * from page order by shared desc, active_at_ms desc, conversation desc limit $7
        )
        select json_build_object(
            'rooms', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                          'conversation', v.id, 'kind', v.kind, 'title', v.title, 'topic', v.topic, 'tags', v.tags,
                          'photo', v.photo, 'member_count', v.member_count,
                          'online', (select coalesce(sum(o.people), 0) from room_online o
                                     join node n on n.id = o.node and n.beat > now() - interval '5 seconds'
                                     where o.conversation = v.id),
                          'joined', exists (select from span where conversation = v.id and person = $1 and until is null),
                          'shared', f.shared, 'active_at_ms', f.active_at_ms))
                          order by f.shared desc, f.active_at_ms desc, f.conversation desc), '[]')
                      from first f cross join lateral (select * from conversation where id = f.conversation limit 1) v),
            'more', (select count(*) from page) > $7)
    $sql$, v_page) into v_rooms
    using p_person, v_tags, v_query, p_shared, p_active, p_id, p_limit,
          case when p_shared > 0 then 9223372036854775807 else p_active end,
          case when p_shared > 0 then 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid else p_id end;
    return v_rooms;
end $$;


-- As in 0002; new: "rooms", which of the conversations asked about are public.
create or replace function moved(heads json, numbers json) returns json language sql stable
set enable_seqscan = off
as $$
    with v as materialized (
        select f.*, h.h from json_to_recordset(heads) as h(c uuid, h bigint)
        cross join lateral (select id, last_seq, public from conversation where id = h.c limit 1) f
    )
    select json_build_object(
        'conversations', (select coalesce(json_agg(json_build_object('conversation', id, 'seq', last_seq)), '[]')
                          from v where last_seq > h),
        'rooms', (select coalesce(json_agg(id), '[]') from v where public),
        'people', (select coalesce(json_agg(a.id), '[]')
                   from json_to_recordset(numbers) as p(p uuid, n bigint)
                   cross join lateral (select id from account where id = p.p and number > p.n limit 1) a))
$$;


-- Links by which people join who are no members: whoever has the code gets in, or may ask for it. What is not for every
-- member to see is no entry: a link is a row. Its key is kept as that of an action that stored no entry (settle_action).
create table join_link (
    code          text    primary key,
    conversation  uuid    not null references conversation,
    author        uuid    not null references account,
    key_hash      uuid    not null,
    at_ms         bigint  not null,
    expires_at_ms bigint,                                     -- null: never
    uses          integer check (uses > 0),                   -- null: as many as come
    used          integer not null default 0,                 -- who joined by it, or asked; changes under the conversation's lock
    approval      boolean not null,                           -- who comes files a request
    revoked       boolean not null default false,
    unique (conversation, key_hash)
);
create index join_link_shown on join_link (conversation, at_ms, code) where not revoked;

-- Who asked to be let in, and was not answered. A row of somebody who is banned waits for the ban's end.
create table join_request (
    conversation uuid   not null references conversation,
    person       uuid   not null references account,
    code         text   not null references join_link,
    at_ms        bigint not null,
    id           uuid   not null default uuidv7(),             -- of the notification that tells of it
    told         uuid[] not null default '{}',                -- who was notified; changes under the conversation's lock
    primary key (conversation, person)
);
create index join_request_order on join_request (conversation, at_ms, person);

create function link_json(l join_link) returns json language sql stable
return json_strip_nulls(json_build_object(
    'code', l.code, 'author', l.author, 'at_ms', l.at_ms, 'expires_at_ms', l.expires_at_ms, 'uses', l.uses, 'used', l.used,
    'approval', l.approval));

create function link_is_over(l join_link) returns boolean language sql volatile
return l.revoked or coalesce(l.expires_at_ms <= now_ms(), false) or coalesce(l.used >= l.uses, false);


-- Make a link. The code: 122 random bits, by the database's generator that is fit for secrets.
--   Returns {"link": ...} or {"error": code}.
create function create_link(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_expires bigint := p_command ->> 'expires_at_ms';
    v_uses integer := p_command ->> 'uses';
    v_approval boolean := p_command ->> 'approval';
    v_digest uuid := md5(json_build_array('link', v_expires, v_uses, v_approval)::text)::uuid;
    v_hash uuid := key_hash(p_author, p_command ->> 'key');
    b begun;
    l join_link;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer ->> 'error' is not null then return b.answer; end if;
    if b.answer is null then
        if (select kind from conversation where id = v_conversation) = 'direct' then
            return json_build_object('error', 'wrong_kind');
        end if;
        if not may(v_conversation, p_author, 'links') then return json_build_object('error', 'forbidden'); end if;
        if v_expires <= b.at_ms then return json_build_object('error', 'over'); end if;
        if (select count(*) from join_link where conversation = v_conversation and not revoked)
            >= (p_rules ->> 'links')::integer then
            return json_build_object('error', 'too_many_links');
        end if;
        insert into join_link (code, conversation, author, key_hash, at_ms, expires_at_ms, uses, approval)
        values (translate(encode(uuid_send(gen_random_uuid()), 'base64'), '+/=', '-_'), v_conversation, p_author, v_hash,
                b.at_ms, v_expires, v_uses, v_approval);
        perform settle_action(p_author, p_command, v_digest, b.seq - 1);
    end if;
    select * into l from join_link where conversation = v_conversation and key_hash = v_hash;
    l.used := 0;                                              -- as the first answer said
    return json_build_object('link', link_json(l));
end $$;

-- The links that are not revoked, the oldest first. Returns {"links": [...]} or {"error": code}.
create function conversation_links(p_person uuid, p_conversation uuid) returns json language plpgsql stable
set enable_seqscan = off
as $$
begin
    if role_of(p_conversation, p_person) is null then return json_build_object('error', 'not_a_member'); end if;
    if not may(p_conversation, p_person, 'links') then return json_build_object('error', 'forbidden'); end if;
    return json_build_object('links', (
        select coalesce(json_agg(link_json(l) order by l.at_ms, l.code), '[]') from join_link l
        where conversation = p_conversation and not revoked));
end $$;

-- End a link for ever. Who asked by it still waits for an answer.
create function revoke_link(p_author uuid, p_command json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_digest uuid := md5(json_build_array('revoke', p_command ->> 'code')::text)::uuid;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    if not may(v_conversation, p_author, 'links') then return json_build_object('error', 'forbidden'); end if;
    update join_link set revoked = true where code = p_command ->> 'code' and conversation = v_conversation;
    if not found then return json_build_object('error', 'unknown_link'); end if;
    return settle_action(p_author, p_command, v_digest, b.seq - 1);
end $$;

-- Where a link leads. Returns {"invitation": ...} or {"error": code}.
create function preview_link(p_person uuid, p_code text) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    l join_link;
begin
    select * into l from join_link where code = p_code;
    if not found then return json_build_object('error', 'unknown_link'); end if;
    if barred(l.conversation, p_person) then return json_build_object('error', 'banned'); end if;
    if link_is_over(l) then return json_build_object('error', 'link_over'); end if;
    return json_build_object('invitation', (
        select json_strip_nulls(json_build_object(
            'conversation', v.id, 'kind', v.kind, 'title', v.title, 'topic', v.topic, 'photo', v.photo,
            'member_count', v.member_count, 'approval', l.approval,
            'joined', exists (select from span where conversation = v.id and person = p_person and until is null)))
        from conversation v where v.id = l.conversation));
end $$;

-- Join by a link, as join_room; or ask for it. All that a link's row says changes under its conversation's lock.
--   Returns {"conversation", "seq", "at_ms"}, or {"conversation"} of who asked, or {"error": code}.
create function join_by_link(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_code text := p_command ->> 'code';
    v_digest uuid := md5('link:' || v_code)::uuid;
    v_hash uuid := key_hash(p_person, p_command ->> 'key');
    v_command json;                                           -- with the conversation, as actions have it
    v_seq bigint;
    v_at bigint;
    v_stored uuid;
    v_request uuid;
    v conversation;
    l join_link;
begin
    select * into l from join_link where code = v_code;
    if not found then return json_build_object('error', 'unknown_link'); end if;
    select * into v from conversation where id = l.conversation for no key update;
    select seq, at_ms, digest into v_seq, v_at, v_stored from entry where key_hash = v_hash and conversation = v.id;
    if found then
        if v_stored <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('conversation', v.id, 'seq', v_seq, 'at_ms', v_at);
    end if;
    select digest into v_stored from settled where key_hash = v_hash and conversation = v.id;
    if found then
        if v_stored <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('conversation', v.id);
    end if;

    if exists (select from span where conversation = v.id and person = p_person and until is null) then
        return json_build_object('error', 'already_a_member', 'missing', v.id);
    end if;
    if barred(v.id, p_person) then return json_build_object('error', 'banned'); end if;
    select * into l from join_link where code = v_code;       -- as it stands under the lock
    v_command := json_build_object('conversation', v.id, 'key', p_command ->> 'key');
    v_at := now_ms();
    if l.approval and exists (select from join_request where conversation = v.id and person = p_person) then
        perform settle_action(p_person, v_command, v_digest, v.last_seq);   -- asked already
        return json_build_object('conversation', v.id);
    end if;
    if link_is_over(l) then return json_build_object('error', 'link_over'); end if;
    if l.approval then
        if (select count(*) from join_request where conversation = v.id) >= (p_rules ->> 'requests')::integer then
            return json_build_object('error', 'too_many_requests');
        end if;
        insert into join_request (conversation, person, code, at_ms) values (v.id, p_person, v_code, v_at)
            returning id into v_request;
        insert into job (kind, key, payload, due_at_ms)
        values ('request', v_request::text,
                json_build_object('conversation', v.id, 'user', p_person, 'request', v_request), v_at);
        update join_link set used = used + 1 where code = v_code;
        perform settle_action(p_person, v_command, v_digest, v.last_seq);
        return json_build_object('conversation', v.id);
    end if;
    if is_full(v, p_rules) then return json_build_object('error', 'conversation_full'); end if;
    update join_link set used = used + 1 where code = v_code;
    perform let_in(v, p_person, p_person, v_command, v_digest, v_at);
    return json_build_object('conversation', v.id, 'seq', v.last_seq + 1, 'at_ms', v_at);
end $$;

create function is_full(v conversation, p_rules json) returns boolean language sql immutable
return v.member_count >= (p_rules ->> case v.kind when 'group' then 'group_members' else 'room_members' end)::integer;

-- *p_person* joins by an entry of *p_author*'s. The conversation's row is locked, and nothing stands against it.
create function let_in(
    v conversation, p_author uuid, p_person uuid, p_command json, p_digest uuid, p_at bigint
) returns json language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform begin_span(v, p_person, v.last_seq + 1, p_at);
    update conversation set member_count = member_count + 1 where id = v.id;
    return end_action_on(p_author, p_command, p_digest, (null, v.last_seq + 1, p_at)::begun, 'member.added', p_person,
                         case when v.kind <> 'group' then json_build_object('count', v.member_count + 1) end);
end $$;

-- A page of the requests of those who may be let in, the oldest first, those after (*p_at*, *p_after*).
--   Returns {"requests": [{"user", "name", "code", "at_ms"}, ...], "more": bool, "count": of all} or {"error": code}.
create function join_requests(p_person uuid, p_conversation uuid, p_at bigint, p_after uuid, p_limit integer)
returns json language plpgsql stable
set enable_seqscan = off
as $$
begin
    if role_of(p_conversation, p_person) is null then return json_build_object('error', 'not_a_member'); end if;
    if not may(p_conversation, p_person, 'links') then return json_build_object('error', 'forbidden'); end if;
    return (
        with page as materialized (
            select * from join_request r where conversation = p_conversation and (at_ms, person) > (p_at, p_after)
                and not barred(p_conversation, r.person)
            order by at_ms, person limit p_limit + 1
        ), first as (
            select * from page order by at_ms, person limit p_limit
        )
        select json_build_object(
            'requests', (select coalesce(json_agg(json_build_object(
                             'user', f.person, 'name', a.name, 'code', f.code, 'at_ms', f.at_ms) order by f.at_ms, f.person), '[]')
                         from first f cross join lateral (select name from account where id = f.person limit 1) a),
            'more', (select count(*) from page) > p_limit,
            'count', (select count(*) from join_request r where conversation = p_conversation
                      and not exists (select from ban b where b.conversation = p_conversation and b.person = r.person
                                      and coalesce(b.until_ms, 9223372036854775807) > now_ms()))));
end $$;

-- Let in who asked, or do not.
create function answer_request(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_user uuid := p_command ->> 'user';
    v_accept boolean := p_command ->> 'accept';
    v_digest uuid := md5(json_build_array('answer', v_user, v_accept)::text)::uuid;
    v conversation;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into v from conversation where id = (p_command ->> 'conversation')::uuid;
    if not may(v.id, p_author, 'links') then return json_build_object('error', 'forbidden'); end if;
    if not exists (select from join_request where conversation = v.id and person = v_user) then
        return json_build_object('error', 'unknown_request');
    end if;
    if not v_accept then
        perform close_request(v.id, v_user, 'declined');
        return settle_action(p_author, p_command, v_digest, b.seq - 1);
    end if;
    if barred(v.id, v_user) then return json_build_object('error', 'banned'); end if;
    if is_full(v, p_rules) then return json_build_object('error', 'conversation_full'); end if;
    return let_in(v, p_author, v_user, p_command, v_digest, b.at_ms);
end $$;


-- --- Who is told of requests ---
--
-- Those who may answer are notified in the app (0011) and by push; who is declined, too. Jobs do it, made in the commit of
-- what they tell: whoever asks waits for none of it, and a kill loses none of it.

-- A request is over: *p_answer*, 'accepted' or 'declined'. Nothing where there is none. The conversation's row is locked.
create function close_request(p_conversation uuid, p_person uuid, p_answer text) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    r join_request;
begin
    delete from join_request where conversation = p_conversation and person = p_person returning * into r;
    if not found then return; end if;
    insert into job (kind, key, payload, due_at_ms)
    values ('request.over', r.id::text, json_build_object(
        'conversation', p_conversation, 'user', p_person, 'request', r.id, 'told', to_json(r.told), 'answer', p_answer,
        'declined', uuidv7()), now_ms());
end $$;

-- Jobs that push notification *p_id* to the devices of these people, p_devices of them each.
create function push_notification(p_id uuid, p_people uuid[], p_devices integer) returns void language sql volatile
set enable_seqscan = off
as $$
    with chunk as (
        select account, device, (row_number() over (order by account, device) - 1) / p_devices as nth
        from device where account = any (p_people)
    )
    insert into job (kind, key, payload, due_at_ms)
    select 'request.push', p_id || ':' || nth, json_build_object('notification', p_id, 'devices',
           json_agg(json_build_array(account, device) order by account, device)), now_ms()
    from chunk group by nth on conflict do nothing
$$;

-- Notify those who may answer a request, if it still waits. May be repeated.
--   Returns whose own rows changed.
create function tell_request(p_conversation uuid, p_person uuid, p_request uuid, p_devices integer, p_kept integer)
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
        order by m.person);
    perform from account where id = any (v_people) order by id for no key update;
    update join_request set told = add_notifications(v_people, p_request::text, json_build_object(
            'kind', 'request', 'at_ms', r.at_ms, 'conversation', v.id, 'user', p_person), p_kept)
        where conversation = p_conversation and person = p_person returning * into r;
    perform push_notification(p_request, r.told, p_devices);
    return to_json(r.told);
end $$;

-- A request was answered: whoever was told of it has nothing to do any more, and who was declined is told so.
-- *p_declined*: the id of that notification. May be repeated.
--   Returns whose own rows changed.
create function tell_answer(
    p_conversation uuid, p_person uuid, p_request uuid, p_told uuid[], p_answer text, p_declined uuid, p_devices integer,
    p_kept integer
) returns json language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from account where id = any (p_told || p_person) order by id for no key update;
    with raised as (
        update account a set number = next_number(a.number) from personal m
        where a.id = any (p_told) and m.person = a.id and m.what = 'notification' and m.subject = p_request::text
            and m.value is not null and m.value ->> 'answer' is null
        returning a.id, a.number
    )
    update personal m set number = raised.number,
            value = (m.value::jsonb || jsonb_build_object('read', true, 'answer', p_answer))::json
        from raised where m.person = raised.id and m.what = 'notification' and m.subject = p_request::text;
    if p_answer = 'declined' then
        perform push_notification(p_declined, add_notifications(array[p_person], p_declined::text, (
            select json_build_object('kind', 'declined', 'at_ms', now_ms(), 'conversation', id, 'title', title)
            from conversation where id = p_conversation), p_kept), p_devices);
        p_told := p_told || p_person;
    end if;
    return to_json(p_told);
end $$;

-- What these devices are to be told now of a notification about a request, by the rules of pushes (0011).
--   Returns [{"account", "device", "token", "platform", "wait": its socket is open, "kind", "conversation", "title", "name",
--   "badge", "hide"}, ...]; nothing of those who have read it, want quiet, or were connected for p_patience_ms since.
create function request_contents(
    p_notification uuid, p_devices json, p_patience_ms bigint, p_stale_ms bigint, p_unread integer
) returns json language sql stable
set enable_seqscan = off
as $$
    with due as materialized (
        select d.account, d.device, d.token, d.platform, m.value as said, is_connected(d.node) as wait
        from json_array_elements(p_devices) x
        join device d on d.account = (x ->> 0)::uuid and d.device = x ->> 1
        join personal m on m.person = d.account and m.what = 'notification' and m.subject = p_notification::text
        where not coalesce((m.value ->> 'read')::boolean, m.value is null)
            and (m.value ->> 'at_ms')::bigint >= now_ms() - p_stale_ms
            and wants_push(d.account, (m.value ->> 'conversation')::uuid, false)
    ), badge as materialized (
        select account, push_badge(account, p_unread) as unread from (select distinct account from due where not wait) a
    )
    select coalesce(json_agg(json_strip_nulls(json_build_object(
        'account', d.account, 'device', d.device, 'token', d.token, 'platform', d.platform, 'wait', d.wait,
        'kind', d.said -> 'kind', 'conversation', v.id, 'title', v.title, 'name', a.name, 'badge', b.unread,
        'hide', coalesce((o.value ->> 'hide_content')::boolean, false))) order by d.account, d.device), '[]')
    from due d
    join conversation v on v.id = (d.said ->> 'conversation')::uuid
    left join account a on a.id = (d.said ->> 'user')::uuid
    left join badge b on b.account = d.account
    left join personal o on o.person = d.account and o.what = 'notifying' and o.subject = ''
    where not d.wait or (d.said ->> 'at_ms')::bigint >= now_ms() - p_patience_ms
$$;
