-- Phrases and times in search: two more kinds of terms in the index (docs/decisions/0018), and terms made in less time.
--
-- The index is made anew by the servers' own task, bit by bit. Until it has come to a conversation, phrases of two short
-- words and searches within few weeks find nothing there; all else is found as before.

-- Each two short words that follow one another, as three letters. Frequent words are short in any language, and how two of
-- them stand is the costly question of a phrase: thousands of messages have both. Two pairs may have the same letters, for
-- what is found is held against the places of its words.
create function search_pairs(p_words tsvector) returns setof text language sql immutable parallel safe as $$
    select '+' || left(encode(decode(md5(word || ' ' || following), 'hex'), 'base64'), 3)
    from (select lexeme as word, place, lead(lexeme) over (order by place) as following, lead(place) over (order by place) as next
          from unnest(p_words) w cross join lateral unnest(w.positions) place where length(lexeme) <= 5) placed
    where next = place + 1
$$;

-- In which spell of some six days a time is.
create function search_spell(p_at_ms bigint) returns bigint language sql immutable parallel safe
return p_at_ms >> 29;

-- A message's terms: its words; "*", which every message has; its author ("@"), spell ("~"), kinds ("#") and pairs ("+");
-- each after its block.
create or replace function search_terms(e entry, p_languages regconfig[]) returns tsvector language plpgsql immutable parallel safe as $$
declare
    v_block text := search_block(e.conversation, e.seq);
    v_words tsvector := search_words(coalesce(e.text, ''), p_languages);
    v_more text[] := array['*', '@' || e.author, '~' || search_spell(e.at_ms)]
        || array(select '#' || kind from unnest(search_kinds(e)) kind) || array(select search_pairs(v_words));
begin
    if octet_length(e.text) > 255 then
        v_words := ts_delete(v_words, array(select lexeme from unnest(v_words) where octet_length(lexeme) > 255));
    end if;
    -- As text, each stands between quotes after a blank; and no word has a blank. A third of the time that it takes by rows.
    return replace(' ' || v_words::text || ' ''' || array_to_string(v_more, ''' ''') || '''', ' ''', ' ''' || v_block)::tsvector;
end $$;


alter type searched add attribute pairs text[];               -- what holds wherever the query's phrases do

create or replace function search_query(p_terms json, p_languages regconfig[]) returns searched language plpgsql immutable as $$
declare
    v_query tsquery := '';
    v_pairs text[] := '{}';
    v_marks tsquery := '';
    v_one tsquery;
    t record;
    v_language regconfig;
begin
    for t in select x, p, f, n from json_to_recordset(p_terms) as r(x text, p boolean, f boolean, n boolean) loop
        if t.f then
            v_one := phraseto_tsquery('simple', t.x);
            if not t.n then
                v_pairs := v_pairs || array(select search_pairs(to_tsvector('simple', t.x)));
            end if;
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
    return (v_query, v_marks, v_pairs)::searched;
end $$;

create or replace function search_messages(
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
    v_spells bigint[] := array(select generate_series(search_spell(p_from_ms), least(search_spell(p_to_ms), search_spell(p_from_ms) + 6)));
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
        (select string_agg(E'''\x01' || pair || '''', ' & ') from unnest(v_query.pairs) pair),
        -- Of a short time: or all that a conversation said in other weeks would be read with it.
        case when cardinality(v_spells) between 1 and 6 then
            (select '(' || string_agg(E'''\x01~' || spell || '''', ' | ') || ')' from unnest(v_spells) spell) end,
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


update search_cursor set indexed = 0 where indexed > 0;
