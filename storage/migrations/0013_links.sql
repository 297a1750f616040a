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
    delete from room_online where node = p_node
        and conversation = any (array(select c from json_to_recordset(p_counts) as x(c uuid, n integer) where n = 0));
    insert into room_online (conversation, node, people)
    select c, p_node, n from json_to_recordset(p_counts) as x(c uuid, n integer)
    where n > 0 and exists (select from listed where conversation = c) and exists (select from node where id = p_node)
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
