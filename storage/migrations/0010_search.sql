-- Full text search over one's own conversations, and a page of the past around a place.
--
-- The index is made outside the hot path: an append writes nothing of it. A task of each server (konnect_server/indexer.py)
-- reads what logs have gained since, a conversation at a time, under a row lock that others skip, and writes a row for each
-- message. So the index is late, by a second or so; and it is never believed: what it finds is held against the message's
-- own row as it stands, so that nothing is found by a text that it no longer has (docs/decisions/0018).
--
-- Why words carry their place. A plain index of words knows who says "dinner" in all the world; of one's own five hundred
-- conversations it would have to be asked for "dinner and one of these five hundred", which costs as much as the world
-- says it. Here each word is stored with a short name of the block (2,048 entries of one conversation) where it stands:
-- a look-up of a word in a block costs the same, some 20 us, however much is said elsewhere.

create table search_text (
    conversation uuid     not null,
    seq          bigint   not null,
    author       uuid     not null,
    at_ms        bigint   not null,
    changed      bigint   not null,                           -- the newest change of the message that these terms know
    terms        tsvector not null,
    primary key (conversation, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.05);
-- No list of pending insertions: every look-up of a block would read all of it.
create index search_terms on search_text using gin (terms) with (fastupdate = off);

-- Up to which entry a conversation's log is in there.
create table search_cursor (
    conversation uuid   primary key references conversation not enforced,
    indexed      bigint not null
) with (fillfactor = 70);


-- By which languages' stems it was made: one row.
create table search_speech (languages text[] not null);
insert into search_speech values ('{}');

-- A block's short name. Two may have the same, for what is found is compared with its conversation.
create function search_block(p_conversation uuid, p_seq bigint) returns text language sql immutable parallel safe
return left(translate(encode(decode(md5(p_conversation::text || (p_seq >> 11)::text), 'hex'), 'base64'), '+/', '-_'), 6);

-- A text's words: as they are written, each with its places, which phrases are sought by, and by their stems in each of
-- p_languages, without.
create function search_words(p_text text, p_languages regconfig[]) returns tsvector language plpgsql immutable parallel safe as $$
declare
    v_words tsvector := to_tsvector('simple', p_text);
    v_language regconfig;
begin
    foreach v_language in array p_languages loop
        v_words := v_words || strip(to_tsvector(v_language, p_text));
    end loop;
    return v_words;
end $$;

-- What a message is beside its text.
create function search_kinds(e entry) returns text[] language sql immutable parallel safe
return array_remove(array[
    case when e.text <> '' then 'text' end,
    case when e.text ~* 'https?://' then 'link' end,
    case when e.detail #> '{content,location}' is not null then 'location' end,
    case when e.detail #> '{content,contact}' is not null then 'contact' end], null)
    || array(select m ->> 'kind' from json_array_elements(case when json_typeof(e.detail #> '{content,media}') = 'array'
                                                          then e.detail #> '{content,media}' else '[]' end) m
             where m ->> 'kind' is not null);

-- A message's terms: its words, its author ("@"), its kinds ("#"), and "*", which every message has; each after its block.
create function search_terms(e entry, p_languages regconfig[]) returns tsvector language plpgsql immutable parallel safe as $$
declare
    v_block text := search_block(e.conversation, e.seq);
begin
    return (
        select string_agg('''' || v_block || replace(replace(word, '\', '\\'), '''', '''''') || ''''
                          || coalesce(':' || array_to_string(places, ','), ''), ' ')
        from (select lexeme, positions from unnest(search_words(coalesce(e.text, ''), p_languages))
              union all
              select unnest(array['*', '@' || e.author::text] || array(select '#' || k from unnest(search_kinds(e)) k)), null
        ) as terms(word, places)
        where octet_length(word) <= 255)::tsvector;
end $$;

create function search_changed(e entry) returns bigint language sql immutable parallel safe
return coalesce((e.detail ->> 'changed')::bigint, 0);


-- Bring the index up to date with these conversations, at most p_entries of the log of each; those that another process is
-- busy with are left to it. Doing it twice changes nothing: what is written is what the messages' rows say.
--   Returns those that have more, and those that somebody else had.
create function search_index(p_ids uuid[], p_languages regconfig[], p_entries integer) returns json language plpgsql volatile
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    v_ids uuid[];
    v_tops bigint[];
    v_from bigint[];
begin
    insert into search_cursor (conversation, indexed)
    select id, 0 from conversation v where id = any (p_ids)
        and not exists (select from search_cursor where conversation = v.id)    -- or it would wait for who is busy with it
        order by id on conflict do nothing;
    select array_agg(c), array_agg(i) into v_ids, v_from from (
        select conversation as c, indexed as i from search_cursor where conversation = any (p_ids)
        order by conversation for update skip locked) mine;
    -- A statement after the lock: what the one before us has indexed, and all that was committed, is seen.
    select array_agg(least(v_from[n] + p_entries, (select last_seq from conversation where id = v_ids[n])) order by n)
        into v_tops from generate_subscripts(v_ids, 1) n;
    with moved as materialized (
        select v_ids[n] as c, v_from[n] as low, v_tops[n] as high from generate_subscripts(v_ids, 1) n where v_tops[n] > v_from[n]
    ), told as materialized (
        select m.c, e.seq, e.kind, e.detail from moved m
        cross join lateral (select seq, kind, detail from entry
                            where conversation = m.c and seq > m.low and seq <= m.high offset 0) e
    ), touched as materialized (                              -- each once; a reaction changes nothing that is sought
        select c, seq from told where kind = 'message'
        union
        select c, (detail ->> 'of')::bigint from told
        where kind not in ('message', 'message.reacted') and detail ->> 'of' is not null
    ), standing as materialized (
        select e.* from touched t
        cross join lateral (select * from entry where conversation = t.c and seq = t.seq and kind = 'message' limit 1) e
    ), gone as (
        delete from search_text where (conversation, seq) in (
            select conversation, seq from standing e
            where (e.detail ->> 'deleted')::boolean or (e.text is null and e.detail is null))
    )
    insert into search_text (conversation, seq, author, at_ms, changed, terms)
    select e.conversation, e.seq, e.author, e.at_ms, search_changed(e::entry), search_terms(e::entry, p_languages)
    from standing s cross join lateral (select s.*) e
    where (e.detail ->> 'deleted')::boolean is not true and (e.text is not null or e.detail is not null)
    order by e.conversation, e.seq
    on conflict (conversation, seq) do update set changed = excluded.changed, terms = excluded.terms;
    update search_cursor c set indexed = v_tops[array_position(v_ids, c.conversation)]
        where c.conversation = any (v_ids) and c.indexed < v_tops[array_position(v_ids, c.conversation)];
    return (select coalesce(json_agg(v.id), '[]') from conversation v where v.id = any (p_ids)
            and v.last_seq > coalesce(v_tops[array_position(v_ids, v.id)], -1));
end $$;

-- Say by which languages' stems messages are to be found. If they were others so far, the index is made anew, bit by bit;
-- what is there is found meanwhile, as it was indexed.
create function search_speak(p_languages text[]) returns boolean language plpgsql volatile as $$
begin
    perform from search_speech where languages = p_languages;
    if found then return false; end if;
    update search_speech set languages = p_languages where languages <> p_languages;
    if found then update search_cursor set indexed = 0 where indexed > 0; end if;
    return true;
end $$;

-- Of the p_limit conversations above p_after: which have entries that are not in the index. How a process finds what it, or
-- one that was killed, has left behind.
--   Returns {"behind": [...], "last": where to go on; null at the end}.
create function search_behind(p_after uuid, p_limit integer) returns json language sql stable
set enable_seqscan = off
as $$
    with slice as materialized (
        select id, last_seq from conversation where id > p_after order by id limit p_limit
    )
    select json_build_object(
        'behind', (select coalesce(json_agg(s.id order by s.id), '[]') from slice s
                   where s.last_seq > coalesce((select indexed from search_cursor where conversation = s.id), 0)),
        'last', case when (select count(*) from slice) = p_limit then (select id from slice order by id desc limit 1) end)
$$;


-- A query as tsquery, without blocks.
--   terms [{"x": text, "p": a prefix, "f": a phrase, "n": must not be there}, ...]
create type searched as (
    query tsquery,                                            -- what must hold; empty: anything
    marks tsquery                                             -- any of the words to highlight
);
create function search_query(p_terms json, p_languages regconfig[]) returns searched language plpgsql immutable as $$
declare
    v_query tsquery := '';
    v_marks tsquery := '';
    v_one tsquery;
    t record;
    v_language regconfig;
begin
    for t in select x, p, f, n from json_to_recordset(p_terms) as r(x text, p boolean, f boolean, n boolean) loop
        if t.f then
            v_one := phraseto_tsquery('simple', t.x);
        else
            v_one := plainto_tsquery('simple', t.x);
            if t.p and numnode(v_one) > 0 then
                v_one := v_one || to_tsquery('simple', '''' || replace(replace(t.x, '\', '\\'), '''', '''''') || ''':*');
            end if;
            foreach v_language in array p_languages loop
                v_one := v_one || plainto_tsquery(v_language, t.x);
            end loop;
        end if;
        continue when numnode(v_one) = 0;                     -- nothing but signs
        v_query := v_query && case when t.n then !! v_one else v_one end;
        if not t.n then
            v_marks := v_marks || v_one;
        end if;
    end loop;
    return (v_query, v_marks)::searched;
end $$;


create type search_hit as (at_ms bigint, conversation uuid, seq bigint);

-- What *p_person* may see and that matches, newest first or by rank. By rank: the newest p_ranked of those up to p_top, by
-- how well they match.
--   p_languages: by whose stems the words are sought
--   p_after     (at_ms, conversation, seq) of the last hit of the page before, p_rank its rank; null for the first page
--   p_top       of the first page's newest hit
--   Returns null for somebody who was never a member of p_conversation, else {"hits": [{"conversation", "seq", "author",
--   "at_ms", "text", "marked": [the text with \x01 \x02 around what matches, ...], "rank"}], "more", "top": {...}}.
create function search_messages(
    p_person uuid, p_conversation uuid, p_terms json, p_languages regconfig[], p_author uuid, p_kind text,
    p_from_ms bigint, p_to_ms bigint, p_after search_hit, p_rank real, p_top search_hit, p_by_rank boolean,
    p_limit integer, p_ranked integer
) returns json language plpgsql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
    v_want integer := case when p_by_rank then p_ranked else p_limit + 1 end;
    v_below search_hit := least(
        case when p_by_rank then p_top else p_after end,
        (coalesce(p_to_ms, 9223372036854775807), '00000000-0000-0000-0000-000000000000', 0)::search_hit);
    v_query searched := search_query(p_terms, p_languages);
    v_bounded boolean := p_to_ms is not null or p_after is not null;
    v_slack bigint := 3600000;                                -- a clock that was set back
    v_template text;
    v_found search_hit[] := '{}';
    v_floor bigint := coalesce(p_from_ms, 0);                 -- what is older cannot be on the page
    v_ids uuid[];
    v_lows bigint[];
    v_highs bigint[];
    v_tops bigint[];
    v_at integer := 1;
    v_size integer := 16;
begin
    if p_conversation is not null and not exists (select from span where conversation = p_conversation and person = p_person) then
        return null;
    end if;
    v_template := array_to_string(array_remove(array[
        '(' || nullif(regexp_replace(v_query.query::text, '''((?:[^'']|'''')*)''', E'''\x01\\1''', 'g'), '') || ')',
        E'''\x01@' || p_author || '''', E'''\x01#' || p_kind || '''',
        case when p_author is null and p_kind is null and v_query.query::text !~ '^[^!]+$' then E'''\x01*''' end], null), ' & ');

    -- The blocks of what may be seen, and when the newest entry of each was stored, the newest first.
    with blocks as materialized (                             -- or each mention of top would be a look-up of its own
        select s.conversation as c, greatest(s.since, b << 11) as low, least(h.high, ((b + 1) << 11) - 1) as high,
               case when h.high = v.last_seq and b = h.high >> 11 then v.active_at_ms else
                   (select at_ms from entry where conversation = s.conversation
                    and seq = least(h.high, ((b + 1) << 11) - 1)) end as top
        from span s
        cross join lateral (select last_seq, active_at_ms from conversation where id = s.conversation limit 1) v
        cross join lateral (select coalesce(s.until, v.last_seq) as high) h
        cross join lateral generate_series(s.since >> 11, h.high >> 11) b
        where s.person = p_person and (p_conversation is null or s.conversation = p_conversation)
    ), fitting as materialized (
        select * from blocks
        where top >= v_floor and (not v_bounded or
            (select at_ms from entry where conversation = c and seq = low) <= v_below.at_ms + v_slack)
        order by top desc
    )
    select array_agg(c), array_agg(low), array_agg(high), array_agg(top) into v_ids, v_lows, v_highs, v_tops from fitting;

    while v_at <= coalesce(cardinality(v_ids), 0) and v_tops[v_at] >= v_floor loop
        select array_agg(hit order by hit desc) into v_found from (
            select hit from (
                select (known.at_ms, known.conversation, known.seq)::search_hit as hit from unnest(v_found) known
                union all
                select (new.at_ms, v_ids[n], new.seq)::search_hit from generate_series(v_at, least(v_at + v_size - 1, cardinality(v_ids))) n
                cross join lateral (
                    select t.at_ms, t.seq from (
                        select t.at_ms, t.seq, t.changed from search_text t
                        where t.terms @@ replace(v_template, E'\x01', search_block(v_ids[n], v_highs[n]))::tsquery
                            and t.conversation is not distinct from v_ids[n] and t.seq + 0 between v_lows[n] and v_highs[n]
                            and t.at_ms >= v_floor and (t.at_ms, t.conversation, t.seq) < (v_below.at_ms, v_below.conversation, v_below.seq)
                        order by t.at_ms desc, t.seq desc offset 0) t
                    cross join lateral (
                        select from entry e where e.conversation = v_ids[n] and e.seq = t.seq
                            and not exists (select from hidden h where h.person = p_person       -- deleted for oneself
                                            and h.conversation = v_ids[n] and h.seq = t.seq)
                            and coalesce(e.detail ->> 'deleted', 'false') = 'false' and (e.text is not null or e.detail is not null)
                            and case when numnode(v_query.query) = 0 then true
                                     when search_changed(e) <> t.changed then
                                         search_words(coalesce(e.text, ''), p_languages) @@ v_query.query
                                     else true end
                        limit 1) e
                    limit v_want) new) every
            order by hit desc limit v_want) best;
        v_found := coalesce(v_found, '{}');
        if cardinality(v_found) >= v_want then v_floor := greatest(v_floor, v_found[v_want].at_ms); end if;
        v_at := v_at + v_size;
        v_size := least(v_size * 2, 128);
    end loop;

    return (
        with every as materialized (
            select (f.hit).*, row_number() over () as n from (
                select unnest(v_found) as hit) f
        ), ranked as materialized (
            select h.*, e.author, e.text,
                   case when p_by_rank then ts_rank_cd(to_tsvector('simple', coalesce(e.text, '')), v_query.marks, 1) else 0::real end as rank
            from every h cross join lateral (select author, text from entry where conversation = h.conversation and seq = h.seq limit 1) e
        ), page as materialized (
            select r.*, row_number() over (order by r.rank desc, r.at_ms desc, r.conversation desc, r.seq desc) as nth from ranked r
            where not p_by_rank or p_after is null
                or (r.rank, r.at_ms, r.conversation, r.seq) < (p_rank, (p_after).at_ms, (p_after).conversation, (p_after).seq)
            order by nth limit p_limit + 1
        )
        select json_build_object(
            'hits', (select coalesce(json_agg(json_build_object(
                'conversation', p.conversation, 'seq', p.seq, 'author', p.author, 'at_ms', p.at_ms, 'rank', p.rank,
                'text', coalesce(p.text, ''), 'marked', case when numnode(v_query.marks) = 0 then '[]'::json else (
                    select json_agg(ts_headline(l, translate(p.text, E'\x01\x02', '  '), v_query.marks,
                                                E'StartSel=\x01, StopSel=\x02, HighlightAll=true'))
                    from unnest(array['simple'::regconfig] || p_languages) l) end) order by p.nth), '[]')
                from page p where p.nth <= p_limit),
            'more', exists (select from page where nth > p_limit), 'top', to_json(v_found[1])));
end $$;


-- A page of the past around a place: the newest p_older entries below p_at, and the oldest p_newer from it on; each of the
-- two up to half of p_bytes, and at least one entry if there is any.
--   Returns null for somebody who was never a member, else {"entries": [...], "more": older ones exist, "newer": newer ones}.
create function history_around(
    p_person uuid, p_conversation uuid, p_at bigint, p_older integer, p_newer integer, p_bytes integer
) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    with older as materialized (
        select e.*::entry as e, e.seq, row_number() over (order by e.seq desc) as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0) + 200) over (order by e.seq desc) as through
        from (select e.* from span s cross join lateral (
                  select * from entry where conversation = s.conversation and seq >= s.since and seq < least(p_at, s.until + 1)
                  order by seq desc limit p_older + 1) e
              where s.conversation = p_conversation and s.person = p_person order by e.seq desc limit p_older + 1) e
    ), newer as materialized (
        select e.*::entry as e, e.seq, row_number() over (order by e.seq) as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0) + 200) over (order by e.seq) as through
        from (select e.* from span s cross join lateral (
                  select * from entry where conversation = s.conversation and seq >= greatest(p_at, s.since)
                      and seq <= coalesce(s.until, 9223372036854775807)
                  order by seq limit p_newer + 1) e
              where s.conversation = p_conversation and s.person = p_person order by e.seq limit p_newer + 1) e
    ), fitting as materialized (
        select e, seq, true as is_older from older where nth <= p_older and (through <= p_bytes / 2 or nth = 1)
        union all
        select e, seq, false from newer where nth <= p_newer and (through <= p_bytes / 2 or nth = 1)
    )
    select case when exists (select from span where conversation = p_conversation and person = p_person) then
        json_build_object('entries', coalesce((select json_agg(entry_json(e) order by seq) from fitting), '[]'),
                          'more', (select count(*) from fitting where is_older) < (select count(*) from older),
                          'newer', (select count(*) from fitting where not is_older) < (select count(*) from newer)) end
$$;


-- The message that a list shows of each of these conversations where its last entry, number *p_heads*, is not that: the last
-- that is in no thread (0014) and that one has not hidden for oneself, sought among the last p_within entries up to there
-- that a member may see since joining.
create function last_messages(p_person uuid, p_ids uuid[], p_heads bigint[], p_within integer) returns json
language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    select coalesce(json_agg(entry_json(e.*)), '[]') from unnest(p_ids, p_heads) as wanted(id, head)
    cross join lateral (select since from span s where s.conversation = wanted.id and s.person = p_person and s.until is null limit 1) m
    cross join lateral (
        select near.* from (select * from entry where conversation = wanted.id and seq between m.since and wanted.head
                            order by seq desc limit p_within) near
        where near.kind = 'message' and near.content ->> 'thread' is null
            and not exists (select from hidden h where h.person = p_person and h.conversation = wanted.id and h.seq = near.seq)
        limit 1) e
    where e.seq < wanted.head
$$;
