-- The feed: profiles to meet; and profiles that are looked for. Both look at what everyone may see of a profile and at
-- nothing else, for what a filter or an order goes by is told by its results; and whoever is found is shown by profile_shown.

-- Each profile has a place on a circle, drawn at random when it is made and for ever the same. A feed walks the circle from
-- a start of its own, so that it is stable while others come, change and go; nothing can be told from who follows whom.
alter table profile
    add column place          bigint  not null default (random() * 4611686018427387903)::bigint,
    add column findable       boolean not null default false,  -- its account is active
    add column met            boolean not null default false,  -- and it is complete: it is in feeds
    add column open_gender    text,                            -- these: in lower case, if everyone may see them
    add column open_interests text[]  not null default '{}',
    add column open_skills    text[]  not null default '{}',
    add column open_turn      real,                            -- with open_cell_lat: where on its circle, 0 to 1
    add column name_words     tsvector not null default '';    -- of handle and names that everyone may see

create function open_profile() returns trigger language plpgsql
set enable_seqscan = off
as $$
declare
    v_visible jsonb := visibility_of(new.visibility);
begin
    new.findable := coalesce((select standing = 'active' from account where id = new.person), false);
    new.met := new.findable and new.complete;
    new.open_gender := case when v_visible ->> 'gender' = 'everyone' then lower(new.gender collate pg_c_utf8) end;
    new.open_interests := case when v_visible ->> 'interests' = 'everyone' then tags_of(new.interests) else '{}' end;
    new.open_skills := case when v_visible ->> 'skills' = 'everyone' then tags_of(new.skills) else '{}' end;
    new.open_turn := (new.open_cell_lon + 0.5) / cell_columns(new.open_cell_lat);
    new.name_words := array_to_tsvector(array(select distinct left(w, 64) from unnest(words_of(concat_ws(
        ' ', new.handle, new.first_name, case when v_visible ->> 'last_name' = 'everyone' then new.last_name end))) w));
    return new;
end $$;
create trigger profile_opened before insert or update on profile for each row execute function open_profile();

-- How an account stands decides whether its profile is found.
create function account_stands() returns trigger language plpgsql
set enable_seqscan = off
as $$
begin
    update profile set updated_at_ms = updated_at_ms where person = new.id;   -- open_profile looks again
    return null;
end $$;
create trigger account_stood after update of standing on account for each row when (old.standing <> new.standing)
    execute function account_stands();

update profile set updated_at_ms = updated_at_ms;

create index profile_met on profile (place) where met;
create index profile_findable on profile (place) where findable;
create index profile_interests on profile using gin (open_interests) where findable;
create index profile_skills on profile using gin (open_skills) where findable;
create index profile_words on profile using gin (words) where findable;
create index profile_names on profile using gin (name_words) where findable;
create index profile_cells on profile (open_cell_lat, open_turn) where findable;


-- Whom somebody asks for. Null, or empty: whoever it is.
create type profile_filter as (
    born_from date, born_to date,                             -- both included
    cell_lat integer, cell_lon integer,                       -- at most so far from there: what cells_km says is at most
    km integer, reach double precision,                       -- so much, and so what cells_apart says
    interests text[], skills text[], languages text[], genders text[],   -- one of them at least; in lower case
    online boolean,
    impossible boolean                                        -- nobody fits: the asker hides where he is himself
);

create function filter_of(p_asker uuid, p_filters json) returns profile_filter language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_today date := (now() at time zone 'utc')::date;
    v_from integer := p_filters ->> 'age_from';
    v_to integer := p_filters ->> 'age_to';
    f profile_filter;
begin
    f.born_to := v_today - make_interval(years => v_from);
    f.born_from := (v_today - make_interval(years => v_to + 1))::date + 1;
    if v_from is not null and f.born_from is null then f.born_from := '1800-01-01'; end if;
    if v_to is not null and f.born_to is null then f.born_to := v_today; end if;
    f.km := p_filters ->> 'within_km';
    f.online := coalesce((p_filters ->> 'online')::boolean, false);
    f.impossible := false;
    if f.km is not null then
        select open_cell_lat, open_cell_lon into f.cell_lat, f.cell_lon from profile where person = p_asker;
        f.reach := (select max(band) from unnest(distance_bands()) band where band <= f.km) + 0.5;
        f.impossible := f.cell_lat is null or f.reach is null;
    end if;
    if f.online and exists (select from privacy where person = p_asker and last_seen <> 'everyone') then
        f.impossible := true;
    end if;
    f.interests := nullif(tags_of(texts_of(p_filters::jsonb -> 'interests')), '{}');
    f.skills := nullif(tags_of(texts_of(p_filters::jsonb -> 'skills')), '{}');
    f.languages := nullif(texts_of(p_filters::jsonb -> 'languages'), '{}');
    f.genders := nullif(tags_of(texts_of(p_filters::jsonb -> 'genders')), '{}');
    return f;
end $$;

-- Whether a profile fits; one subquery-free expression, so that it becomes part of the query that asks it.
create function fits(w profile, f profile_filter) returns boolean language sql stable
return (f.born_to is null or w.open_birthday between f.born_from and f.born_to)
    and (f.interests is null or w.open_interests && f.interests)
    and (f.skills is null or w.open_skills && f.skills)
    and (f.languages is null or w.open_languages && f.languages)
    and (f.genders is null or w.open_gender = any (f.genders))
    and (f.km is null
         or abs(w.open_cell_lat - f.cell_lat) <= f.reach / 5 + 1   -- which is quicker found out
            and cells_apart(w.open_cell_lat, w.open_cell_lon, f.cell_lat, f.cell_lon) <= f.reach);

-- Whether somebody is connected now, and lets everyone see it. Whoever asks lets everyone, too: filter_of.
create function is_online(p_person uuid) returns boolean language sql stable
set enable_seqscan = off
return exists (select from seat s join node n on n.id = s.node
               where s.person = p_person and n.beat > now() - interval '15 seconds')
    and not exists (select from privacy where person = p_person and last_seen <> 'everyone');
create index seat_person on seat (person);

-- Whether one of these is so frequent that more than p_most people have it, as far as the database's statistics know: then it
-- is not worth to count them.
create function are_frequent(p_column name, p_values text[], p_most integer) returns boolean language sql stable
return exists (
    select from pg_stats s join pg_class c on c.oid = 'profile'::regclass
    cross join lateral unnest(s.most_common_elems::text::text[]) with ordinality e(value, nth)
    where s.schemaname = current_schema() and s.tablename = 'profile' and s.attname = p_column and e.value = any (p_values)
        and s.most_common_elem_freqs[e.nth] * c.reltuples > p_most);

-- The people among whom all that fit are, if one condition leaves so few (p_most); else null.
create function few_that_fit(f profile_filter, p_most integer) returns uuid[] language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_few uuid[];
    v_least uuid[];
    v_rows integer := ceil(f.km / 5.0) + 1;                   -- of the grid, to each side
    v_width double precision;                                 -- of the circle, to each side
    v_middle double precision;
begin
    if f.interests is not null and not are_frequent('open_interests', f.interests, p_most) then
        v_few := array(select person from profile where findable and open_interests && f.interests limit p_most + 1);
        if cardinality(v_few) <= p_most then v_least := v_few; end if;
    end if;
    if f.skills is not null and not are_frequent('open_skills', f.skills, p_most) then
        v_few := array(select person from profile where findable and open_skills && f.skills limit p_most + 1);
        if cardinality(v_few) <= coalesce(cardinality(v_least) - 1, p_most) then v_least := v_few; end if;
    end if;
    if f.online then
        v_few := array(select s.person from node n join seat s on s.node = n.id
                       where n.beat > now() - interval '15 seconds' limit p_most + 1);
        if cardinality(v_few) <= coalesce(cardinality(v_least) - 1, p_most) then v_least := v_few; end if;
    end if;
    if f.km is not null then
        v_middle := (f.cell_lon + 0.5) / cell_columns(f.cell_lat);
        v_width := (v_rows + 1.0) / least(cell_columns(greatest(f.cell_lat - v_rows, 0)),
                                          cell_columns(least(f.cell_lat + v_rows, 3999)));
        if v_middle - v_width >= 0 and v_middle + v_width <= 1 then   -- else it goes across the date line, or round a pole
            v_few := array(
                select person from profile
                where findable and open_cell_lat between f.cell_lat - v_rows and f.cell_lat + v_rows
                    and open_turn between (v_middle - v_width)::real and (v_middle + v_width)::real
                limit p_most + 1);
            if cardinality(v_few) <= coalesce(cardinality(v_least) - 1, p_most) then v_least := v_few; end if;
        end if;
    end if;
    return v_least;
end $$;

-- Whom a feed leaves out, apart from who is not met at all: oneself, blocks of either side, contacts, and whom one has
-- answered or passed over. Nothing that only the other side knows leaves anybody out but a block.
create function left_out(p_person uuid) returns uuid[] language plpgsql stable
set enable_seqscan = off
as $$
begin
    return array(
        select p_person
        union select blocked from block where person = p_person
        union select person from block where blocked = p_person
        union select other from contact where person = p_person
        union select receiver from opener where author = p_person
        union select high from matched where low = p_person
        union select low from matched where high = p_person
        union select other from contact_request where person = p_person and not withdrawn
        union select person from contact_request where other = p_person and ignored
        union select other from passed_over where person = p_person);   -- 0026
end $$;


-- The next p_most on the circle that fit, behind p_after: places, those first where both are likeliest to say yes (0026). It
-- looks at p_look profiles at most, or at all where one condition leaves few.
--   p_start  where the walk began; p_after null: nothing was looked at yet
--   Returns {"places": [...], "after": the last place that was looked at, "round": it is past the end of the circle,
--            "over": it has come round}.
create function feed_block(
    p_person uuid, f profile_filter, p_out uuid[], p_start bigint, p_after bigint, p_round boolean, p_most integer, p_look integer
) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_few uuid[] := few_that_fit(f, 2000);
    v_places bigint[] := '{}';
    v_found bigint[];
    v_after bigint := coalesce(p_after, p_start - 1);
    v_round boolean := p_round;
    v_over boolean := f.impossible;
    v_step integer := 2 * p_most;
    v_looked integer := 0;
    v_count integer;
    v_last bigint;
    v_to bigint;
begin
    while not v_over and cardinality(v_places) < p_most and v_looked < p_look loop
        v_to := case when v_round then p_start else 4611686018427387904 end;
        if v_few is not null then
            select array_agg(place order by place) into v_found from (
                select w.place from profile w
                where w.person = any (v_few) and w.met and w.place > v_after and w.place < v_to and fits(w, f)
                    and not exists (select from unnest(p_out) x where x = w.person)
                    and (not f.online or is_online(w.person))
                order by w.place limit p_most - cardinality(v_places)) page;
            v_count := case when coalesce(cardinality(v_found), 0) < p_most - cardinality(v_places) then 0 else v_step end;
            v_last := v_found[cardinality(v_found)];
        else
            select count(*), max(place) into v_count, v_last from (
                select place from profile where met and place > v_after and place < v_to order by place limit v_step) looked;
            select array_agg(place order by place) into v_found from (
                select w.place from profile w
                where w.met and w.place > v_after and w.place <= v_last and fits(w, f)
                    and not exists (select from unnest(p_out) x where x = w.person)
                    and (not f.online or is_online(w.person))
                order by w.place limit p_most - cardinality(v_places)) fitting;
            if coalesce(cardinality(v_found), 0) = p_most - cardinality(v_places) then
                v_last := v_found[cardinality(v_found)];      -- what was looked at behind it is looked at again
                v_count := v_step;
            end if;
        end if;
        v_places := v_places || coalesce(v_found, '{}');
        v_looked := v_looked + v_step;
        v_after := coalesce(v_last, v_after);
        if v_count < v_step then                              -- the end of this part of the circle
            if v_round then
                v_over := true;
            else
                v_round := true;
                v_after := -1;
            end if;
        end if;
        v_step := least(4 * v_step, 4096);
    end loop;

    select coalesce(array_agg(w.place order by c.forth * c.back desc, array_position(v_places, w.place)), '{}')
        into v_places
        from suggest_scores(suggest_self(p_person, recommender_of(p_person)), array(        -- 0026
            select person from profile w where w.met and w.place = any (v_places) and may_see(p_person, w.person))) c
        join profile w on w.person = c.other;
    return json_build_object('places', v_places, 'after', v_after, 'round', v_round, 'over', v_over);
end $$;

-- Somebody as a list of people shows them: what the asker sees of the profile, the interests that both have, and whether the
-- person is there now, where both let everyone see that.
create function person_shown(p_asker uuid, p_person uuid) returns json language sql stable
set enable_seqscan = off
return json_strip_nulls(json_build_object(
    'profile', profile_shown(p_asker, p_person),
    'common', nullif(array(
        select i from profile o, unnest(o.interests) with ordinality x(i, nth)
        where o.person = p_person
            and lower(i collate pg_c_utf8) = any (o.open_interests)
            and lower(i collate pg_c_utf8) = any (select unnest(tags_of(interests)) from profile where person = p_asker)
        order by nth), '{}'),
    'online', nullif(is_online(p_person)
                     and not exists (select from privacy where person = p_asker and last_seen <> 'everyone'), false)));

-- A page of the feed. First what the page before had left over, then more of the circle.
--   p_left  places that were found and not shown yet
--   Returns {"people": [person_shown, ...], "left": places, "after", "round", "over"}.
create function feed_page(
    p_person uuid, p_filters json, p_start bigint, p_after bigint, p_round boolean, p_over boolean, p_left bigint[],
    p_limit integer, p_block integer, p_look integer
) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    f profile_filter := filter_of(p_person, p_filters);
    v_out uuid[] := left_out(p_person);
    v_places bigint[];
    v_block json := json_build_object('after', p_after, 'round', p_round, 'over', p_over);
begin
    select coalesce(array_agg(w.place order by array_position(p_left, w.place)), '{}') into v_places from profile w
        where w.met and w.place = any (p_left) and fits(w, f) and w.person <> all (v_out) and may_see(p_person, w.person)
            and (not f.online or is_online(w.person));
    if cardinality(v_places) < p_limit and not p_over then
        v_block := feed_block(p_person, f, v_out, p_start, p_after, p_round, p_block, p_look);
        v_places := v_places || array(select value::bigint from json_array_elements_text(v_block -> 'places')
                                      with ordinality order by ordinality);
    end if;
    return json_build_object(
        'people', (select coalesce(json_agg(person_shown(p_person, w.person) order by nth), '[]')
                   from unnest(v_places[:p_limit]) with ordinality x(at, nth)
                   cross join lateral (select person from profile where met and place = x.at limit 1) w),
        'left', v_places[p_limit + 1:], 'after', v_block -> 'after', 'round', v_block -> 'round', 'over', v_block -> 'over');
end $$;


-- A page of the profiles that were looked for: those first whose names have all words of the query (p_stage 0), then the
-- others (1), each part along the circle from p_start. Every word begins a word of the profile.
--   Returns {"people": [person_shown, ...], "stage", "after", "round": where it stopped, "over": there are no more}.
create function profile_search(
    p_person uuid, p_query text, p_filters json, p_start bigint, p_stage integer, p_after bigint, p_round boolean, p_limit integer
) returns json language plpgsql stable
set enable_seqscan = off
as $$
declare
    f profile_filter := filter_of(p_person, p_filters);
    v_words text[] := words_of(p_query);
    v_query tsquery := (select string_agg(quote_literal(w) || ':*', ' & ') from unnest(v_words) w)::tsquery;
    v_people uuid[] := '{}';
    v_few uuid[];
    v_stage integer := p_stage;
    v_after bigint := coalesce(p_after, p_start - 1);
    v_round boolean := p_round;
    v_over boolean := f.impossible;
    v_to bigint;
    v_row record;
    v_block json;
    v_found integer;
begin
    v_few := few_that_fit(f, 2000);
    if v_query is null then v_stage := 1; end if;             -- by conditions alone: as the feed, but of all who can be found
    while not v_over and cardinality(v_people) < p_limit + 1 loop
        v_to := case when v_round then p_start else 4611686018427387904 end;
        v_found := 0;
        for v_row in execute format(
            -- Along the circle until there are enough; where few fit, all of these first (offset 0).
            'select w.person, w.place from (
                 select w.person, w.place from profile w
                 where w.findable and w.place > $1 and w.place < $2 and w.person <> $3 and fits(w, $4) %s %s
                 order by w.place %s) w
             where may_see($3, w.person) and (not ($4).online or is_online(w.person)) limit $5',
            case when v_query is not null and v_stage = 0 then 'and w.name_words @@ $6'
                 when v_query is not null then 'and w.words @@ $6 and not w.name_words @@ $6' else '' end,
            case when v_few is not null then 'and w.person = any ($7)' else '' end,
            case when v_few is not null or v_query is not null and f.km is not null then 'offset 0' else '' end)
            using v_after, v_to, p_person, f, p_limit + 1 - cardinality(v_people), v_query, v_few
        loop
            v_people := v_people || v_row.person;
            v_found := v_found + 1;
            if cardinality(v_people) <= p_limit then v_after := v_row.place; end if;
        end loop;
        if cardinality(v_people) <= p_limit then              -- this part of the circle is at its end
            if not v_round then
                v_round := true;
                v_after := -1;
            elsif v_stage = 0 then
                v_stage := 1;
                v_round := false;
                v_after := p_start - 1;
            else
                v_over := true;
            end if;
        end if;
    end loop;
    return json_build_object(
        'people', (select coalesce(json_agg(person_shown(p_person, x.id) order by nth), '[]')
                   from unnest(v_people[:p_limit]) with ordinality x(id, nth)),
        'stage', v_stage, 'after', v_after, 'round', v_round, 'over', cardinality(v_people) <= p_limit);
end $$;
