-- Posts, with photos, reactions, comments and hashtags; and the timeline of those whom one follows.
--
-- Who sees a post is decided when it is read, and nowhere else than in sees_post: its author may be seen at all (may_see), and
-- the asker belongs to its audience now. Of comments and reactions one sees those of people whom one may see; so it is with
-- their counts.

create table post (
    id           uuid    primary key,                         -- later ones have higher ones
    author       uuid    not null references account,
    text         text    not null default '' check (length(text) <= 5000),
    photos       uuid[]  not null default '{}',               -- in their order; upload_use has them, too
    audience     text    not null check (audience in ('everyone', 'followers', 'contacts')),
    at_ms        bigint  not null default now_ms(),
    edited_at_ms bigint
);
create index post_author on post (author, audience, id desc); -- a page of one author, and of all in a timeline, goes by it

create table post_tag (
    tag  text collate "C" not null,
    post uuid not null references post,
    primary key (tag, post)
);
create index post_tag_post on post_tag (post);

create table post_reaction (
    post   uuid   not null references post,
    person uuid   not null references account,
    emoji  text   not null check (length(emoji) between 1 and 16),
    id     uuid   not null,                                   -- by which lists are ordered
    at_ms  bigint not null default now_ms(),
    primary key (post, person, emoji)
);
create index post_reaction_newest on post_reaction (post, id desc);
create index post_reaction_person on post_reaction (person);

-- Of whose reactions a post's author was told once: who takes one back and reacts again tells nothing.
create table post_reaction_told (
    post   uuid not null references post,
    person uuid not null references account,
    primary key (post, person)
);
create index post_reaction_told_person on post_reaction_told (person);

create table comment (
    id           uuid   primary key,                          -- later ones have higher ones
    post         uuid   not null references post,
    author       uuid   not null references account,
    text         text   not null check (length(text) between 1 and 2000),
    at_ms        bigint not null default now_ms(),
    edited_at_ms bigint
);
create index comment_post on comment (post, id);
create index comment_author on comment (author, id);

-- Where a medium is named, now also: by a post.
alter table upload_use add column post uuid references post;
alter table upload_use drop constraint upload_use_upload_conversation_seq_key;
alter table upload_use add unique nulls not distinct (upload, conversation, seq, post);
alter table upload_use add check (post is null or conversation is null);
create index upload_use_post on upload_use (post) where post is not null;


-- --- Who sees what ---

-- The audiences to which *p_person* belongs with *p_author*, whom the person may see.
create function audiences(p_person uuid, p_author uuid) returns text[] language sql stable
return case
    when p_person = p_author then array['everyone', 'followers', 'contacts']
    else array['everyone']
        || case when exists (select from follow where person = p_person and followed = p_author)
                then array['followers'] else '{}' end
        || case when relation(p_person, p_author) = 'contact' then array['contacts'] else '{}' end
    end;

create function sees_post(p_person uuid, p_author uuid, p_audience text) returns boolean language sql stable
return may_see(p_person, p_author) and p_audience = any (audiences(p_person, p_author));

-- Whether a post names this medium that *p_person* may see.
create function sees_in_post(p_person uuid, p_upload uuid) returns boolean language sql stable
set enable_seqscan = off
as $$
    select exists (select from upload_use n join post p on p.id = n.post
                   where n.upload = p_upload and n.post is not null and sees_post(p_person, p.author, p.audience))
$$;

-- A post as *p_person*, who sees it, is shown it. Counted among the first p_counted.
create function post_json(p_person uuid, p post, p_counted integer) returns json language sql stable
set enable_seqscan = off
as $$
    select json_strip_nulls(json_build_object(
        'id', p.id, 'author', p.author, 'at_ms', p.at_ms, 'edited_at_ms', p.edited_at_ms, 'text', nullif(p.text, ''),
        'audience', p.audience, 'photos', case when p.photos <> '{}' then to_json(p.photos) end,
        'comments', (select nullif(count(*), 0) from (select author from comment where post = p.id order by id limit p_counted) c
                     where may_see(p_person, c.author)),
        'reactions', (select json_agg(json_build_object('emoji', emoji, 'count', n, 'mine', mine) order by n desc, emoji) from (
            select emoji, count(*) as n, bool_or(person = p_person) as mine from (
                select emoji, person from post_reaction where post = p.id order by id desc limit p_counted) r
            where may_see(p_person, r.person) group by emoji) e)))
$$;

create function post_shown(p_person uuid, p_post uuid, p_counted integer) returns json language sql stable
set enable_seqscan = off
as $$
    select coalesce((select json_build_object('post', post_json(p_person, p, p_counted)) from post p
                     where id = p_post and sees_post(p_person, author, audience)),
                    json_build_object('error', 'unknown_post'))
$$;

-- Posts of these authors whom *p_person* may see, the newest first, below an id: of each author no more are looked at than a
-- page holds, however many there are.
create function posts_of(p_person uuid, p_authors uuid[], p_below uuid, p_limit integer, p_counted integer) returns json
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set jit = off
as $$
    with seen as materialized (
        select a.author, x.audience
        from unnest(p_authors) a(author) cross join lateral unnest(audiences(p_person, a.author)) x(audience)
        where may_see(p_person, a.author)
    ), page as materialized (
        select n.id, row_number() over (order by n.id desc) as nth
        from seen s cross join lateral (
            select id from post where author = s.author and audience = s.audience and id < p_below
            order by id desc limit p_limit + 1) n
        order by n.id desc limit p_limit + 1
    )
    select json_build_object(
        'posts', (select coalesce(json_agg(post_json(p_person, p, p_counted) order by g.nth), '[]')
                  from page g join post p on p.id = g.id where g.nth <= p_limit),
        'more', exists (select from page where nth > p_limit))
$$;

-- The posts of one person.
create function post_page(p_person uuid, p_user uuid, p_below uuid, p_limit integer, p_counted integer) returns json
language sql stable
return case when may_see(p_person, p_user) then posts_of(p_person, array[p_user], p_below, p_limit, p_counted)
            else json_build_object('error', 'unknown_user') end;

-- One's own posts, and those of whom one follows.
create function timeline(p_person uuid, p_below uuid, p_limit integer, p_counted integer) returns json language sql stable
set enable_seqscan = off
as $$
    select posts_of(p_person, array(select followed from follow where person = p_person) || p_person, p_below, p_limit, p_counted)
$$;

-- Posts with a hashtag. It looks at p_look at most; where it stopped the next page goes on.
--   Returns {"posts", "more", "after": the last one looked at}.
create function tagged_page(p_person uuid, p_tag text, p_below uuid, p_limit integer, p_look integer, p_counted integer)
returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off
as $$
    with looked as materialized (
        select post from post_tag where tag = p_tag and post < p_below order by post desc limit p_look
    ), page as materialized (
        select p.id, row_number() over (order by p.id desc) as nth from looked l join post p on p.id = l.post
        where sees_post(p_person, p.author, p.audience) order by p.id desc limit p_limit + 1
    ), full_ as (
        select exists (select from page where nth > p_limit) as page, (select count(*) from looked) = p_look as look
    )
    select json_strip_nulls(json_build_object(
        'posts', (select coalesce(json_agg(post_json(p_person, p, p_counted) order by g.nth), '[]')
                  from page g join post p on p.id = g.id where g.nth <= p_limit),
        'more', page or look,
        'after', case when page then (select id from page where nth = p_limit)
                      when look then (select post from looked order by post limit 1) end))
    from full_
$$;


-- --- Posts ---

-- What a post names instead of what it named before; nothing at all for its end.
--   Returns why not: 'unknown_medium', 'not_ready', 'wrong_use', and which; or null.
create function set_post_photos(p_post uuid, p_author uuid, p_photos uuid[], p_unused_ms bigint) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_old uuid[] := array(select upload from upload_use where post = p_post);
    v_one uuid;
    u upload;
begin
    perform from upload where id = any (p_photos || v_old) order by id for no key update;
    foreach v_one in array p_photos loop
        select * into u from upload where id = v_one and owner = p_author and state <> 'doomed';
        if not found then return json_build_object('error', 'unknown_medium', 'missing', v_one); end if;
        if u.state <> 'ready' then return json_build_object('error', 'not_ready'); end if;
        if u.kind <> 'photo' then return json_build_object('error', 'wrong_use'); end if;
    end loop;
    insert into upload_use (upload, post) select id, p_post from unnest(p_photos) id on conflict do nothing;
    update upload set used_at_ms = now_ms() where id = any (p_photos) and used_at_ms is null;
    foreach v_one in array v_old loop
        if v_one = any (p_photos) then continue; end if;
        delete from upload_use where upload = v_one and post = p_post;
        perform upload_detach(v_one, p_post, 1, p_unused_ms); -- names no use that there is: it looks whether one is left
    end loop;
    return null;
end $$;

create function set_post_tags(p_post uuid, p_tags text[]) returns void language sql volatile
begin atomic
    delete from post_tag where post = p_post and tag <> all (p_tags);
    insert into post_tag (tag, post) select distinct tag, p_post from unnest(p_tags) tag on conflict do nothing;
end;

-- Write a post. *p_tags*: the hashtags of its text.
--   Returns {"number", "new", "made": its id} or {"error"}.
create function create_post(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_photos uuid[] := array(select value::uuid from json_array_elements_text(p_command -> 'photos'));
    v_answer json;
begin
    v_answer := begin_personal(p_person, 'post', v_key, v_digest);
    if v_answer ->> 'error' is not null then return v_answer; end if;
    if v_answer is not null then
        return json_build_object('number', 0, 'new', false, 'made',
            (select id from made where key_hash = key_hash(p_person, 'post/' || v_key) and person = p_person));
    end if;
    if p_command ->> 'text' = '' and v_photos = '{}' then return json_build_object('error', 'empty'); end if;
    insert into post (id, author, text, photos, audience)
    values (p_id, p_person, p_command ->> 'text', v_photos, p_command ->> 'audience');
    v_answer := set_post_photos(p_id, p_person, v_photos, 0);
    if v_answer is not null then
        delete from post where id = p_id;
        return v_answer;
    end if;
    perform set_post_tags(p_id, array(select json_array_elements_text(p_rules -> 'tags')));
    perform end_personal(p_person, 'post', v_key, v_digest, 0);
    insert into made (key_hash, person, id) values (key_hash(p_person, 'post/' || v_key), p_person, p_id);
    return json_build_object('number', 0, 'new', true, 'made', p_id);
end $$;

-- Change one's own post; what the command leaves out stays.
create function edit_post(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_answer json;
    v_photos uuid[];
    v_text text;
    p post;
begin
    v_answer := begin_personal(p_person, 'post', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    select * into p from post where id = (p_command ->> 'post')::uuid and author = p_person for no key update;
    if not found then return json_build_object('error', 'unknown_post'); end if;
    v_text := coalesce(p_command ->> 'text', p.text);
    v_photos := p.photos;
    if json_typeof(p_command -> 'photos') = 'array' then
        v_photos := array(select value::uuid from json_array_elements_text(p_command -> 'photos'));
    end if;
    if v_text = '' and v_photos = '{}' then return json_build_object('error', 'empty'); end if;
    if v_photos <> p.photos then
        v_answer := set_post_photos(p.id, p_person, v_photos, (p_rules ->> 'unused_ms')::bigint);
        if v_answer is not null then return v_answer; end if;
    end if;
    update post set text = v_text, photos = v_photos, audience = coalesce(p_command ->> 'audience', audience),
        edited_at_ms = now_ms() where id = p.id;
    if p_command ->> 'text' is not null then
        perform set_post_tags(p.id, array(select json_array_elements_text(p_rules -> 'tags')));
    end if;
    return end_personal(p_person, 'post', v_key, v_digest, 0);
end $$;

-- What somebody was told of a post or a comment of it is gone with it.
create function untell_post(p_person uuid, p_post uuid, p_comment uuid) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_one text;
    v_number bigint := 0;
begin
    for v_one in select subject from personal
        where person = p_person and what = 'notification' and value ->> 'post' = p_post::text
            and (p_comment is null or value ->> 'comment' = p_comment::text) loop
        v_number := greatest(v_number, set_personal(p_person, 'notification', v_one, null));
    end loop;
    return v_number;
end $$;

-- A post goes, with all that hangs on it; its author's account is locked. Its photos are orphans, for p_unused_ms.
create function drop_post(p_post uuid, p_author uuid, p_unused_ms bigint) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from post where id = p_post for update;           -- whoever comments or reacts has done, or finds nothing
    perform set_post_photos(p_post, p_author, '{}', p_unused_ms);
    delete from post_tag where post = p_post;
    delete from post_reaction where post = p_post;
    delete from post_reaction_told where post = p_post;
    delete from comment where post = p_post;
    delete from post where id = p_post;
    return untell_post(p_author, p_post, null);
end $$;

create function delete_post(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_post uuid := p_command ->> 'post';
    v_number bigint;
    v_answer json;
begin
    v_answer := begin_personal(p_person, 'post', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    if not exists (select from post where id = v_post and author = p_person) then
        return json_build_object('error', 'unknown_post');
    end if;
    v_number := drop_post(v_post, p_person, (p_rules ->> 'unused_ms')::bigint);
    perform end_personal(p_person, 'post', v_key, v_digest, v_number);
    return json_build_object('number', v_number, 'new', true, 'changed', json_build_array(p_person));
end $$;

-- Lock the asker's account and that of a post's author, in id order: whoever may tell the author something begins with it.
create function lock_for_post(p_person uuid, p_post uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from account where id in (p_person, (select author from post where id = p_post)) order by id for no key update;
end $$;

-- Set or take back one's reaction. The author is told once of each who reacts.
create function react_post(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_post uuid := p_command ->> 'post';
    v_emoji text := p_command ->> 'emoji';
    v_told boolean := false;
    v_answer json;
    p post;
begin
    perform lock_for_post(p_person, v_post);
    v_answer := begin_personal(p_person, 'post', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    perform from post where id = v_post for key share;
    select * into p from post where id = v_post;
    if not found or not sees_post(p_person, p.author, p.audience) then return json_build_object('error', 'unknown_post'); end if;
    if not (p_command ->> 'on')::boolean then
        delete from post_reaction where post = v_post and person = p_person and emoji = v_emoji;
        return end_personal(p_person, 'post', v_key, v_digest, 0);
    end if;
    if not exists (select from post_reaction where post = v_post and person = p_person and emoji = v_emoji) then
        if (select count(*) from post_reaction where post = v_post and person = p_person) >= (p_rules ->> 'reactions_of_one')::integer
           or (select count(distinct emoji) from post_reaction where post = v_post and emoji <> v_emoji)
              >= (p_rules ->> 'reactions')::integer then
            return json_build_object('error', 'too_many_reactions');
        end if;
        insert into post_reaction (post, person, emoji, id) values (v_post, p_person, v_emoji, p_id);
        if p.author <> p_person then
            insert into post_reaction_told (post, person) values (v_post, p_person) on conflict do nothing;
            if found then
                v_told := tell_person(p.author, p_person, p_id, json_build_object(
                    'kind', 'post_reaction', 'at_ms', now_ms(), 'user', p_person, 'post', v_post, 'emoji', v_emoji));
            end if;
        end if;
    end if;
    perform end_personal(p_person, 'post', v_key, v_digest, 0);
    return json_build_object('number', 0, 'new', true, 'jobs', v_told,
                             'changed', case when v_told then json_build_array(p.author) else '[]'::json end);
end $$;

-- Who reacted to a post, as far as *p_person* may see them, the newest first, below an id; with p_emoji or at all.
create function post_reaction_page(p_person uuid, p_post uuid, p_emoji text, p_below uuid, p_limit integer) returns json
language plpgsql stable
set enable_seqscan = off
as $$
begin
    if not exists (select from post where id = p_post and sees_post(p_person, author, audience)) then
        return json_build_object('error', 'unknown_post');
    end if;
    return (
        with page as materialized (
            select r.*, row_number() over (order by r.id desc) as nth from (
                select * from post_reaction
                where post = p_post and id < p_below and (p_emoji is null or emoji = p_emoji) and may_see(p_person, person)
                order by id desc limit p_limit + 1) r
        )
        select json_build_object(
            'reactions', (select coalesce(json_agg(json_build_object('id', id, 'user', person, 'emoji', emoji, 'at_ms', at_ms)
                                                   order by nth), '[]') from page where nth <= p_limit),
            'more', exists (select from page where nth > p_limit)));
end $$;


-- --- Comments ---

create function create_comment(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_post uuid := p_command ->> 'post';
    v_told boolean := false;
    v_answer json;
    v_at bigint;
    p post;
begin
    perform lock_for_post(p_person, v_post);
    v_answer := begin_personal(p_person, 'comment', v_key, v_digest);
    if v_answer ->> 'error' is not null then return v_answer; end if;
    if v_answer is not null then
        return json_build_object('number', 0, 'new', false, 'made',
            (select id from made where key_hash = key_hash(p_person, 'comment/' || v_key) and person = p_person));
    end if;
    perform from post where id = v_post for key share;
    select * into p from post where id = v_post;
    if not found or not sees_post(p_person, p.author, p.audience) then return json_build_object('error', 'unknown_post'); end if;
    v_at := now_ms();
    insert into comment (id, post, author, text, at_ms) values (p_id, v_post, p_person, p_command ->> 'text', v_at);
    if p.author <> p_person then
        v_told := tell_person(p.author, p_person, p_id, json_build_object(
            'kind', 'comment', 'at_ms', v_at, 'user', p_person, 'post', v_post, 'comment', p_id));
    end if;
    perform end_personal(p_person, 'comment', v_key, v_digest, 0);
    insert into made (key_hash, person, id) values (key_hash(p_person, 'comment/' || v_key), p_person, p_id);
    return json_build_object('number', 0, 'new', true, 'made', p_id, 'jobs', v_told,
                             'changed', case when v_told then json_build_array(p.author) else '[]'::json end);
end $$;

-- Change one's own comment, on a post that one still sees.
create function edit_comment(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_comment uuid := p_command ->> 'comment';
    v_answer json;
begin
    v_answer := begin_personal(p_person, 'comment', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    update comment c set text = p_command ->> 'text', edited_at_ms = now_ms()
        from post p where c.id = v_comment and c.author = p_person and p.id = c.post and sees_post(p_person, p.author, p.audience);
    if not found then return json_build_object('error', 'unknown_comment'); end if;
    return end_personal(p_person, 'comment', v_key, v_digest, 0);
end $$;

-- Delete one's own comment, or any on one's own post that one sees.
create function delete_comment(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_comment uuid := p_command ->> 'comment';
    v_number bigint;
    v_answer json;
    c comment;
    p post;
begin
    perform lock_for_post(p_person, (select post from comment where id = v_comment));
    v_answer := begin_personal(p_person, 'comment', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    select * into c from comment where id = v_comment for update;
    select * into p from post where id = c.post;
    if p.id is null or c.author <> p_person and (p.author <> p_person or not may_see(p_person, c.author)) then
        return json_build_object('error', 'unknown_comment');
    end if;
    delete from comment where id = v_comment;
    v_number := untell_post(p.author, p.id, v_comment);
    v_number := case when p.author = p_person then v_number else 0 end;
    perform end_personal(p_person, 'comment', v_key, v_digest, v_number);
    return json_build_object('number', v_number, 'new', true, 'changed', json_build_array(p.author));
end $$;

-- The comments on a post, as far as *p_person* may see who wrote them, the oldest first, above an id.
create function comment_page(p_person uuid, p_post uuid, p_above uuid, p_limit integer) returns json language plpgsql stable
set enable_seqscan = off
as $$
begin
    if not exists (select from post where id = p_post and sees_post(p_person, author, audience)) then
        return json_build_object('error', 'unknown_post');
    end if;
    return (
        with page as materialized (
            select c.*, row_number() over (order by c.id) as nth from (
                select * from comment where post = p_post and id > p_above and may_see(p_person, author)
                order by id limit p_limit + 1) c
        )
        select json_build_object(
            'comments', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                'id', id, 'author', author, 'text', text, 'at_ms', at_ms, 'edited_at_ms', edited_at_ms)) order by nth), '[]')
                from page where nth <= p_limit),
            'more', exists (select from page where nth > p_limit)));
end $$;


-- --- Reports, and leaving ---

-- A post or a comment as evidence (0018), for somebody who sees it.
create or replace function post_evidence(p_person uuid, p_what json) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    c comment;
    p post;
begin
    if p_what ->> 'comment' is not null then
        select * into c from comment where id = (p_what ->> 'comment')::uuid and may_see(p_person, author);
        if not found then return json_build_object('error', 'not_found'); end if;
    end if;
    select * into p from post where id = coalesce(c.post, (p_what ->> 'post')::uuid);
    if not found or not sees_post(p_person, p.author, p.audience) then
        return json_build_object('error', 'not_found');
    end if;
    return json_build_object(
        'about', coalesce(c.author, p.author), 'evidence', json_build_object('shown', json_strip_nulls(json_build_object(
            'text', coalesce(c.text, p.text), 'at_ms', coalesce(c.at_ms, p.at_ms), 'post', p.id, 'comment', c.id,
            'photos', case when c.id is null and p.photos <> '{}' then to_json(p.photos) end))),
        'media', case when c.id is null then to_json(p.photos) else '[]'::json end);
end $$;

-- Somebody's posts go with all that hangs on them, and so do the person's comments and reactions anywhere, and what others
-- were told of these. It locks all accounts concerned, in id order: call it before another account is locked.
create function erase_posts(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_one uuid;
    c comment;
begin
    perform from account where id = p_person or id = any (array(
        select p.author from comment m join post p on p.id = m.post where m.author = p_person
        union select p.author from post_reaction_told t join post p on p.id = t.post where t.person = p_person))
        order by id for no key update;
    for v_one in select id from post where author = p_person order by id loop
        perform drop_post(v_one, p_person, 0);
    end loop;
    for c in select * from comment where author = p_person order by id loop
        perform untell_post((select author from post where id = c.post), c.post, c.id);
        delete from comment where id = c.id;
    end loop;
    for v_one in select post from post_reaction_told where person = p_person loop
        perform set_personal(person, 'notification', subject, null) from personal
        where person = (select author from post where id = v_one) and what = 'notification'
            and value ->> 'post' = v_one::text and value ->> 'kind' = 'post_reaction' and value ->> 'user' = p_person::text;
    end loop;
    delete from post_reaction where person = p_person;
    delete from post_reaction_told where person = p_person;
    delete from made where person = p_person;
end $$;

-- Somebody's posts, comments and reactions.
create function export_posts(p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'posts', (select coalesce(json_agg(json_build_object(
                'id', id, 'text', text, 'photos', to_json(photos), 'audience', audience, 'at_ms', at_ms,
                'edited_at_ms', edited_at_ms) order by id), '[]') from post where author = p_person),
        'comments', (select coalesce(json_agg(json_build_object(
                'id', id, 'post', post, 'text', text, 'at_ms', at_ms, 'edited_at_ms', edited_at_ms) order by id), '[]')
            from comment where author = p_person),
        'reactions', (select coalesce(json_agg(json_build_object(
                'post', post, 'emoji', emoji, 'at_ms', at_ms) order by id), '[]') from post_reaction where person = p_person))
$$;
