-- Profiles: who somebody is, and what of it whom is shown.
--
-- One row a person, made by the first `profile.update`; who has none is shown by name alone. What of it everyone may see
-- stands once more in columns of its own (words, tags, open_*): searches and filters go by these and by nothing else, for
-- what a filter goes by is told by its results.
create table profile (
    person        uuid     primary key references account,
    handle        text     unique check (handle ~ '^[a-z0-9_.]{3,30}$'),
    first_name    text,
    last_name     text,
    bio           text,
    birthday      date,                                       -- others are shown the age
    gender        text,
    city          text,
    latitude      double precision check (latitude between -90 and 90),       -- both exact, for oneself: nobody else is
    longitude     double precision check (longitude between -180 and 180),    -- ever answered by them
    cell_lat      integer,                                    -- the cell of the grid that they are in: snap_cell
    cell_lon      integer,
    interests     text[]   not null default '{}',
    skills        text[]   not null default '{}',
    goals         text[]   not null default '{}',
    languages     text[]   not null default '{}',             -- ISO 639 codes
    experience    json     not null default '[]',             -- [{"title", "organisation", "from_year", "to_year", "text"}, ...]
    links         json     not null default '[]',             -- ["https://...", ...]
    prompts       json     not null default '[]',             -- [{"question", "answer"}, ...]
    visibility    json     not null default '{}',             -- field -> 'everyone', 'contacts', 'nobody', where it was set
    percent       smallint not null default 0 check (percent between 0 and 100),
    complete      boolean  not null default false,            -- enough of it is there to be shown in the feed
    words         tsvector not null default '',               -- of what everyone may see; found by their beginnings
    tags          text[]   not null default '{}',             -- interests and skills that everyone may see, in lower case
    open_birthday date,                                       -- these four: if everyone may see the birthday (as an age),
    open_languages text[]  not null default '{}',             -- the languages, the distance
    open_cell_lat integer,
    open_cell_lon integer,
    updated_at_ms bigint   not null default now_ms(),
    check ((latitude is null) = (longitude is null)),
    check ((cell_lat is null) = (cell_lon is null)),
    check ((open_cell_lat is null) = (open_cell_lon is null))
);

create table profile_photo (
    person uuid     not null references account,
    place  smallint not null check (place between 1 and 9),   -- 1: the main one
    upload uuid     not null unique references upload,
    primary key (person, place)
);

-- The parts of a profile: what each counts for in percent, whether it has to be there to be shown in the feed, and who sees
-- it as long as the person has not said. No audience: everyone sees it, as they see the account's name. Of the birthday
-- others are shown the age, of the whereabouts the distance.
create function profile_parts() returns table (field text, weight integer, needed boolean, audience text)
language sql immutable parallel safe rows 16
as $$
    values ('first_name', 10, true,  null),
           ('handle',      5, false, null),
           ('last_name',   5, false, 'contacts'),
           ('photos',     20, true,  'everyone'),
           ('bio',        15, false, 'everyone'),
           ('birthday',   10, true,  'everyone'),
           ('gender',      5, false, 'everyone'),
           ('city',        5, false, 'everyone'),
           ('distance',    0, false, 'everyone'),
           ('interests',   5, false, 'everyone'),
           ('skills',      5, false, 'everyone'),
           ('goals',       3, false, 'everyone'),
           ('languages',   2, false, 'everyone'),
           ('experience',  3, false, 'everyone'),
           ('links',       2, false, 'everyone'),
           ('prompts',     5, false, 'everyone')
$$;

-- Who sees what: all parts that one may set, with what was set or else holds.
create function visibility_of(p_visibility json) returns jsonb language sql immutable parallel safe
return (select jsonb_object_agg(field, audience) from profile_parts() where audience is not null) || p_visibility::jsonb;

-- Whether a part for *p_audience* is shown to who is *p_relation* (relation()) to its owner.
create function shown_to(p_audience text, p_relation text) returns boolean language sql immutable parallel safe
return p_relation = 'self' or p_audience = 'everyone' or p_audience = 'contacts' and p_relation = 'contact';

-- How old somebody is in whole years, today by the database's clock (UTC).
create function age_on(p_birthday date) returns integer language sql stable
return extract(year from age((now() at time zone 'utc')::date, p_birthday))::integer;


-- The grid: rows of 0.045 degrees (5 km) from the south pole on, each in as many columns as make them 5 km wide as well.
-- Where somebody is shows in nothing but the cell, so that whoever asks from a thousand places learns the cell and no more.
create function cell_columns(p_lat integer) returns integer language sql immutable parallel safe
return greatest(1, floor(8000 * cos(radians((p_lat + 0.5) * 0.045 - 90)))::integer);

create function snap_cell(p_latitude double precision, p_longitude double precision, out cell_lat integer, out cell_lon integer)
language plpgsql immutable parallel safe strict as $$
begin
    cell_lat := least(3999, floor((p_latitude + 90) / 0.045));
    cell_lon := floor((p_longitude + 180) / 360 * cell_columns(cell_lat))::integer % cell_columns(cell_lat);
end $$;

-- The bands that a distance is rounded up to, in km.
create function distance_bands() returns integer[] language sql immutable parallel safe
return array[5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000, 3000, 5000, 10000, 20100];

-- The distance in km between the centres of two cells; none of them is null. One expression, so that it becomes part of the
-- query that asks it of thousands.
create function cells_apart(p_lat integer, p_lon integer, p_other_lat integer, p_other_lon integer) returns double precision
language sql immutable parallel safe
return 12742 * asin(least(1, sqrt(
    sin(radians((p_lat - p_other_lat) * 0.045) / 2) ^ 2
    + cos(radians((p_lat + 0.5) * 0.045 - 90)) * cos(radians((p_other_lat + 0.5) * 0.045 - 90))
      * sin(radians((p_lon + 0.5) * 360 / cell_columns(p_lat) - (p_other_lon + 0.5) * 360 / cell_columns(p_other_lat)) / 2) ^ 2)));

-- The same, rounded up to a band; null where one is null.
create function cells_km(p_lat integer, p_lon integer, p_other_lat integer, p_other_lon integer) returns integer
language plpgsql immutable parallel safe strict as $$
begin
    return (select min(band) from unnest(distance_bands()) band
            where band >= cells_apart(p_lat, p_lon, p_other_lat, p_other_lon) - 0.5);   -- as far as a cell may be off its 5 km
end $$;

-- How far away somebody is, in km, as a band; null where one of the two has said nothing, or does not show it to the other.
create function distance_km(p_asker uuid, p_person uuid) returns integer language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_relation text := relation(p_asker, p_person);
begin
    if v_relation = 'self' or not may_see(p_asker, p_person) then return null; end if;
    return (select cells_km(a.cell_lat, a.cell_lon, b.cell_lat, b.cell_lon) from profile a, profile b
            where a.person = p_asker and shown_to(visibility_of(a.visibility) ->> 'distance', v_relation)
                and b.person = p_person and shown_to(visibility_of(b.visibility) ->> 'distance', v_relation));
end $$;


-- A person's photos in their order, the main one first: [{"id", "sha256": hex, "content_type"}, ...].
create function profile_photos(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('id', u.id, 'sha256', encode(u.sha256, 'hex'),
                                                   'content_type', u.content_type) order by o.place), '[]')
        from profile_photo o join upload u on u.id = o.upload where o.person = p_person);

-- What *p_asker* sees of *p_person*, by may_see, relation and the person's own visibility: the one place that decides it, and
-- whoever shows a profile calls it. Null: nothing, whether there is nobody or nobody that *p_asker* may see.
--   Returns {"user", "name", "handle", "first_name", "last_name", "bio", "age", "gender", "city", "distance_km", "interests",
--   "skills", "goals", "languages", "experience", "links", "prompts", "photos": profile_photos}, without what is not shown.
create function profile_shown(p_asker uuid, p_person uuid) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_relation text;
    v_name text;
    v_profile profile;
    v_shown text[];
begin
    if not may_see(p_asker, p_person) then return null; end if;
    select name into v_name from account where id = p_person;
    if not found then return null; end if;
    select * into v_profile from profile where person = p_person;
    if not found then return json_build_object('user', p_person, 'name', v_name); end if;
    v_relation := relation(p_asker, p_person);
    select array_agg(key) into v_shown from jsonb_each_text(visibility_of(v_profile.visibility)) part
        where shown_to(part.value, v_relation);
    return json_strip_nulls(json_build_object(
        'user', p_person, 'name', v_name, 'handle', v_profile.handle, 'first_name', v_profile.first_name,
        'last_name', case when 'last_name' = any (v_shown) then v_profile.last_name end,
        'bio', case when 'bio' = any (v_shown) then v_profile.bio end,
        'age', case when 'birthday' = any (v_shown) then age_on(v_profile.birthday) end,
        'gender', case when 'gender' = any (v_shown) then v_profile.gender end,
        'city', case when 'city' = any (v_shown) then v_profile.city end,
        'distance_km', case when 'distance' = any (v_shown) then distance_km(p_asker, p_person) end,
        'interests', case when 'interests' = any (v_shown) then v_profile.interests end,
        'skills', case when 'skills' = any (v_shown) then v_profile.skills end,
        'goals', case when 'goals' = any (v_shown) then v_profile.goals end,
        'languages', case when 'languages' = any (v_shown) then v_profile.languages end,
        'experience', case when 'experience' = any (v_shown) then v_profile.experience end,
        'links', case when 'links' = any (v_shown) then v_profile.links end,
        'prompts', case when 'prompts' = any (v_shown) then v_profile.prompts end,
        'photos', case when 'photos' = any (v_shown) then profile_photos(p_person) end));
end $$;


-- The parts that a profile has.
create function profile_has(p_profile profile) returns text[] language sql stable
set enable_seqscan = off
return array(
    select field from (values
        ('first_name', p_profile.first_name is not null),
        ('handle', p_profile.handle is not null),
        ('last_name', p_profile.last_name is not null),
        ('photos', exists (select from profile_photo where person = p_profile.person)),
        ('bio', p_profile.bio is not null),
        ('birthday', p_profile.birthday is not null),
        ('gender', p_profile.gender is not null),
        ('city', p_profile.city is not null),
        ('distance', p_profile.latitude is not null),
        ('interests', cardinality(p_profile.interests) > 0),
        ('skills', cardinality(p_profile.skills) > 0),
        ('goals', cardinality(p_profile.goals) > 0),
        ('languages', cardinality(p_profile.languages) > 0),
        ('experience', json_array_length(p_profile.experience) > 0),
        ('links', json_array_length(p_profile.links) > 0),
        ('prompts', json_array_length(p_profile.prompts) > 0)) part (field, there) where there);

-- Make anew what follows from a profile's own columns and photos, after each change of these: the cell, the percentage, and
-- what everyone may see of it in searches and filters. Nobody else is found by what not everyone sees.
create function refresh_profile(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_profile profile;
    v_has text[];
    v_open text[];
    v_cell record;
begin
    select * into v_profile from profile where person = p_person for no key update;
    v_has := profile_has(v_profile);
    v_open := array(select key from jsonb_each_text(visibility_of(v_profile.visibility)) where value = 'everyone');
    select * into v_cell from snap_cell(v_profile.latitude, v_profile.longitude);
    update profile p set
        cell_lat = v_cell.cell_lat,
        cell_lon = v_cell.cell_lon,
        open_cell_lat = case when 'distance' = any (v_open) then v_cell.cell_lat end,
        open_cell_lon = case when 'distance' = any (v_open) then v_cell.cell_lon end,
        open_birthday = case when 'birthday' = any (v_open) then p.birthday end,
        open_languages = case when 'languages' = any (v_open) then p.languages else '{}' end,
        percent = (select coalesce(sum(weight), 0) from profile_parts() where field = any (v_has)),
        complete = (select bool_and(field = any (v_has)) from profile_parts() where needed),
        tags = tags_of(case when 'interests' = any (v_open) then p.interests else '{}' end
                       || case when 'skills' = any (v_open) then p.skills else '{}' end),
        -- A word of more than 64 letters is found by these; the database takes none of more than 2 KB.
        words = array_to_tsvector(array(select distinct left(w, 64) from unnest(words_of(concat_ws(' ',
            p.handle, p.first_name,
            case when 'last_name' = any (v_open) then p.last_name end,
            case when 'bio' = any (v_open) then p.bio end,
            case when 'gender' = any (v_open) then p.gender end,
            case when 'city' = any (v_open) then p.city end,
            case when 'interests' = any (v_open) then array_to_string(p.interests, ' ') end,
            case when 'skills' = any (v_open) then array_to_string(p.skills, ' ') end,
            case when 'goals' = any (v_open) then array_to_string(p.goals, ' ') end,
            case when 'experience' = any (v_open) then (
                select string_agg(concat_ws(' ', e ->> 'title', e ->> 'organisation', e ->> 'text'), ' ')
                from json_array_elements(p.experience) e) end,
            case when 'prompts' = any (v_open) then (
                select string_agg(concat_ws(' ', e ->> 'question', e ->> 'answer'), ' ')
                from json_array_elements(p.prompts) e) end))) w))
    where person = p_person;
end $$;

-- The person's own view of it all, which is also the person's row of kind `profile`, on all devices.
create function own_profile(p_person uuid) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_profile profile;
    v_has text[];
begin
    select * into v_profile from profile where person = p_person;
    v_has := coalesce(profile_has(v_profile), '{}');
    return jsonb_strip_nulls(jsonb_build_object(
        'handle', v_profile.handle, 'first_name', v_profile.first_name, 'last_name', v_profile.last_name,
        'bio', v_profile.bio, 'birthday', v_profile.birthday, 'gender', v_profile.gender, 'city', v_profile.city,
        'latitude', v_profile.latitude, 'longitude', v_profile.longitude,
        'interests', coalesce(v_profile.interests, '{}'), 'skills', coalesce(v_profile.skills, '{}'),
        'goals', coalesce(v_profile.goals, '{}'), 'languages', coalesce(v_profile.languages, '{}'),
        'experience', coalesce(v_profile.experience, '[]'), 'links', coalesce(v_profile.links, '[]'),
        'prompts', coalesce(v_profile.prompts, '[]'),
        'photos', (select coalesce(json_agg(upload order by place), '[]') from profile_photo where person = p_person),
        'visibility', visibility_of(coalesce(v_profile.visibility, '{}')),
        'percent', coalesce(v_profile.percent, 0), 'complete', coalesce(v_profile.complete, false),
        'missing', (select coalesce(json_agg(field order by needed desc, weight desc, field), '[]') from profile_parts()
                    where weight > 0 and field <> all (v_has))))::json;
end $$;

-- The profile of who is named by id or by handle, as *p_asker* may see it; by neither: the asker's own.
--   Returns {"profile": profile_shown, "own": own_profile, of oneself}; null: there is nobody that the asker may see.
create function find_profile(p_asker uuid, p_person uuid, p_handle text) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_person uuid := case when p_handle is null then coalesce(p_person, p_asker)
                     else (select person from profile where handle = p_handle) end;
    v_shown json := profile_shown(p_asker, v_person);
begin
    if v_shown is null then return null; end if;
    return json_strip_nulls(json_build_object(
        'profile', v_shown, 'own', case when v_person = p_asker then own_profile(p_asker) end));
end $$;


-- Change one's profile: what the command names and nothing else; null clears it. All of it or nothing.
--   p_rules {"minimum_age": years, "reserved": [handles that nobody gets], "unused_ms": how long a photo is kept without use}
--   Returns {"number", "new", "found": find_profile} or {"error": code, "missing": medium}.
create function update_profile(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_given jsonb := p_command;
    v_answer json;
    v_handle text := p_command ->> 'handle';
    v_birthday date := p_command ->> 'birthday';
    v_place jsonb := nullif(v_given -> 'location', 'null');
    v_old uuid[] := '{}';
    v_new uuid[] := '{}';
    v_photo uuid;
    v_upload upload;
begin
    v_answer := begin_personal(p_person, 'profile', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then
        if v_answer ->> 'error' is not null then return v_answer; end if;
        return v_answer::jsonb || jsonb_build_object('found', find_profile(p_person, null, null));
    end if;

    if v_birthday > (now() at time zone 'utc')::date then return json_build_object('error', 'birthday_ahead'); end if;
    if age_on(v_birthday) < (p_rules ->> 'minimum_age')::integer then return json_build_object('error', 'too_young'); end if;
    if (p_rules -> 'reserved')::jsonb ? v_handle
       or exists (select from profile where handle = v_handle and person <> p_person) then
        return json_build_object('error', 'handle_taken');
    end if;
    if v_given ? 'photos' then
        select array_agg(value::uuid order by nth) into v_new
            from jsonb_array_elements_text(coalesce(nullif(v_given -> 'photos', 'null'), '[]')) with ordinality x(value, nth);
        v_new := coalesce(v_new, '{}');
        v_old := array(select upload from profile_photo where person = p_person);
        -- The sweep of media passes over rows that are locked, and what it has doomed it never gives back.
        perform from upload where id = any (v_new || v_old) order by id for no key update;
        foreach v_photo in array v_new loop
            select * into v_upload from upload where id = v_photo and owner = p_person and state <> 'doomed';
            if not found then return json_build_object('error', 'unknown_medium', 'missing', v_photo); end if;
            if v_upload.state <> 'ready' then return json_build_object('error', 'not_ready'); end if;
            if v_upload.kind <> 'profile_photo' then return json_build_object('error', 'wrong_use'); end if;
        end loop;
    end if;

    begin
        insert into profile (person) values (p_person) on conflict do nothing;
        update profile set
            handle = case when v_given ? 'handle' then v_handle else handle end,
            first_name = case when v_given ? 'first_name' then p_command ->> 'first_name' else first_name end,
            last_name = case when v_given ? 'last_name' then p_command ->> 'last_name' else last_name end,
            bio = case when v_given ? 'bio' then p_command ->> 'bio' else bio end,
            birthday = case when v_given ? 'birthday' then v_birthday else birthday end,
            gender = case when v_given ? 'gender' then p_command ->> 'gender' else gender end,
            city = case when v_given ? 'location' then v_place ->> 'city' else city end,
            latitude = case when v_given ? 'location' then (v_place ->> 'latitude')::double precision else latitude end,
            longitude = case when v_given ? 'location' then (v_place ->> 'longitude')::double precision else longitude end,
            interests = case when v_given ? 'interests' then texts_of(v_given -> 'interests') else interests end,
            skills = case when v_given ? 'skills' then texts_of(v_given -> 'skills') else skills end,
            goals = case when v_given ? 'goals' then texts_of(v_given -> 'goals') else goals end,
            languages = case when v_given ? 'languages' then texts_of(v_given -> 'languages') else languages end,
            experience = case when v_given ? 'experience' then coalesce(nullif(v_given -> 'experience', 'null'), '[]')::json
                         else experience end,
            links = case when v_given ? 'links' then coalesce(nullif(v_given -> 'links', 'null'), '[]')::json else links end,
            prompts = case when v_given ? 'prompts' then coalesce(nullif(v_given -> 'prompts', 'null'), '[]')::json
                      else prompts end,
            visibility = case when v_given -> 'visibility' = 'null' then '{}'
                         when v_given ? 'visibility' then (visibility::jsonb || (v_given -> 'visibility'))::json
                         else visibility end,
            updated_at_ms = now_ms()
        where person = p_person;
    exception when unique_violation then                      -- somebody else was faster; nothing was changed yet
        return json_build_object('error', 'handle_taken');
    end;

    if v_given ? 'photos' then
        delete from profile_photo where person = p_person;
        insert into profile_photo (person, place, upload)
            select p_person, nth, photo from unnest(v_new) with ordinality x(photo, nth);
        for v_photo in select photo from unnest(v_new || v_old) photo group by 1 order by 1 loop
            if v_photo <> all (v_new) then
                perform upload_detach(v_photo, null, null, (p_rules ->> 'unused_ms')::bigint);
            elsif v_photo <> all (v_old) then
                assert upload_attach(v_photo, p_person, null, null) = 'ok';
            end if;
        end loop;
    end if;

    perform refresh_profile(p_person);
    update account a set name = o.name from (
        select left(concat_ws(' ', btrim(first_name), case when visibility_of(visibility) ->> 'last_name' = 'everyone'
                                                      then btrim(last_name) end), 100) as name
        from profile where person = p_person and first_name is not null) o
    where a.id = p_person and a.name <> o.name;
    v_answer := end_personal(p_person, 'profile', p_command ->> 'key', personal_digest(p_command),
                             set_personal(p_person, 'profile', '', own_profile(p_person)));
    return v_answer::jsonb || jsonb_build_object('found', find_profile(p_person, null, null));
end $$;

create function texts_of(p_texts jsonb) returns text[] language sql immutable parallel safe
return case when jsonb_typeof(p_texts) = 'array'
       then array(select value from jsonb_array_elements_text(p_texts) with ordinality order by ordinality) else '{}' end;


-- Somebody leaves for good: nothing of the profile stays, and its photos are nobody's (the sweep of media takes them).
create function erase_profile(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_photo uuid;
begin
    perform from account where id = p_person for no key update;
    for v_photo in select upload from profile_photo where person = p_person order by upload loop
        delete from profile_photo where upload = v_photo;
        perform upload_detach(v_photo, null, null, 0);
    end loop;
    delete from profile where person = p_person;
    perform set_personal(p_person, 'profile', '', null);
end $$;

-- All that these tables hold of somebody; null: nothing.
create function export_profile(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select to_jsonb(p) - 'words' || jsonb_build_object('photos', profile_photos(p_person)) from profile p
        where person = p_person)::json;
