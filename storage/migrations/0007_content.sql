-- What a message can be beside its text (protocol/frames/content.py), and what is done with whole messages: they are
-- answered, forwarded, pinned.
--
-- Two columns, and null in nearly every row: an append of plain text writes what it did, but for a bit each.

alter table entry add column content json;                    -- of message and message.edited
alter table entry add column pinned boolean;                  -- of message: true, or null
alter table version add column content json;                  -- of the first version alone, as its text

select add_entry_kinds('message.pinned');

-- What stands at the top of a conversation.
create table pin (
    conversation uuid   not null references conversation,
    message      bigint not null,
    seq          bigint not null,                             -- of the entry that says so
    primary key (conversation, message)
);


-- The entry as it travels. `detail` holds fields of it by their names, so a new one needs no change here.
create or replace function entry_json(e entry) returns json language sql immutable parallel safe
return case when e.detail is null and e.content is null then
    json_strip_nulls(json_build_object(
        'conversation', e.conversation, 'seq', e.seq, 'kind', e.kind, 'author', e.author, 'key', e.key, 'at_ms', e.at_ms,
        'text', e.text, 'user', e.subject))
else
    json_strip_nulls((left(json_build_object(
        'conversation', e.conversation, 'seq', e.seq, 'kind', e.kind, 'author', e.author, 'key', e.key, 'at_ms', e.at_ms,
        'text', e.text, 'user', e.subject, 'content', e.content, 'pinned', e.pinned)::text, -1)
        || coalesce(', ' || nullif(substr(e.detail::text, 2), '}'), '}'))::json)
end;

-- *detail* with what *changes* says; null takes a field away. Fields that it does not name stay.
create function detail_with(detail json, changes json) returns json language sql immutable parallel safe
return json_strip_nulls((coalesce(detail::jsonb, '{}') || changes::jsonb)::json);

-- What a key stands for that sent a message; of plain text as ever. (The planner does not put it in place, for what makes
-- JSON is not immutable by its books; so append_new says the first half itself, which saves a plain message 3 us.)
create function message_digest(p_text text, p_content json) returns uuid language sql immutable parallel safe
return case when p_content is null then md5('message:' || p_text)::uuid
       else md5(json_build_array('message', p_text, p_content)::text)::uuid end;

-- Whom a message mentions by name; nobody, once it is deleted, and nobody in what was forwarded, for that was said to
-- others. Whom it mentions besides is `content ->> 'mention_all'`: 'here', 'all' or null. Members or not is not asked.
create function entry_mentions(e entry) returns setof uuid language sql immutable parallel safe
as $$
    select distinct (part ->> 'user')::uuid
    from json_array_elements(case when e.content ->> 'forwarded' is null then e.content -> 'entities' end) part
    where part ->> 'kind' = 'mention'
$$;

-- Lock the author's *p_media*, items of a message's content, in the order of their ids: all can be shown.
--   Returns null, or {"error": code, "missing": upload}.
create function find_media(p_author uuid, p_media json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_item json;
    v_state text;
    v_kind text;
begin
    for v_item in select item from json_array_elements(p_media) item order by (item ->> 'id')::uuid loop
        select state, kind into v_state, v_kind from upload
            where id = (v_item ->> 'id')::uuid and owner = p_author and state <> 'doomed' for no key update;
        if not found then
            return json_build_object('error', 'unknown_medium', 'missing', v_item ->> 'id');
        elsif v_state <> 'ready' then
            return json_build_object('error', 'not_ready');
        elsif v_kind <> v_item ->> 'kind' then
            return json_build_object('error', 'wrong_use');
        end if;
    end loop;
    return null;
end $$;


-- Send a message that answers another one, or shows media: what append_new does not look at.
create function send_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_content json := p_command -> 'content';
    v_digest uuid := message_digest(p_command ->> 'text', v_content);
    v_problem json;
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    if v_content ->> 'reply_to' is not null then
        select * into m from visible_message(v_conversation, p_author, (v_content ->> 'reply_to')::bigint);
        if not found then return json_build_object('error', 'unknown_message'); end if;
        if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    end if;
    if v_content ->> 'thread' is not null then
        v_problem := thread_problem(v_conversation, p_author, (v_content ->> 'thread')::bigint);
        if v_problem is not null then return v_problem; end if;
        if exists (select from entry where conversation = v_conversation and seq = (v_content ->> 'thread')::bigint
                   and detail ->> 'deleted' is not null) then
            return json_build_object('error', 'message_deleted');
        end if;
    end if;
    if v_content ->> 'media' is not null then
        v_problem := find_media(p_author, v_content -> 'media');
        if v_problem is not null then return v_problem; end if;
        perform upload_attach((item ->> 'id')::uuid, p_author, v_conversation, b.seq)
            from json_array_elements(v_content -> 'media') item;
    end if;
    return end_action(p_author, p_command, v_digest, b, 'message', nullif(p_command ->> 'text', ''),
        thread_joined(v_conversation, (v_content ->> 'thread')::bigint, p_author, b, p_rules), v_content);
end $$;


-- Give a message another text, other entities and mentions; its author may, for a time. The rest of its content stays, and
-- the entry says all of it.
create or replace function edit_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_text text := p_command ->> 'text';
    v_said jsonb := jsonb_strip_nulls(jsonb_build_object(
        'entities', nullif((p_command -> 'entities')::jsonb, '[]'), 'mention_all', p_command ->> 'mention_all'));
    v_digest uuid := case when v_said = '{}' then md5(json_build_array('edit', p_command -> 'seq', v_text)::text)::uuid
                     else md5(json_build_array('edit', p_command -> 'seq', v_text, v_said)::text)::uuid end;
    v_within_s bigint := p_rules ->> 'edit_within_s';          -- 0: never; below: for ever
    v_content json;
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_conversation, p_author, (p_command ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    if m.author <> p_author then return json_build_object('error', 'forbidden'); end if;
    if (select guarded from conversation where id = v_conversation) and not may(v_conversation, p_author, 'write') then
        return json_build_object('error', 'forbidden');
    end if;
    if v_within_s = 0 or (v_within_s > 0 and b.at_ms - m.at_ms > v_within_s * 1000) then
        return json_build_object('error', 'too_late');
    end if;
    v_content := json_strip_nulls(nullif(
        (coalesce(m.content::jsonb, '{}') - array['entities', 'mention_all']) || v_said, '{}')::json);
    insert into version (conversation, message, seq, text, content) values (v_conversation, m.seq, m.seq, m.text, m.content)
        on conflict do nothing;                             -- the first text is there since the first edit
    insert into version (conversation, message, seq) values (v_conversation, m.seq, b.seq);
    update entry set text = v_text, content = v_content,
            detail = detail_with(m.detail, json_build_object('edited_at_ms', b.at_ms, 'changed', b.seq))
        where conversation = v_conversation and seq = m.seq;
    return end_action(p_author, p_command, v_digest, b, 'message.edited', v_text,
                      json_strip_nulls(json_build_object('of', m.seq)), v_content);
end $$;


-- Take away all that a message says, that its edits said, its reactions, its pin and its media, for entry *p_changed*.
create function erase_message(m entry, p_changed bigint, p_rules json) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    update entry set text = null, content = null, detail = json_strip_nulls(json_build_object('of', m.seq, 'deleted', true))
        where conversation = m.conversation and seq = any (array(
            select seq from version where conversation = m.conversation and message = m.seq and seq <> m.seq));
    update version set text = null, content = null
        where conversation = m.conversation and message = m.seq and seq = m.seq;
    delete from poll_vote where conversation = m.conversation and message = m.seq;
    delete from reaction where conversation = m.conversation and message = m.seq;
    delete from pin where conversation = m.conversation and message = m.seq;
    update entry set text = null, pinned = null,
            content = ('{"thread":' || (m.content ->> 'thread') || '}')::json, detail = message_detail(null, true, null, p_changed)
        where conversation = m.conversation and seq = m.seq;
    perform upload_detach(id, m.conversation, m.seq, (p_rules ->> 'media_unused_ms')::bigint)
        from (select (item ->> 'id')::uuid as id from json_array_elements(m.content -> 'media') item order by 1) used;
end $$;

-- Delete a message for everybody; its author may, and the group's owner. All that it says goes; seq, author, key and the
-- key's digest stay, so that a repeat of the sending gets its first answer.
create or replace function delete_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_digest uuid := md5(json_build_array('delete', p_command -> 'seq')::text)::uuid;
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_conversation, p_author, (p_command ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.author <> p_author and not may(v_conversation, p_author, 'delete') then
        return json_build_object('error', 'forbidden');
    end if;
    if m.detail ->> 'deleted' is not null then
        return settle_action(p_author, p_command, v_digest, (m.detail ->> 'changed')::bigint);
    end if;
    perform erase_message(m, b.seq, p_rules);
    return end_action(p_author, p_command, v_digest, b, 'message.deleted', null,
                      json_strip_nulls(json_build_object(
                          'of', m.seq, 'threads', threads_left(v_conversation, array[m.seq], b.seq, p_rules))));
end $$;


-- All that a message has said, with its content (0005).
create or replace function message_edits(
    p_person uuid, p_conversation uuid, p_seq bigint, p_after bigint, p_limit integer, p_bytes integer
) returns json language sql stable
set enable_seqscan = off
as $$
    with m as materialized (
        select conversation, seq, at_ms, text, content from visible_message(p_conversation, p_person, p_seq)
    ), said as materialized (
        (select v.seq, e.at_ms, coalesce(v.text, e.text) as text,    -- of the first version the entry has the newest text
                coalesce(v.content, e.content) as content
         from m join version v on v.conversation = m.conversation and v.message = m.seq and v.seq > p_after
         cross join lateral (select at_ms, case when v.seq <> m.seq then text end as text,
                                    case when v.seq <> m.seq then content end as content
                             from entry where conversation = v.conversation and seq = v.seq limit 1) e
         order by v.seq limit p_limit + 1)
        union all
        select m.seq, m.at_ms, m.text, m.content from m where m.seq > p_after
            and not exists (select from version v where v.conversation = m.conversation and v.message = m.seq)
    ), sized as materialized (
        select said.*, row_number() over page as nth, sum(coalesce(octet_length(text), 0) + coalesce(octet_length(content::text), 0) + 200) over page as through
        from said window page as (order by seq)
    ), fitting as (
        select * from sized where nth <= p_limit and (through <= p_bytes or nth = 1)
    )
    select case
        when not exists (select from span where conversation = p_conversation and person = p_person)
            then json_build_object('error', 'not_a_member')
        when not exists (select from m) then json_build_object('error', 'unknown_message')
        else json_build_object(
            'versions', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                             'seq', seq, 'at_ms', at_ms, 'text', text, 'content', content)) order by seq), '[]') from fitting),
            'more', (select count(*) from fitting) < (select count(*) from sized)) end
$$;


-- Pages, with content in their bytes (0002, 0003).
create or replace function visible_entries(ranges json) returns json language sql stable
set enable_seqscan = off
as $$
    with sized as materialized (
        select r.q, r.b, r.n, e.seq, entry_json(e) as body,
               row_number() over page as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0)
                   + coalesce(octet_length(e.content::text), 0) + 200) over page as through
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

create or replace function history_page(p_person uuid, p_conversation uuid, p_before bigint, p_limit integer, p_bytes integer)
returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    with page as materialized (
        select e.*::entry as e, e.seq,
               row_number() over (order by e.seq desc) as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0)
                   + coalesce(octet_length(e.content::text), 0) + 200) over (order by e.seq desc) as through
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

create or replace function log_stretches(stretches json, p_bytes integer) returns json language sql stable
set enable_seqscan = off
as $$
    with sized as materialized (
        select r.q, e.seq, entry_json(e) as body,
               row_number() over stretch as nth,
               sum(coalesce(octet_length(e.text), 0) + coalesce(octet_length(e.detail::text), 0)
                   + coalesce(octet_length(e.content::text), 0) + 200) over stretch as through
        from json_to_recordset(stretches) as r(q integer, c uuid, lo bigint, hi bigint)
        cross join lateral (
            select * from entry e where e.conversation = r.c and e.seq between r.lo and r.hi order by e.seq limit 1000) e
        window stretch as (partition by r.q order by e.seq)
    ), cut as (
        select q, json_agg(body order by seq) filter (where through <= p_bytes or nth = 1) as entries,
               bool_or(not (through <= p_bytes or nth = 1)) as cut
        from sized group by q
    )
    select coalesce(json_agg(json_build_object('q', q, 'entries', entries, 'cut', cut)), '[]') from cut
$$;


-- Forward a message that one may see, as a message of one's own that says who said it first, and no more of where it was
-- said: neither what it answered, nor whom it mentioned besides.
create function forward_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_from uuid := p_command -> 'source' ->> 'conversation';
    v_digest uuid := md5(json_build_array('forward', v_from, p_command -> 'source' -> 'seq')::text)::uuid;
    v_content jsonb;
    v_media uuid[];
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_from, p_author, (p_command -> 'source' ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    v_content := m.content;
    v_content := jsonb_strip_nulls(jsonb_build_object(
        'entities', v_content -> 'entities', 'media', v_content -> 'media', 'location', v_content -> 'location',
        'contact', v_content -> 'contact',
        'forwarded', jsonb_build_object('author', coalesce(v_content -> 'forwarded' ->> 'author', m.author::text))));
    if m.text is null and not v_content ?| array['media', 'location', 'contact'] then
        return json_build_object('error', 'nothing_to_forward');
    end if;
    v_media := array(select (item ->> 'id')::uuid from jsonb_array_elements(v_content -> 'media') item order by 1);
    if cardinality(v_media) > 0 then
        perform from upload where id = any (v_media) order by id for no key update;
        if (select count(*) from upload where id = any (v_media) and state = 'ready') < cardinality(v_media) then
            return json_build_object('error', 'message_deleted');   -- meanwhile, and its media were swept
        end if;
        insert into upload_use (upload, conversation, seq) select id, v_conversation, b.seq from unnest(v_media) id;
        update upload set used_at_ms = now_ms() where id = any (v_media) and used_at_ms is null;
    end if;
    return end_action(p_author, p_command, v_digest, b, 'message', m.text, null, json_strip_nulls(v_content::json));
end $$;


-- Pin a message for everybody, or take it down: in a direct conversation both may, in a group its owner.
create function pin_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_on boolean := p_command ->> 'on';
    v_digest uuid := md5(json_build_array('pin', p_command -> 'seq', v_on)::text)::uuid;
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_conversation, p_author, (p_command ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    if not may(v_conversation, p_author, 'pin') then
        return json_build_object('error', 'forbidden');
    end if;
    if v_on = coalesce(m.pinned, false) then
        return settle_action(p_author, p_command, v_digest, coalesce((m.detail ->> 'changed')::bigint, m.seq));
    end if;
    if v_on then
        if (select count(*) from pin where conversation = v_conversation) >= (p_rules ->> 'pins')::integer then
            return json_build_object('error', 'too_many_pins');
        end if;
        insert into pin (conversation, message, seq) values (v_conversation, m.seq, b.seq);
    else
        delete from pin where conversation = v_conversation and message = m.seq;
    end if;
    update entry set pinned = nullif(v_on, false), detail = detail_with(m.detail, json_build_object('changed', b.seq))
        where conversation = v_conversation and seq = m.seq;
    return end_action(p_author, p_command, v_digest, b, 'message.pinned', null,
                      json_build_object('of', m.seq, 'on', v_on));
end $$;

-- What is pinned in a conversation, of what the person may see; null for nothing.
create function conversation_pins(p_conversation uuid, p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_agg(p.message order by p.message) from pin p where p.conversation = p_conversation
        and exists (select from span s where s.conversation = p_conversation and s.person = p_person
                    and p.message between s.since and coalesce(s.until, 9223372036854775807))
$$;
