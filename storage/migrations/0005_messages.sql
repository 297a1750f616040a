-- What happens to messages after they were sent: edits, deletions, reactions. Each is an entry of the log with the next
-- number, and changes the message's own row in the same transaction, so that whoever reads a log reads messages as they
-- stand.
--
-- An append costs what it did: table entry gets no column, no index and no trigger. What is new of a message stands in
-- its `detail`, which a new message does not have, and the rest in tables that an append never touches.

-- Kinds that entries may have besides those so far, whichever migration brought these. Not valid: there are only more of
-- them, so nothing stored has to be read again.
create function add_entry_kinds(variadic p_kinds text[]) returns void language plpgsql as $$
declare
    v_kinds text;
begin
    select string_agg(quote_literal(kind), ', ' order by kind) into v_kinds from (
        select word[1] as kind from pg_constraint c,
            regexp_matches(pg_get_constraintdef(c.oid), '''([^'']+)''', 'g') as word
        where c.contypid = 'entry_kind'::regtype and c.conname = 'entry_kind_check'
        union select unnest(p_kinds)) k;
    alter domain entry_kind drop constraint entry_kind_check;
    execute format('alter domain entry_kind add constraint entry_kind_check check (value in (%s)) not valid', v_kinds);
end $$;

select add_entry_kinds('message.edited', 'message.deleted', 'message.reacted');


-- What an edited message has said: a row for the message itself, with its first text, and one for each edit, whose text
-- stands in its entry.
create table version (
    conversation uuid   not null references conversation,
    message      bigint not null,                             -- seq of the message
    seq          bigint not null,                             -- of the entry that made it say so
    text         text,                                        -- of the first version alone; null once it is deleted
    primary key (conversation, message, seq)
);

-- Who reacts to what. Counts and the first few names stand in the message's row, too.
create table reaction (
    conversation uuid   not null references conversation,
    message      bigint not null,
    emoji        text   collate "C" not null,                 -- by code points, as clients sort them
    person       uuid   not null references account,
    seq          bigint not null,                             -- of the entry that says so
    at_ms        bigint not null,
    primary key (conversation, message, emoji, person)
);
create unique index reaction_order on reaction (conversation, message, emoji, seq);

-- Keys of actions that found everything as they wanted it, and stored no entry: a repeat must get the first answer, for
-- what it asked for may have been undone meanwhile (docs/hazards.md, A11).
create table settled (
    key_hash     uuid   not null,
    conversation uuid   not null references conversation,
    digest       uuid   not null,
    seq          bigint not null,
    at_ms        bigint not null,
    primary key (key_hash, conversation)
);


-- The entry as it travels. Nearly all entries are messages without detail.
create or replace function entry_json(e entry) returns json language sql immutable parallel safe
return case when e.detail is null then
    json_strip_nulls(json_build_object(
        'conversation', e.conversation, 'seq', e.seq, 'kind', e.kind, 'author', e.author, 'key', e.key, 'at_ms', e.at_ms,
        'text', e.text, 'user', e.subject))
else
    json_strip_nulls(json_build_object(
        'conversation', e.conversation, 'seq', e.seq, 'kind', e.kind, 'author', e.author, 'key', e.key, 'at_ms', e.at_ms,
        'text', e.text, 'user', e.subject, 'title', e.detail -> 'title', 'members', e.detail -> 'members',
        'of', e.detail -> 'of', 'emoji', e.detail -> 'emoji', 'on', e.detail -> 'on', 'count', e.detail -> 'count',
        'users', e.detail -> 'users', 'edited_at_ms', e.detail -> 'edited_at_ms', 'deleted', e.detail -> 'deleted',
        'reactions', e.detail -> 'reactions', 'changed', e.detail -> 'changed'))
end;

-- What is to be known of a message beside its text.
create function message_detail(edited_at_ms bigint, deleted boolean, reactions json, changed bigint)
returns json language sql immutable parallel safe
return json_strip_nulls(json_build_object(
    'edited_at_ms', edited_at_ms, 'deleted', deleted, 'reactions', reactions, 'changed', changed));

-- The message at that place, if there is one that the person may see.
create function visible_message(p_conversation uuid, p_person uuid, p_seq bigint) returns setof entry language sql stable
as $$
    select e.* from entry e where e.conversation = p_conversation and e.seq = p_seq and e.kind = 'message'
        and exists (select from span s where s.conversation = p_conversation and s.person = p_person
                    and p_seq between s.since and coalesce(s.until, 9223372036854775807))
$$;


-- Actions: commands that a log takes one by one. Each is a function (author, command, rules) of its own, with the command
-- as it travels and the server's rules (storage/rows.py, Rules). It returns {"seq", "at_ms", "entry"}: where the entry
-- stands, and the entry if this call stored it; or {"error": code}. Each goes: begin_action; its own checks and changes;
-- end_action, or settle_action when there was nothing to do.

-- What every action begins with, in the order that makes repeats safe (docs/hazards.md, A2, A11): the lock, the key, the
-- membership. *answer* null: go on, as entry *seq* at *at_ms*. Each statement here and in the caller has its own snapshot,
-- so what follows sees all that was committed before the lock was had.
create type begun as (answer json, seq bigint, at_ms bigint);
create function begin_action(p_author uuid, p_command json, p_digest uuid) returns begun language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_hash uuid := key_hash(p_author, p_command ->> 'key');
    v_last bigint;
    v_seq bigint;                                             -- of what stands under this key, and so on; no record: what
    v_at bigint;                                              -- comes from two tables would have two types, and a plan one
    v_stored uuid;
begin
    select last_seq into v_last from conversation where id = v_conversation for no key update;
    if not found then
        return (json_build_object('error', 'not_a_member', 'missing', p_author), null, null)::begun;
    end if;
    -- It waited for the lock; what it read of other tables is older than that, and of the row is not.
    select seq, at_ms, digest into v_seq, v_at, v_stored from entry
        where key_hash = v_hash and conversation = v_conversation;
    if not found then
        select seq, at_ms, digest into v_seq, v_at, v_stored from settled
            where key_hash = v_hash and conversation = v_conversation;
    end if;
    if found then
        if v_stored <> p_digest then return (json_build_object('error', 'key_reused'), null, null)::begun; end if;
        return (json_build_object('seq', v_seq, 'at_ms', v_at), null, null)::begun;
    end if;
    if not exists (select from span where conversation = v_conversation and person = p_author and until is null) then
        return (json_build_object('error', 'not_a_member', 'missing', p_author), null, null)::begun;
    end if;
    return (null, v_last + 1, now_ms())::begun;
end $$;

-- Store the action's entry.
create function end_action(
    p_author uuid, p_command json, p_digest uuid, p_begun begun, p_kind text, p_text text, p_detail json
) returns json language plpgsql volatile as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_key text := p_command ->> 'key';
    e entry;
begin
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text, detail)
    values (v_conversation, p_begun.seq, p_kind, p_author, v_key, key_hash(p_author, v_key), p_digest, p_begun.at_ms,
            p_text, p_detail)
    returning * into e;
    update conversation set last_seq = e.seq, active_at_ms = e.at_ms where id = v_conversation;
    return json_build_object('seq', e.seq, 'at_ms', e.at_ms, 'entry', entry_json(e));
end $$;

-- Keep the key of an action that changes nothing; the answer names entry *p_seq*, after which it stood so.
create function settle_action(p_author uuid, p_command json, p_digest uuid, p_seq bigint) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_at bigint;
begin
    select at_ms into v_at from entry where conversation = v_conversation and seq = p_seq;
    insert into settled (key_hash, conversation, digest, seq, at_ms)
    values (key_hash(p_author, p_command ->> 'key'), v_conversation, p_digest, p_seq, v_at);
    return json_build_object('seq', p_seq, 'at_ms', v_at);
end $$;


-- Give a message another text; its author may, for a time.
create function edit_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_text text := p_command ->> 'text';
    v_digest uuid := md5(json_build_array('edit', p_command -> 'seq', v_text)::text)::uuid;
    v_within_s bigint := p_rules ->> 'edit_within_s';          -- 0: never; below: for ever
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_conversation, p_author, (p_command ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    if m.author <> p_author then return json_build_object('error', 'forbidden'); end if;
    if v_within_s = 0 or (v_within_s > 0 and b.at_ms - m.at_ms > v_within_s * 1000) then
        return json_build_object('error', 'too_late');
    end if;
    insert into version (conversation, message, seq, text) values (v_conversation, m.seq, m.seq, m.text)
        on conflict do nothing;                             -- the first text is there since the first edit
    insert into version (conversation, message, seq) values (v_conversation, m.seq, b.seq);
    update entry set text = v_text, detail = message_detail(b.at_ms, null, m.detail -> 'reactions', b.seq)
        where conversation = v_conversation and seq = m.seq;
    return end_action(p_author, p_command, v_digest, b, 'message.edited', v_text,
                      json_strip_nulls(json_build_object('of', m.seq)));
end $$;


-- Delete a message for everybody; its author may, and the group's owner. Its text goes, and that of its edits; seq, author,
-- key and the key's digest stay, so that a repeat of the sending gets its first answer.
create function delete_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
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
    if m.author <> p_author and p_author is distinct from (select owner from conversation where id = v_conversation) then
        return json_build_object('error', 'forbidden');
    end if;
    if m.detail ->> 'deleted' is not null then
        return settle_action(p_author, p_command, v_digest, (m.detail ->> 'changed')::bigint);
    end if;
    update entry set text = null, detail = json_strip_nulls(json_build_object('of', m.seq, 'deleted', true))
        where conversation = v_conversation and seq = any (array(
            select seq from version where conversation = v_conversation and message = m.seq and seq <> m.seq));
    update version set text = null where conversation = v_conversation and message = m.seq and seq = m.seq;
    delete from reaction where conversation = v_conversation and message = m.seq;
    update entry set text = null, detail = message_detail(null, true, null, b.seq)
        where conversation = v_conversation and seq = m.seq;
    return end_action(p_author, p_command, v_digest, b, 'message.deleted', null,
                      json_strip_nulls(json_build_object('of', m.seq)));
end $$;


-- React to a message, or take a reaction back; any member may. The entry says what the message then has of that emoji, so
-- that nobody has to count: who was told twice ends where who was told once does.
create function react_to_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_emoji text := p_command ->> 'emoji';
    v_on boolean := p_command ->> 'on';
    v_digest uuid := md5(json_build_array('react', p_command -> 'seq', v_emoji, v_on)::text)::uuid;
    v_count bigint;
    v_users json;
    v_others text[];
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_conversation, p_author, (p_command ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    if v_on = exists (select from reaction where conversation = v_conversation and message = m.seq
                      and emoji = v_emoji and person = p_author) then
        return settle_action(p_author, p_command, v_digest, coalesce((m.detail ->> 'changed')::bigint, m.seq));
    end if;
    select coalesce(sum((r ->> 'count')::bigint) filter (where r ->> 'emoji' = v_emoji), 0),
           array_agg(r ->> 'emoji') filter (where r ->> 'emoji' <> v_emoji)
        into v_count, v_others from json_array_elements(coalesce(m.detail -> 'reactions', '[]')) r;
    if v_on then
        if (v_count = 0 and cardinality(v_others) >= (p_rules ->> 'reactions')::integer)
           or (select count(*) from reaction where conversation = v_conversation and message = m.seq
               and emoji = any (v_others) and person = p_author) >= (p_rules ->> 'reactions_of_one')::integer then
            return json_build_object('error', 'too_many_reactions');
        end if;
        v_count := v_count + 1;
        insert into reaction (conversation, message, emoji, person, seq, at_ms)
        values (v_conversation, m.seq, v_emoji, p_author, b.seq, b.at_ms);
    else
        v_count := v_count - 1;
        delete from reaction where conversation = v_conversation and message = m.seq
            and emoji = v_emoji and person = p_author;
    end if;
    select coalesce(json_agg(person order by seq), '[]') into v_users from (
        select person, seq from reaction where conversation = v_conversation and message = m.seq and emoji = v_emoji
        order by seq limit (p_rules ->> 'reaction_users')::integer) first;
    update entry set detail = message_detail(
            (m.detail ->> 'edited_at_ms')::bigint, null,
            (select json_agg(r order by r ->> 'emoji' collate "C") from (
                select r from json_array_elements(coalesce(m.detail -> 'reactions', '[]')) r where r ->> 'emoji' <> v_emoji
                union all
                select json_build_object('emoji', v_emoji, 'count', v_count, 'users', v_users) where v_count > 0) now),
            b.seq)
        where conversation = v_conversation and seq = m.seq;
    return end_action(p_author, p_command, v_digest, b, 'message.reacted', null,
                      json_strip_nulls(json_build_object(
                          'of', m.seq, 'emoji', v_emoji, 'on', v_on, 'count', v_count, 'users', v_users)));
end $$;


-- All that a message has said, a page of it above *p_after*, oldest first.
--   Returns {"versions": [{"seq", "at_ms", "text"}, ...], "more": bool} or {"error": code}.
create function message_edits(
    p_person uuid, p_conversation uuid, p_seq bigint, p_after bigint, p_limit integer, p_bytes integer
) returns json language sql stable
set enable_seqscan = off
as $$
    with m as materialized (
        select conversation, seq, at_ms, text from visible_message(p_conversation, p_person, p_seq)
    ), said as materialized (
        (select v.seq, e.at_ms, coalesce(v.text, e.text) as text     -- of the first version the entry has the newest text
         from m join version v on v.conversation = m.conversation and v.message = m.seq and v.seq > p_after
         cross join lateral (select at_ms, case when v.seq <> m.seq then text end as text
                             from entry where conversation = v.conversation and seq = v.seq limit 1) e
         order by v.seq limit p_limit + 1)
        union all
        select m.seq, m.at_ms, m.text from m where m.seq > p_after
            and not exists (select from version v where v.conversation = m.conversation and v.message = m.seq)
    ), sized as materialized (
        select said.*, row_number() over page as nth, sum(coalesce(octet_length(text), 0) + 200) over page as through
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
                             'seq', seq, 'at_ms', at_ms, 'text', text)) order by seq), '[]') from fitting),
            'more', (select count(*) from fitting) < (select count(*) from sized)) end
$$;


-- Who reacted to a message, a page of it above (*p_after_emoji*, *p_after_seq*); p_emoji: only these, null for all.
--   Returns {"reactions": [{"user", "emoji", "seq", "at_ms"}, ...], "more": bool} or {"error": code}.
create function message_reactions(
    p_person uuid, p_conversation uuid, p_seq bigint, p_emoji text, p_after_emoji text, p_after_seq bigint, p_limit integer
) returns json language sql stable
set enable_seqscan = off
as $$
    with m as materialized (
        select seq from visible_message(p_conversation, p_person, p_seq)
    ), page as materialized (
        select r.*, row_number() over (order by r.emoji, r.seq) as nth from reaction r
        where r.conversation = p_conversation and r.message = (select seq from m)
            and (p_emoji is null or r.emoji = p_emoji) and (r.emoji, r.seq) > (p_after_emoji, p_after_seq)
        order by r.emoji, r.seq limit p_limit + 1
    )
    select case
        when not exists (select from span where conversation = p_conversation and person = p_person)
            then json_build_object('error', 'not_a_member')
        when not exists (select from m) then json_build_object('error', 'unknown_message')
        else json_build_object(
            'reactions', (select coalesce(json_agg(json_build_object(
                              'user', person, 'emoji', emoji, 'seq', seq, 'at_ms', at_ms) order by nth), '[]')
                          from page where nth <= p_limit),
            'more', exists (select from page where nth > p_limit)) end
$$;
