-- What is one's own: drafts, the settings of conversations, and whatever else concerns one person alone. Each is a row;
-- every change of one raises the person's number, and the row carries it. A client that comes back says by its cursor up to
-- which number it was told, and is told of the rows above (event `state`, docs/decisions/0014).
--
-- How to add a kind of row: storage/personal.py.
--
-- 0006 to 0014 came together. A function that several of them concern stands once, and may name what a later one makes:
-- PL/pgSQL looks that up when it runs, and it does not before all are there.

create table personal (
    person  uuid   not null references account,
    what    text   not null,
    subject text   collate "C" not null,                      -- of what it is: a conversation's id, or as its kind says
    value   json,                                             -- null: it is gone; never deleted, so that all are told
    number  bigint not null,                                  -- the person's number at the last change
    primary key (person, what, subject)
) with (fillfactor = 70);
create unique index personal_number on personal (person, number);   -- a number stands for one row: pages go by it

-- Set a row of a person's own; p_value null: it is gone. Takes the account's lock, after those of conversations and, of
-- several people, in id order. Nothing changes when it stands so already.
--   Returns the number up to which a device has to be told to know of it.
-- Whoever calls this lets the person's devices look (Registry.changed), for each person named; the sweep finds what is missed.
create function set_personal(p_person uuid, p_what text, p_subject text, p_value json) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_value json := p_value::jsonb::text;                     -- spelt in one way, whoever made it
    v_number bigint;
    v_old personal;
begin
    perform from account where id = p_person for no key update;   -- wait here; the next statement has a new snapshot
    select * into v_old from personal where person = p_person and what = p_what and subject = p_subject;
    if v_old.value::text is not distinct from v_value::text then
        return coalesce(v_old.number, 0);
    end if;
    update account set number = next_number(number) where id = p_person returning number into strict v_number;
    insert into personal (person, what, subject, value, number) values (p_person, p_what, p_subject, v_value, v_number)
    on conflict (person, what, subject) do update set value = v_value, number = v_number;
    return v_number;
end $$;

-- Keys of commands that change what is one's own, kept for far longer than any client repeats (storage/personal.py): a
-- repeat that comes late must not undo what was done since (docs/hazards.md, A11).
create table personal_key (
    key_hash uuid   not null,                                 -- of person, scope and key
    person   uuid   not null references account,
    digest   uuid   not null,                                 -- of the command's content, to tell a repeat from a reuse
    number   bigint not null,                                 -- what the command was answered with
    at_ms    bigint not null default now_ms(),                -- when it was
    primary key (key_hash, person)
);
create index personal_key_age on personal_key (at_ms);

-- What every such command begins with: the lock of the account, then the key, which belongs to its person and *p_scope* (a
-- conversation's id, or ''). Null: go on; else the answer, {"number"} or {"error"}. Each statement here and in the caller
-- has its own snapshot, so what follows sees all that was committed before the lock was had.
create function begin_personal(p_person uuid, p_scope text, p_key text, p_digest uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_old personal_key;
begin
    perform from account where id = p_person for no key update;
    if not found then return json_build_object('error', 'unknown_user'); end if;
    select * into v_old from personal_key
        where key_hash = key_hash(p_person, p_scope || '/' || p_key) and person = p_person;
    if not found then return null; end if;
    if v_old.digest <> p_digest then return json_build_object('error', 'key_reused'); end if;
    return json_build_object('number', v_old.number, 'new', false);
end $$;

-- What it ends with: keep the key. *p_number*: what set_personal returned, the highest of several.
create function end_personal(p_person uuid, p_scope text, p_key text, p_digest uuid, p_number bigint)
returns json language plpgsql volatile as $$
begin
    insert into personal_key (key_hash, person, digest, number)
    values (key_hash(p_person, p_scope || '/' || p_key), p_person, p_digest, p_number);
    return json_build_object('number', p_number, 'new', true);
end $$;


-- Rows of one's own, in the order of their last change.
--   asks [{"q": asker, "p": person, "lo": above this number, "hi": up to this one, "g": whether those that are gone, too}, ...]
--   Returns [{"q", "rows": [{"number", "state"}, ...], "cut": true when more follow}, ...]; no row, no part.
create function personal_rows(asks json, p_limit integer, p_bytes integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    with sized as materialized (
        select a.q, r.number,
               json_strip_nulls(json_build_object('what', r.what, 'subject', r.subject, r.what, r.value)) as state,
               row_number() over page as nth,
               sum(coalesce(octet_length(r.value::text), 0) + octet_length(r.subject) + 100) over page as through
        from json_to_recordset(asks) as a(q integer, p uuid, lo bigint, hi bigint, g boolean)
        cross join lateral (
            select * from personal where person = a.p and number > a.lo and number <= a.hi and (a.g or value is not null)
            order by number limit p_limit + 1) r
        window page as (partition by a.q order by r.number)
    ), fitting as (
        select q, number, state, nth <= p_limit and (through <= p_bytes or nth = 1) as fits from sized
    )
    select coalesce(json_agg(page), '[]') from (
        select q, json_agg(json_build_object('number', number, 'state', state) order by number) filter (where fits) as rows,
               bool_or(not fits) as cut
        from fitting group by q) page
$$;


-- As before, and beside it the newest of one's own rows, if it is above what the asker was told; else 0, at no cost. Who
-- names the number up to which the spans are known gets them only if one has changed since ("same": none has): a draft that
-- is set must not have the devices of somebody in five hundred conversations read all of these.
--   asks [{"p": person, "l": lineage or null, "n": number, "s": number or null}, ...]
create index span_number on span (person, number);

-- Commands that change what is one's own. Each is a function (person, command, rules) of its own, with the command as it
-- travels and the server's rules (storage/rows.py, Rules). It returns {"number"}: up to which number a device has to be told
-- to know what came of it; "new": by this very call; or {"error": code, "missing": person}.

-- The content of a command, to tell a repeat from a reuse of its key.
create function personal_digest(p_command json) returns uuid language sql immutable parallel safe
return md5((p_command::jsonb - array['id', 'key'])::text)::uuid;

-- What a command about one conversation begins with: begin_personal, then whether its person is or ever was a member.
create function begin_conversation_personal(p_person uuid, p_command json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_answer json;
begin
    v_answer := begin_personal(p_person, p_command ->> 'conversation', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then return v_answer; end if;
    if not exists (select from span where conversation = (p_command ->> 'conversation')::uuid and person = p_person) then
        return json_build_object('error', 'not_a_member', 'missing', p_person);
    end if;
    return null;
end $$;

-- Keep, or (without a text) throw away, what one has begun to write in a conversation.
create function set_draft(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_answer json;
    v_value json;
begin
    v_answer := begin_conversation_personal(p_person, p_command);
    if v_answer is not null then return v_answer; end if;
    if p_command ->> 'text' is not null then
        v_value := json_strip_nulls(json_build_object(
            'text', p_command ->> 'text', 'at_ms', now_ms(), 'reply_to', p_command -> 'reply_to'));
    end if;
    return end_personal(p_person, v_conversation::text, p_command ->> 'key', personal_digest(p_command),
                        set_personal(p_person, 'draft', v_conversation::text, v_value));
end $$;

-- Change one's settings of a conversation: one row has them all, without what is as nobody has set it.
create function change_settings(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_on boolean := p_command ->> 'on';
    v_user text := (p_command ->> 'user')::uuid::text;        -- as ids are written everywhere
    v_answer json;
    v_old jsonb;
    v_new jsonb;
begin
    v_answer := begin_conversation_personal(p_person, p_command);
    if v_answer is not null then return v_answer; end if;
    select value::jsonb into v_old from personal
        where person = p_person and what = 'settings' and subject = v_conversation::text;
    v_old := coalesce(v_old, '{}');
    v_new := case p_command ->> 't'
        when 'conversation.mute' then jsonb_build_object(
            'muted', nullif(v_on, false), 'muted_until_ms', case when v_on then p_command -> 'until_ms' end)
        when 'conversation.archive' then jsonb_build_object('archived', nullif(v_on, false))
        when 'conversation.pin' then jsonb_build_object(
            'pinned_at_ms', case when v_on then coalesce((v_old ->> 'pinned_at_ms')::bigint, now_ms()) end)
        when 'conversation.mark_unread' then jsonb_build_object('unread', nullif(v_on, false))
        when 'conversation.folder' then jsonb_build_object('folder', p_command -> 'folder')
        when 'conversation.notify' then jsonb_build_object('notify', nullif(p_command ->> 'level', 'all'))
        when 'conversation.nickname' then case
            when v_user is null then jsonb_build_object('nickname', p_command -> 'name')
            else jsonb_build_object('nicknames', coalesce(v_old -> 'nicknames', '{}')
                                                 || jsonb_build_object(v_user, p_command -> 'name')) end
        end;
    if v_user is not null
       and not exists (select from span where conversation = v_conversation and person = v_user::uuid) then
        return json_build_object('error', 'not_a_member', 'missing', v_user);
    end if;
    v_new := jsonb_strip_nulls(v_old || v_new);
    if v_new -> 'nicknames' = '{}' then v_new := v_new - 'nicknames'; end if;
    if (select count(*) from jsonb_object_keys(coalesce(v_new -> 'nicknames', '{}')))
           > (p_rules ->> 'nicknames')::integer
       or (v_new ? 'pinned_at_ms' and not v_old ? 'pinned_at_ms'
           and (select count(*) from personal where person = p_person and what = 'settings'
                and value ->> 'pinned_at_ms' is not null) >= (p_rules ->> 'pinned')::integer) then
        return json_build_object('error', 'too_many');
    end if;
    return end_personal(p_person, v_conversation::text, p_command ->> 'key', personal_digest(p_command),
                        set_personal(p_person, 'settings', v_conversation::text, nullif(v_new, '{}')::json));
end $$;

-- One's settings of a conversation, for who notifies: {} for none.
create function settings_of(p_person uuid, p_conversation uuid) returns json language sql stable
set enable_seqscan = off
return coalesce((select value from personal where person = p_person and what = 'settings' and subject = p_conversation::text),
                '{}'::json);


-- Messages that a person has deleted for oneself: once more as rows of their own, by which they are counted.
create table hidden (
    person       uuid   not null references account,
    conversation uuid   not null references conversation,
    seq          bigint not null,
    primary key (person, conversation, seq)
);

-- Delete messages for oneself. They go into rows of so many numbers each, so that a row stays small.
create function hide_messages(p_person uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_size bigint := p_rules ->> 'hidden_block';
    v_seqs bigint[];
    v_answer json;
    v_block bigint;
    v_number bigint := 0;
begin
    v_answer := begin_conversation_personal(p_person, p_command);
    if v_answer is not null then return v_answer; end if;
    select array_agg(value::bigint) into v_seqs from json_array_elements_text(p_command -> 'seqs');
    for v_block in select distinct seq from unnest(v_seqs) seq order by 1 loop
        if not exists (select from visible_message(v_conversation, p_person, v_block)) then
            return json_build_object('error', 'unknown_message', 'seq', v_block);
        end if;
    end loop;
    insert into hidden (person, conversation, seq) select p_person, v_conversation, seq from unnest(v_seqs) seq
        on conflict do nothing;
    for v_block in select distinct seq / v_size from unnest(v_seqs) seq order by 1 loop
        v_number := greatest(v_number, set_personal(
            p_person, 'hidden', v_conversation || '/' || v_block,
            (select json_build_object('seqs', json_agg(seq order by seq)) from hidden
             where person = p_person and conversation = v_conversation
                 and seq >= v_block * v_size and seq < (v_block + 1) * v_size)));
    end loop;
    return end_personal(p_person, v_conversation::text, p_command ->> 'key', personal_digest(p_command), v_number);
end $$;
