-- Suggestions: people of whom it is likely that both say yes (docs/matching.md, "Suggestions").
--
-- How likely somebody (a) says yes to somebody (b) is a logistic function of what both share, of a's taste and of what b is,
-- with weights that were learned; a pair's score is the product of both ways. What goes in of b is what everyone may see of
-- the profile, and what b's answers have already told: matches. What b hides or answered in secret goes into nobody else's
-- page: the columns of suggest_key, made by suggest_fill and suggest_refresh, are all that there is of b.

create extension if not exists vector;                        -- pgvector, which whoever owns the database may create

-- What was learned, a row for each time. candidate: judged by nobody yet; standing: what suggestions go by; trial: the same for
-- a share of all people; refused: it was no better than the standing one; retired: it stood, or was tried, once.
create table recommender (
    version    integer primary key generated always as identity,
    state      text    not null default 'candidate' check (state in ('candidate', 'standing', 'trial', 'refused', 'retired')),
    share      integer not null default 0 check (share between 0 and 100),   -- of a trial: percent of all people
    weights    json    not null,                              -- {"bias", "near", ..., "back": {...}}: suggest_weights
    made_of    json    not null default '{}',                 -- how many answers and people, up to when
    judged     json,                                          -- how good it was on the answers of the last day
    made_at_ms bigint  not null default now_ms()
);
create unique index recommender_standing on recommender (state) where state in ('standing', 'trial');

-- What a tag of a profile ('i:' an interest, 's:' a skill, 'l:' a language) says of what somebody wants and is.
create table recommender_tag (
    version integer    not null references recommender on delete cascade,
    tag     text       not null,
    wants   vector(16) not null,
    being   vector(16) not null,
    primary key (version, tag)
);

-- Somebody as others' suggestions know them: by what everyone may see. For each version a part of its own, with its own index.
create table suggest_key (
    version    integer    not null,
    person     uuid       not null,                           -- made of the profile, so it refers to nobody by itself
    being      vector(16) not null,                           -- what the person is
    wants      vector(16) not null,                           -- what the person wants, by the profile alone
    popular    real       not null default 0,                 -- how many say yes: so much more or less than of others (log odds)
    responsive real       not null default 0,                 -- how many of those match: the same
    key        vector(34) not null,                           -- all of it: being, wants, popular, responsive
    primary key (version, person)
) partition by list (version);
create index suggest_key_person on suggest_key (person);

-- Who was shown to whom, kept for some months: what the recommender learns from and is measured by.
create table impression (
    person   uuid     not null references account,
    other    uuid     not null references account,
    at_ms    bigint   not null,
    version  integer  not null,
    source   text     not null check (source in ('feed', 'suggest')),
    place    smallint not null,                               -- on the page, from 1
    explored boolean  not null default false,                 -- by chance, not by the score
    score    real     not null,                               -- how likely both say yes
    primary key (person, other, at_ms)
);
create index impression_other on impression (other);
create index impression_at on impression (at_ms);

-- How often somebody was suggested on a day (UTC), so that a few do not get all.
create table exposure (
    other uuid    not null references account,
    day   date    not null,
    shown integer not null,
    primary key (day, other)
);
create index exposure_other on exposure (other);

-- "Not for me": whom somebody is not shown any more. Nobody else is told.
create table passed_over (
    person uuid   not null references account,
    other  uuid   not null references account,
    at_ms  bigint not null default now_ms(),
    primary key (person, other),
    check (person <> other)
);
create index passed_over_recent on passed_over (person, at_ms desc, other);
create index passed_over_other on passed_over (other);

create index opener_recent on opener (at_ms);


-- --- What the model knows of a profile ---

-- The tags of a profile that everyone may see.
create function profile_tags(w profile) returns text[] language sql immutable
return array(select 'i:' || t from unnest(w.open_interests) t union select 's:' || t from unnest(w.open_skills) t
             union select 'l:' || t from unnest(w.open_languages) t);

-- A direction for a tag that nothing was learned of, drawn from its name: who shares tags points the same way.
create function tag_axis(p_tag text) returns vector language sql immutable
return (select array_agg(case when get_bit(h, n) = 1 then 0.25 else -0.25 end order by n)::vector(16)
        from (select decode(md5(p_tag), 'hex') as h) x, generate_series(0, 15) n);

create function scaled(p_vector vector, p_by double precision) returns vector language sql immutable
return p_vector * array_fill(p_by::real, array[16])::vector(16);

create function no_taste() returns vector language sql immutable
return array_fill(0::real, array[16])::vector(16);

-- What tags say in a version: the sum of what each says, divided by the root of how many say something. A version that has learned
-- no tags at all (the first) goes by the names alone.
create function taste_of(p_version integer, p_tags text[], out wants vector, out being vector) language plpgsql stable
set enable_seqscan = off
as $$
begin
    if exists (select from recommender_tag where version = p_version) then
        select scaled(sum(t.wants), 1 / sqrt(greatest(count(*), 1))), scaled(sum(t.being), 1 / sqrt(greatest(count(*), 1)))
            into wants, being from recommender_tag t where version = p_version and tag = any (p_tags);
    elsif cardinality(p_tags) > 0 then
        select scaled(sum(tag_axis(t)), 1 / sqrt(cardinality(p_tags))) into wants from unnest(p_tags) t;
        being := wants;
    end if;
    wants := coalesce(wants, no_taste());
    being := coalesce(being, no_taste());
end $$;

-- How likely it is, from log odds.
create function chance(p_odds double precision) returns double precision language sql immutable
return 1 / (1 + exp(-greatest(-30, least(30, p_odds))));

-- How much more or less often than of others (p_mean): log odds of a share, drawn to the mean while little is known.
create function odds_off(p_yes double precision, p_all double precision, p_mean double precision, p_shrink double precision)
returns double precision language sql immutable
return ln((p_yes + p_shrink * p_mean) / (p_all - p_yes + p_shrink * (1 - p_mean))) - ln(p_mean / (1 - p_mean));


-- --- Answers ---

-- What people said to people, as far as it is theirs: 1 yes, 0 no. who, whom, yes, at_ms. Of who was shown and not written to,
-- the first time counts, an hour later. An end of one's own is a yes taken back; a conversation that went on is a yes for both.
create view answer as
    select author as who, receiver as whom, 1::real as yes, at_ms from opener
    union all
    select person, other, 1, at_ms from contact_request where not withdrawn
    union all
    select other, person, 0, at_ms from contact_request where ignored and not withdrawn
    union all
    select person, other, 0, at_ms from passed_over
    union all
    select ended_by, case when ended_by = low then high else low end, 0.25, ended_at_ms from matched where ended_at_ms is not null
    union all
    select m.who, m.whom, 1, m.at_ms
        from (select low as who, high as whom, at_ms, conversation from matched
              union all select high, low, at_ms, conversation from matched) m
        where (select count(*) from (select from entry where conversation = m.conversation and kind = 'message'
                                     and author = m.whom limit 3) said) = 3
            and (select count(*) from (select from entry where conversation = m.conversation and kind = 'message'
                                       and author = m.who limit 3) said) = 3
    union all
    select i.person, i.other, 0, min(i.at_ms) from impression i
        where i.at_ms < now_ms() - 3600000
            and not exists (select from opener where author = i.person and receiver = i.other)
            and not exists (select from contact_request where person = i.person and other = i.other)
            and not exists (select from passed_over where person = i.person and other = i.other)
        group by i.person, i.other;

-- Somebody's own answers, the newest ones: who was answered, and how. For the person's own page alone.
create function own_answers(p_person uuid, p_most integer) returns table (whom uuid, yes real) language sql stable
set enable_seqscan = off
as $$
    (select receiver, 1::real from opener where author = p_person order by at_ms desc limit p_most)
    union all
    (select other, 1 from contact_request where person = p_person and not withdrawn order by id desc limit p_most)
    union all
    (select person, 0 from contact_request where other = p_person and ignored and not withdrawn limit p_most)
    union all
    (select other, 0 from passed_over where person = p_person order by at_ms desc limit p_most)
    union all
    (select other, 0 from (
        select i.other, min(i.at_ms) as at_ms from impression i where i.person = p_person and i.at_ms < now_ms() - 3600000
            and not exists (select from opener where author = p_person and receiver = i.other)
            and not exists (select from contact_request where person = p_person and other = i.other)
            and not exists (select from passed_over where person = p_person and other = i.other)
        group by i.other order by 2 desc limit p_most) shown)
$$;


-- --- The model ---

-- The weights of a version, as SQL reads them.
create type suggest_weights as (
    mean double precision, shrink double precision,           -- of answers: the share of yes, and how strong it is
    bias double precision, interests double precision, languages double precision, near double precision,
    age double precision, taste double precision, drift double precision, selective double precision, popular double precision,
    back_mean double precision, back_bias double precision, back_interests double precision, back_languages double precision, back_near double precision,
    back_age double precision, back_taste double precision, back_responsive double precision
);

create function weights_of(p_version integer) returns suggest_weights language sql stable
return (select json_populate_record(null::suggest_weights, weights) from recommender where version = p_version);

-- Whose suggestions go by which version: the standing one, or, of a share of all people, always the same, the one on trial.
create function recommender_of(p_person uuid) returns integer language sql stable
return (select version from recommender
        where state = 'standing'
            or state = 'trial' and ('x' || left(md5(p_person || ':' || version), 8))::bit(32)::bigint % 100 < share
        order by state = 'trial' desc limit 1);

-- What a version knows of who asks, the own answers among it: not to be told to anybody else.
create type suggest_self as (
    version integer, wants vector, being vector, drift vector, selective double precision,
    interests text[], languages text[], cell_lat integer, cell_lon integer, birthday date
);

create function suggest_self(p_person uuid, p_version integer) returns suggest_self language plpgsql stable
set enable_seqscan = off
as $$
declare
    s suggest_self;
    w suggest_weights := weights_of(p_version);
    v_self profile;
    v_count double precision;
    v_yes double precision;
    v_liked vector;
    v_not vector;
begin
    select * into v_self from profile where person = p_person;
    s.version := p_version;
    select t.wants, t.being into s.wants, s.being from taste_of(p_version, array(
        select 'i:' || t from unnest(tags_of(coalesce(v_self.interests, '{}'))) t
        union select 's:' || t from unnest(tags_of(coalesce(v_self.skills, '{}'))) t
        union select 'l:' || t from unnest(coalesce(v_self.languages, '{}')) t)) t;
    select count(*), coalesce(sum(a.yes), 0), sum(scaled(k.being, a.yes)), sum(scaled(k.being, 1 - a.yes))
        into v_count, v_yes, v_liked, v_not
        from own_answers(p_person, 200) a join suggest_key k on k.version = p_version and k.person = a.whom;
    s.drift := scaled(scaled(coalesce(v_liked, no_taste()), 1 - w.mean) - scaled(coalesce(v_not, no_taste()), w.mean),
                      1 / (v_count + w.shrink));
    s.selective := odds_off(v_yes, v_count, w.mean, w.shrink);
    s.interests := tags_of(coalesce(v_self.interests, '{}'));
    s.languages := coalesce(v_self.languages, '{}');
    s.cell_lat := v_self.open_cell_lat;                       -- who hides the own distance is told nobody's
    s.cell_lon := v_self.open_cell_lon;
    s.birthday := v_self.birthday;
    return s;
end $$;

-- How near two cells are that lie so far apart, 0 to 1: by the bands of 10, 50 and 200 km in which cells_km tells distances.
create function nearness(p_apart double precision) returns double precision language sql immutable
return case when p_apart <= 10.5 then 1 when p_apart <= 50.5 then 0.6666667 when p_apart <= 200.5 then 0.3333333 else 0 end;

create function likeness_of_age(p_one date, p_other date) returns double precision language sql immutable
return coalesce(exp(-abs(p_one - p_other) / 365.25 / 5), 0);

-- How well people suit who asks.
--   Returns of each: what both share (0 to 1), how likely one says yes to the other (forth) and the other to one (back).
create function suggest_scores(s suggest_self, p_people uuid[]) returns table (
    other uuid, interests double precision, languages double precision, near double precision, age double precision,
    responsive double precision, back_taste double precision, forth double precision, back double precision
) language sql stable
set enable_seqscan = off
as $$
    with w as materialized (select (weights_of(s.version)).*),
    f as materialized (
        select p.person, k.popular, k.responsive,
               least(4, (select count(*) from unnest(p.open_interests) i where i = any (s.interests))) / 4.0 as interests,
               (p.open_languages && s.languages)::integer::double precision as languages,
               coalesce(nearness(apart.km), 0) as near,
               likeness_of_age(p.open_birthday, s.birthday) as age,
               -(coalesce(k.being, no_taste()) <#> s.wants) as taste,
               -(coalesce(k.being, no_taste()) <#> s.drift) as drift,
               -(coalesce(k.wants, no_taste()) <#> s.being) as back_taste
        from profile p left join suggest_key k on k.version = s.version and k.person = p.person
        cross join lateral (select cells_apart(p.open_cell_lat, p.open_cell_lon, s.cell_lat, s.cell_lon) as km offset 0) apart
        where p.person = any (p_people)
    )
    select f.person, f.interests, f.languages, f.near, f.age, coalesce(f.responsive, 0), f.back_taste,
           chance(w.bias + w.interests * f.interests + w.languages * f.languages + w.near * f.near + w.age * f.age
                  + w.taste * f.taste + w.drift * f.drift + w.selective * s.selective + w.popular * coalesce(f.popular, 0)),
           chance(w.back_bias + w.back_interests * f.interests + w.back_languages * f.languages + w.back_near * f.near
                  + w.back_age * f.age + w.back_taste * f.back_taste + w.back_responsive * coalesce(f.responsive, 0))
    from f, w
$$;


-- --- What is known of others, for each version ---

-- It is not needed any more. Its row stays, for the impressions that name it.
create function drop_suggest_part(p_version integer) returns void language plpgsql volatile as $$
begin
    execute format('drop table if exists %I', 'suggest_key_' || p_version);
end $$;

-- How many say yes to somebody, and how many of these yes are mutual, as far as the two know: a first message counts once its
-- receiver was shown it, a match once it is there.
create function suggest_standing(p_version integer, p_person uuid, out popular real, out responsive real) language sql stable
set enable_seqscan = off
as $$
    select odds_off(l.yes, greatest(s.people, l.yes), w.mean, w.shrink)::real,
           odds_off(l.mutual, l.yes, w.back_mean, w.shrink)::real
    from weights_of(p_version) w,
        (select count(distinct person) as people from impression where other = p_person) s,
        (select count(*) as yes, count(*) filter (where state = 'matched') as mutual
         from opener where receiver = p_person and state in ('released', 'ignored', 'matched')) l
$$;

-- A profile's row in a version, but for its standing.
create function suggest_row(p_version integer, w profile) returns suggest_key language sql stable
set enable_seqscan = off
as $$
    select (p_version, w.person, t.being, t.wants, 0, 0, t.being || t.wants || array[0, 0]::real[]::vector)::suggest_key
    from taste_of(p_version, profile_tags(w)) t
$$;

-- The same made anew for p_most people above p_after. What hardly changed stays as it is: the index takes a millisecond for each.
--   Returns the last of them; null: there are no more.
create function suggest_standings(p_version integer, p_after uuid, p_most integer) returns uuid language plpgsql volatile as $$
declare
    v_few uuid[] := array(select person from suggest_key where version = p_version and person > p_after order by person limit p_most);
begin
    update suggest_key k set popular = n.popular, responsive = n.responsive,
           key = k.being || k.wants || array[n.popular, n.responsive]::vector
    from unnest(v_few) f(person) cross join lateral suggest_standing(p_version, f.person) n
    where k.version = p_version and k.person = f.person
        and (abs(k.popular - n.popular) > 0.05 or abs(k.responsive - n.responsive) > 0.05);
    return v_few[p_most];
end $$;

-- Everybody who is met, in a part of suggest_key for a version that is new; or, for one that has such a part, those who came or
-- changed since. The part is joined to the others when it is full and indexed: nobody waits for it meanwhile.
create function suggest_fill(p_version integer) returns void language plpgsql volatile as $$
declare
    v_part text := 'suggest_key_' || p_version;
    w suggest_weights := weights_of(p_version);
begin
    if to_regclass(v_part) is null then
        execute format('create table %I (like suggest_key including all, check (version = %s))', v_part, p_version);
        execute format(
            'insert into %I (version, person, being, wants, popular, responsive, key)
             with shown as (
                 select other, count(distinct person) as people from impression group by other
             ), liked as (
                 select receiver as other, count(*) as yes, count(*) filter (where state = ''matched'') as mutual
                 from opener where state in (''released'', ''ignored'', ''matched'') group by receiver
             ), known as materialized (
                 select p.person, t.being, t.wants,
                        odds_off(coalesce(l.yes, 0), greatest(coalesce(s.people, 0), coalesce(l.yes, 0)), $1, $2)::real as popular,
                        odds_off(coalesce(l.mutual, 0), coalesce(l.yes, 0), $3, $2)::real as responsive
                 from profile p cross join lateral taste_of(%s, profile_tags(p)) t
                 left join shown s on s.other = p.person left join liked l on l.other = p.person
                 where p.met
             )
             select %s, person, being, wants, popular, responsive, being || wants || array[popular, responsive]::vector
             from known', v_part, p_version, p_version) using w.mean, w.shrink, w.back_mean;
        execute format('create index on %I using hnsw (key vector_ip_ops)', v_part);
        execute format('analyze %I', v_part);
        execute format('alter table suggest_key attach partition %I for values in (%s)', v_part, p_version);
        return;
    end if;
    delete from suggest_key k where k.version = p_version
        and not exists (select from profile where person = k.person and met);
    insert into suggest_key select (suggest_row(p_version, p)).* from profile p
        where p.met and not exists (select from suggest_key where version = p_version and person = p.person);
    update suggest_key k
        set being = r.being, wants = r.wants, key = r.being || r.wants || array[k.popular, k.responsive]::vector
        from profile p cross join lateral suggest_row(p_version, p) r
        where k.version = p_version and p.person = k.person and (k.being, k.wants) is distinct from (r.being, r.wants)
            and p.updated_at_ms >= (select made_at_ms - 3600000 from recommender where version = p_version);
end $$;

-- A profile was made, changed, or is not met any more: so are its keys. What is known of the answers stays.
create function suggest_refresh() returns trigger language plpgsql
set enable_seqscan = off
as $$
declare
    v_version integer;
    k suggest_key;
begin
    if not new.met then
        delete from suggest_key where person = new.person;
        return null;
    end if;
    for v_version in select version from recommender where state in ('standing', 'trial') loop
        k := suggest_row(v_version, new);
        insert into suggest_key as held select k.*
            on conflict (version, person) do update
                set being = excluded.being, wants = excluded.wants,
                    key = excluded.being || excluded.wants || array[held.popular, held.responsive]::vector;
    end loop;
    return null;
end $$;
create trigger profile_suggested after insert or update on profile for each row
    when (new.met) execute function suggest_refresh();
create trigger profile_unsuggested after update on profile for each row
    when (old.met and not new.met) execute function suggest_refresh();


-- --- What is remembered ---

-- Remember who was shown to whom. Exposures in the order of their keys, so that no two readers wait for each other.
--   p_shown [{"other", "place", "explored", "score"}, ...]
create function remember_shown(p_person uuid, p_version integer, p_source text, p_shown json) returns void
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_now bigint := now_ms();
begin
    insert into impression (person, other, at_ms, version, source, place, explored, score)
    select p_person, x.other, v_now, p_version, p_source, x.place, coalesce(x.explored, false), x.score
    from json_to_recordset(p_shown) as x(other uuid, place smallint, explored boolean, score real)
    on conflict do nothing;
    insert into exposure as e (other, day, shown)
    select x.other, (to_timestamp(v_now / 1000) at time zone 'utc')::date, 1
    from json_to_recordset(p_shown) as x(other uuid) order by x.other
    on conflict (day, other) do update set shown = e.shown + 1;
end $$;

-- A page of the feed (0020), and that it was shown.
create function feed_shown(
    p_person uuid, p_filters json, p_start bigint, p_after bigint, p_round boolean, p_over boolean, p_left bigint[],
    p_limit integer, p_block integer, p_look integer
) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_page json := feed_page(p_person, p_filters, p_start, p_after, p_round, p_over, p_left, p_limit, p_block, p_look);
    v_version integer := recommender_of(p_person);
begin
    perform remember_shown(p_person, v_version, 'feed', (
        select json_agg(json_build_object('other', c.other, 'place', x.nth, 'score', c.forth * c.back))
        from json_array_elements(v_page -> 'people') with ordinality x(one, nth)
        join suggest_scores(suggest_self(p_person, v_version), array(
            select (one -> 'profile' ->> 'user')::uuid from json_array_elements(v_page -> 'people') one)) c
            on c.other = (x.one -> 'profile' ->> 'user')::uuid))
        where json_array_length(v_page -> 'people') > 0;
    return v_page;
end $$;


-- --- Suggestions ---

-- Who is looked at for suggestions, at most some hundreds: of all who fit, those whom taste and standing bring nearest (by the
-- index of the version's part); some who live near; those who are new; and some by chance, along the circle from p_start.
create function suggest_candidates(
    p_person uuid, s suggest_self, f profile_filter, p_start bigint, p_near integer, p_new integer
) returns uuid[] language plpgsql stable
set enable_seqscan = off set hnsw.ef_search = 120 set hnsw.iterative_scan = relaxed_order set hnsw.max_scan_tuples = 3000
as $$
declare
    w suggest_weights := weights_of(s.version);
    v_out uuid[] := left_out(p_person);
    v_query vector := scaled(s.wants, w.taste) + scaled(s.drift, w.drift);
    v_few uuid[] := few_that_fit(f, 400);
    v_place profile_filter;
    v_found uuid[];
    v_more uuid[];
begin
    if f.impossible then return '{}'; end if;
    if v_few is not null then
        return array(select p.person from profile p where p.person = any (v_few) and p.met and fits(p, f)
                         and p.person <> all (v_out) and (not f.online or is_online(p.person)) and may_see(p_person, p.person));
    end if;
    execute format(
        'select array_agg(person) from (
             select k.person from %I k join profile p on p.person = k.person
             where p.met and fits(p, $1) and not exists (select from unnest($2) x where x = k.person)
             order by k.key <#> $3 limit $4) found', 'suggest_key_' || s.version)
        into v_found
        using f, v_out, v_query || scaled(s.being, w.back_taste) || array[w.popular, w.back_responsive]::vector, p_near;
    v_found := coalesce(v_found, '{}');

    v_place := f;
    if s.cell_lat is not null and f.km is null then
        v_place.cell_lat := s.cell_lat;
        v_place.cell_lon := s.cell_lon;
        v_place.km := 50;
        v_place.reach := 50.5;
    end if;
    v_more := few_that_fit(v_place, 300);
    if v_more is null then                                    -- a place with many: some of them
        v_more := array(select person from (select * from profile where met and place > p_start order by place limit 1500) p
                        where fits(p, v_place) limit p_near / 2);
    end if;
    v_more := v_more
        || array(select person from profile where met and place > p_start order by place limit p_new)
        || array(select person from profile where met order by person desc limit p_new);   -- ids go by time
    return array(
        select p.person from profile p
        where p.person in (select unnest(v_found || v_more)) and p.met and fits(p, f)
            and not exists (select from unnest(v_out) x where x = p.person)
            and (not f.online or is_online(p.person)) and may_see(p_person, p.person));
end $$;

-- Why somebody is suggested, the weightiest first: what everyone may see of both, and what answers have told already.
--   p_interests to p_back_taste  as suggest_scores gave them;  p_new  few were shown this person so far
--   Returns [{"kind": 'interests', 'languages', 'near', 'age', 'answers' or 'new', "values": [...], "city"}, ...].
create function suggest_reasons(
    s suggest_self, p_other uuid, p_interests double precision, p_languages double precision, p_near double precision,
    p_age double precision, p_responsive double precision, p_back_taste double precision, p_new boolean
) returns json language sql stable
set enable_seqscan = off
as $$
    with w as (select (weights_of(s.version)).*),
    o as (select * from profile where person = p_other),
    reason as (
        select 'interests' as kind, (w.interests + w.back_interests) * p_interests as weight,
               array(select i from unnest(o.interests) with ordinality x(i, nth)
                     where lower(i collate pg_c_utf8) = any (o.open_interests) and lower(i collate pg_c_utf8) = any (s.interests)
                     order by nth limit 4) as shared, null::text as city
        from w, o where p_interests > 0
        union all
        select 'languages', (w.languages + w.back_languages) * p_languages,
               array(select l from unnest(o.open_languages) l where l = any (s.languages) order by l limit 4), null
        from w, o where p_languages > 0
        union all
        select 'near', (w.near + w.back_near) * p_near, '{}',
               case when visibility_of(o.visibility) ->> 'city' = 'everyone' then o.city end
        from w, o where p_near > 0.5
        union all
        select 'age', (w.age + w.back_age) * p_age, '{}', null from w where p_age > 0.67
        union all
        select 'answers', w.back_responsive * p_responsive + w.back_taste * p_back_taste, '{}', null from w where p_responsive > 0.1
        union all
        select 'new', 0, '{}', null where p_new
    )
    select coalesce(json_agg(json_strip_nulls(json_build_object(
        'kind', kind, 'values', case when shared <> '{}' then to_json(shared) end, 'city', city)) order by weight desc, kind), '[]')
    from (select * from reason where weight > 0 or kind <> 'answers' order by weight desc, kind limit 4) r
$$;

-- Who might be suggested to somebody now, but for whom was since p_since: {"version", "found": [{"other", "score": how likely
-- both say yes, "times": how often the person was shown this one, "crowd": how often this one was shown to anybody today, as a
-- part of what the house allows ("exposure_cap", made anew each day: suggest_day), "new": fewer than p_audience people were shown
-- this one}, ...]}.
create function suggest_found(p_person uuid, p_filters json, p_since bigint, p_start bigint, p_audience integer) returns json
language plpgsql stable
set enable_seqscan = off
as $$
declare
    f profile_filter := filter_of(p_person, p_filters);
    s suggest_self := suggest_self(p_person, recommender_of(p_person));
    v_cap integer := coalesce((select value::integer from house_rule where name = 'exposure_cap'), 50);
    v_day date := (now() at time zone 'utc')::date;
    v_people uuid[];
begin
    if exists (select from account where id = p_person and standing = 'active') then
        v_people := suggest_candidates(p_person, s, f, p_start, 120, 30);
    end if;
    return json_build_object('version', s.version, 'found', (
        select coalesce(json_agg(json_build_object(
            'other', c.other, 'score', c.forth * c.back, 'times', i.times,
            'crowd', coalesce((select e.shown from exposure e where e.day = v_day and e.other = c.other), 0) / v_cap::real,
            'new', (select count(*) from (select from impression where other = c.other limit p_audience) n) < p_audience)
            order by c.other), '[]')
        from suggest_scores(s, v_people) c
        cross join lateral (select count(*) as times, max(at_ms) filter (where source = 'suggest') as last
                            from impression where person = p_person and other = c.other) i
        where i.last is null or i.last < p_since));
end $$;

-- Show suggestions, and remember that they were shown.
--   p_picks [{"other", "score", "explored"}, ...] in their order
--   Returns [{"person": person_shown, "score", "why": suggest_reasons, "explored"}, ...], without whom the person may not see.
create function suggest_shown(p_person uuid, p_version integer, p_picks json, p_audience integer) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    s suggest_self := suggest_self(p_person, p_version);
    v_shown json;
begin
    select coalesce(json_agg(json_build_object(
            'person', person_shown(p_person, x.other), 'score', x.score, 'explored', coalesce(x.explored, false),
            'why', suggest_reasons(s, x.other, c.interests, c.languages, c.near, c.age, c.responsive, c.back_taste,
                (select count(*) from (select from impression where other = x.other limit p_audience) n) < p_audience))
            order by x.nth), '[]')
        into v_shown
        from rows from (json_to_recordset(p_picks) as (other uuid, score double precision, explored boolean))
             with ordinality x(other, score, explored, nth)
        join suggest_scores(s, array(select (o ->> 'other')::uuid from json_array_elements(p_picks) o)) c on c.other = x.other
        join profile w on w.person = x.other and w.met
        where may_see(p_person, x.other);
    perform remember_shown(p_person, p_version, 'suggest', (
        select json_agg(json_build_object('other', x.one -> 'person' -> 'profile' ->> 'user', 'place', x.nth,
                                          'explored', x.one -> 'explored', 'score', x.one -> 'score'))
        from json_array_elements(v_shown) with ordinality x(one, nth)))
        where json_array_length(v_shown) > 0;
    return v_shown;
end $$;


-- --- "Not for me", and what became of suggestions ---

-- Pass somebody over, or take that back. Nobody is told; whether there is such a person is not, either.
create function pass_over(p_person uuid, p_command json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_user uuid := p_command ->> 'user';
    v_digest uuid := personal_digest(p_command);
    v_answer json;
begin
    v_answer := begin_personal(p_person, 'match.pass', p_command ->> 'key', v_digest);
    if v_answer is not null then return v_answer; end if;
    if not (p_command ->> 'on')::boolean then
        delete from passed_over where person = p_person and other = v_user;
    elsif exists (select from account where id = v_user and standing <> 'deleted') then
        insert into passed_over (person, other) values (p_person, v_user) on conflict do nothing;
    end if;
    return end_personal(p_person, 'match.pass', p_command ->> 'key', v_digest, 0);
end $$;

-- A page of whom somebody has answered, the newest first, after *p_at* and *p_user*: pending (written to, no match yet, and more
-- is not told), accepted (a match that stands), rejected (passed over, or the match has ended); with the score under which
-- the person was last shown that one.
create function answer_history(p_person uuid, p_at bigint, p_user uuid, p_limit integer) returns json language sql stable
set enable_seqscan = off
as $$
    with answered as (
        (select o.receiver as other, o.at_ms,
                case when o.match is null then 'pending'
                     when is_matched(p_person, o.receiver) then 'accepted' else 'rejected' end as status
         from opener o where o.author = p_person and (o.at_ms < p_at or o.at_ms = p_at and o.receiver > p_user)
         order by o.at_ms desc, o.receiver limit p_limit + 1)
        union all
        (select p.other, p.at_ms, 'rejected' from passed_over p
         where p.person = p_person and (p.at_ms < p_at or p.at_ms = p_at and p.other > p_user)
             and not exists (select from opener where author = p_person and receiver = p.other)
         order by p.at_ms desc, p.other limit p_limit + 1)
    )
    select coalesce(json_agg(json_strip_nulls(json_build_object(
        'user', a.other, 'status', a.status, 'at_ms', a.at_ms,
        'score', (select i.score from impression i where i.person = p_person and i.other = a.other order by i.at_ms desc limit 1)))
        order by a.at_ms desc, a.other), '[]')
    from (select * from answered order by at_ms desc, other limit p_limit + 1) a
$$;


-- --- Once a day ---

-- Whoever calls it first on a day (UTC) makes known anew what is known of answers: of all versions in use, which are returned.
-- Nobody is suggested more than five times as often as people were on average on the day before.
create function suggest_day() returns integer[] language plpgsql volatile as $$
declare
    v_today date := (now() at time zone 'utc')::date;
begin
    insert into house_rule values ('suggest_day', v_today::text)
        on conflict (name) do update set value = excluded.value where house_rule.value <> excluded.value;
    if not found then return '{}'; end if;
    perform set_house_rule('exposure_cap', greatest(20, ceil(5.0 * (
        select coalesce(sum(shown), 0) from exposure where day = v_today - 1)
        / greatest(1, (select count(*) from profile where met))))::integer::text);
    delete from exposure where day < v_today - 7;
    return array(select version from recommender where state in ('standing', 'trial') order by version);
end $$;

-- Forget impressions that are older than p_days; how many, p_most at most.
create function forget_impressions(p_days integer, p_most integer) returns integer language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_gone integer;
begin
    delete from impression where ctid = any (array(
        select ctid from impression where at_ms < now_ms() - p_days * 86400000::bigint limit p_most));
    get diagnostics v_gone = row_count;
    return v_gone;
end $$;


-- --- How versions do ---

-- For each version, source and day (UTC) of the impressions: how many people were shown, how many of these were written to
-- within a week, how many of those match by now, and in how many matches both have said something since, the first messages apart.
create view recommender_result as
    select i.version, i.source, i.explored, (to_timestamp(i.at_ms / 1000) at time zone 'utc')::date as day,
           count(*) as impressions, count(distinct i.person) as readers, count(o.receiver) as openers,
           count(m.id) as matches, count(m.id) filter (where r.both) as replies
    from impression i
    left join opener o on o.author = i.person and o.receiver = i.other
        and o.at_ms >= i.at_ms and o.at_ms < i.at_ms + 7 * 86400000::bigint
    left join matched m on o.match = m.id
    left join lateral (
        select count(distinct author) = 2 as both from entry
        where conversation = m.conversation and kind = 'message' and at_ms >= m.at_ms and key not like 'opener:%') r on m.id is not null
    group by 1, 2, 3, 4;


-- --- Leaving ---

create function erase_suggestions(p_person uuid) returns void language sql volatile
set enable_seqscan = off
begin atomic
    delete from suggest_key where person = p_person;
    delete from impression where person = p_person;
    delete from impression where other = p_person;
    delete from exposure where other = p_person;
    delete from passed_over where person = p_person;
    delete from passed_over where other = p_person;
end;

-- Who somebody was shown and passed over. Who was shown this person is others'.
create function export_suggestions(p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'shown', (select coalesce(json_agg(json_build_object('user', other, 'at_ms', at_ms, 'score', score) order by at_ms, other), '[]')
                  from impression where person = p_person),
        'passed_over', (select coalesce(json_agg(json_build_object('user', other, 'at_ms', at_ms) order by at_ms, other), '[]')
                        from passed_over where person = p_person))
$$;


-- --- The first version ---

-- Until something is learned here: weights that the simulator's people taught where no tags were learned (bench/tastes.py); taste
-- and drift, by directions that tags have of their names alone, are set by hand.
insert into recommender (state, weights, made_of) values ('standing', '{
    "mean": 0.07, "shrink": 3,
    "bias": -3.07, "interests": 0.63, "languages": 0.01, "near": 0.8, "age": 0.75, "taste": 0.3, "drift": 2.0, "selective": 0.41,
    "popular": 0.44, "back_mean": 0.1, "back_bias": -3.36, "back_interests": 0.72, "back_languages": 0.02, "back_near": 1.01,
    "back_age": 0.82, "back_taste": 0.3, "back_responsive": 0.05}', '{"by": "the simulator"}');
select suggest_fill(version) from recommender;

-- --- Beside it ---

-- What is looked at for pushes each second took twice as long to plan as to do.
alter function gather_pushes(uuid[], integer, integer, bigint, integer) set plan_cache_mode = force_generic_plan;
