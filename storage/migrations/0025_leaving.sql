-- Leaving: a pause, a copy of everything of one's own, and the end of an account (docs/decisions/0027).
--
-- The end comes in bounded steps, each a transaction, by a job (0011) that goes on where one that was killed left off. Every
-- step may be done twice. What other nouns keep of a person they take away, and give a copy of, themselves: functions
-- erase_<noun>(person) and export_<noun>(person), of one argument, are found by their names.

alter table account
    add column leaving_until_ms bigint,                       -- while leaving: from then on it is erased
    add column leaving_from     text;                         -- how it stood before

-- What the erasure asks for.
create index reaction_person on reaction (person, conversation);
create index poll_vote_person on poll_vote (person, conversation);
create index ban_person on ban (person);
create index ban_author on ban (author, conversation);
create index join_link_author on join_link (author, conversation);
create index join_request_person on join_request (person);
create index personal_key_person on personal_key (person);
create index personal_told_of on personal ((value ->> 'user'), person, subject) where what = 'notification' and value is not null;
create index personal_nicknames on personal (subject, person) where what = 'settings' and value -> 'nicknames' is not null;


-- --- How an account stands ---

-- Let the person's devices have it (what 'account', subject ''). The account is locked.
--   Returns the number up to which a device has to be told to know of it.
create function show_account(p_person uuid) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
begin
    return set_personal(p_person, 'account', '', (
        select json_strip_nulls(json_build_object('standing', standing, 'at_ms', standing_at_ms, 'leaving_until_ms', leaving_until_ms))
        from account where id = p_person));
end $$;

create function account_standing(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select json_strip_nulls(json_build_object(
    'standing', standing, 'at_ms', standing_at_ms, 'leaving_until_ms', leaving_until_ms)) from account where id = p_person);

-- Pause, or go on. Who leaves does neither: {"error": "leaving"}.
create function pause_account(p_person uuid, p_command json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_wanted text := case when (p_command ->> 'on')::boolean then 'paused' else 'active' end;
    v_answer json;
    v_standing text;
begin
    v_answer := begin_personal(p_person, 'account', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then return v_answer; end if;
    select standing into v_standing from account where id = p_person;
    if v_standing not in ('active', 'paused') then return json_build_object('error', 'leaving'); end if;
    if v_standing <> v_wanted then
        update account set standing = v_wanted, standing_at_ms = now_ms() where id = p_person;
    end if;
    return end_personal(p_person, 'account', p_command ->> 'key', personal_digest(p_command), show_account(p_person));
end $$;

-- An account begins to leave, or leaves already: it is hidden from everybody (may_see), its sign-ins end, and it is erased
-- when p_days have passed, unless its person returns.
--   Returns {"until_ms", "ended": [sign-in, ...], "number"} or {"error": "unknown_user"}.
create function begin_leaving(p_person uuid, p_days integer) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v account;
    v_number bigint := 0;
    v_ended json;
begin
    select * into v from account where id = p_person for no key update;
    if not found or v.standing = 'deleted' then return json_build_object('error', 'unknown_user'); end if;
    if v.standing <> 'leaving' then
        update account set standing = 'leaving', standing_at_ms = t.now, leaving_from = v.standing,
                leaving_until_ms = t.now + p_days * 86400000::bigint
            from (select now_ms() as now) t where id = p_person returning account.* into v;
        insert into job (kind, key, payload, due_at_ms)
        values ('account.erase', p_person || ':' || v.leaving_until_ms,
                json_build_object('person', p_person, 'until_ms', v.leaving_until_ms), v.leaving_until_ms)
        on conflict do nothing;
        v_number := show_account(p_person);
    end if;
    with ended as (
        select end_sign_ins(p_person, null, 'left') as id
    )
    select coalesce(json_agg(id), '[]') into v_ended from ended;
    delete from device where account = p_person;              -- nothing is pushed to who left
    return json_build_object('until_ms', v.leaving_until_ms, 'ended', v_ended, 'number', v_number);
end $$;

-- The same in as many days as the servers say.
create function begin_leaving(p_person uuid) returns json language sql volatile
return begin_leaving(p_person, coalesce((select value::integer from house_rule where name = 'leaving_days'), 14));

-- As in 0024; new: whom the operator deletes leaves as anybody does, and whom the operator suspends leaves no more.
create or replace function stand_account(p_person uuid, p_standing text) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_standing text;
    v_ended json := '[]';
begin
    select standing into v_standing from account where id = p_person for no key update;
    if not found then return json_build_object('error', 'unknown_user'); end if;
    if v_standing = 'deleted' then return json_build_object('error', 'deleted'); end if;
    if p_standing = 'active' and v_standing not in ('suspended', 'active') then
        return json_build_object('error', 'not_suspended');
    end if;
    if p_standing = 'leaving' then
        v_ended := begin_leaving(p_person) -> 'ended';
    elsif v_standing <> p_standing then
        perform stay(p_person);
        update account set standing = p_standing, standing_at_ms = now_ms() where id = p_person;
        perform show_account(p_person);
    end if;
    if p_standing = 'suspended' then
        select coalesce(json_agg(id), '[]') into v_ended from end_sign_ins(p_person, null, 'suspended') id;
    end if;
    return json_build_object('standing', p_standing, 'ended', v_ended);
end $$;

-- Who leaves does so no more. The account is locked.
create function stay(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    update account set leaving_until_ms = null, leaving_from = null where id = p_person and leaving_until_ms is not null;
    if found then
        delete from job where kind = 'account.erase' and payload ->> 'person' = p_person::text and state = 'waiting';
    end if;
end $$;

-- The same as a command of the person's own.
create function delete_account(p_person uuid, p_command json, p_days integer) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_answer json;
    v_left json;
begin
    v_answer := begin_personal(p_person, 'account', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then return v_answer; end if;
    v_left := begin_leaving(p_person, p_days);
    if v_left ->> 'error' is not null then return v_left; end if;
    v_answer := end_personal(p_person, 'account', p_command ->> 'key', personal_digest(p_command), (v_left ->> 'number')::bigint);
    return (v_answer::jsonb || v_left::jsonb - 'number')::json;
end $$;

-- Take it back, while there is time: once the erasure has begun there is none. Who was suspended before is so again, and
-- the sign-ins end.
create function return_account(p_person uuid, p_command json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_answer json;
    v_standing text;
    v_ended json := '[]';
begin
    v_answer := begin_personal(p_person, 'account', p_command ->> 'key', personal_digest(p_command));
    if v_answer is not null then return v_answer; end if;
    update account set standing = leaving_from, standing_at_ms = now_ms() where id = p_person and standing = 'leaving'
        returning standing into v_standing;
    if found then perform stay(p_person); end if;
    if v_standing = 'suspended' then
        select coalesce(json_agg(id), '[]') into v_ended from end_sign_ins(p_person, null, 'suspended') id;
    end if;
    v_answer := end_personal(p_person, 'account', p_command ->> 'key', personal_digest(p_command), show_account(p_person));
    return v_answer::jsonb || jsonb_build_object('ended', v_ended);
end $$;


-- --- A barrier before the erased ---

-- As in 0006; new: nothing is one's own any more once one is erased, whatever socket is still open.
create or replace function begin_personal(p_person uuid, p_scope text, p_key text, p_digest uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_old personal_key;
    v_standing text;
begin
    select standing into v_standing from account where id = p_person for no key update;
    if not found then return json_build_object('error', 'unknown_user'); end if;
    if v_standing = 'deleted' then
        raise data_exception using message = 'the account was erased';   -- storage can never take this, however often it is sent
    end if;
    select * into v_old from personal_key
        where key_hash = key_hash(p_person, p_scope || '/' || p_key) and person = p_person;
    if not found then return null; end if;
    if v_old.digest <> p_digest then return json_build_object('error', 'key_reused'); end if;
    return json_build_object('number', v_old.number, 'new', false);
end $$;

-- Nor does anybody sign in: whoever knew the password a moment before the end gets a sign-in that is not there.
create function refuse_erased() returns trigger language plpgsql as $$
begin
    perform from account where id = new.account and standing <> 'deleted' for key share;   -- waits for begin_erasing
    return case when found then new end;
end $$;
create trigger sign_in_of_the_erased before insert on sign_in for each row execute function refuse_erased();


-- --- The erasure, step by step ---

-- From here on there is no way back. The name goes; the address goes by end_names, once all who know the person by it have
-- forgotten it.
--   p_until_ms: of the leaving that this is the end of.
--   Returns all sign-ins of the account, which end; null: the person has returned, or it is not time yet.
create function begin_erasing(p_person uuid, p_until_ms bigint) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v account;
begin
    select * into v from account where id = p_person for update;
    if not found or v.standing not in ('leaving', 'deleted')
       or v.standing = 'leaving' and (v.leaving_until_ms <> p_until_ms or v.leaving_until_ms > now_ms()) then
        return null;
    end if;
    if v.standing = 'leaving' then
        update account set standing = 'deleted', standing_at_ms = now_ms(), name = 'deleted', password_hash = '',
                role = 'person', leaving_until_ms = null, leaving_from = null
            where id = p_person;
    end if;
    perform end_sign_ins(p_person, null, 'left');
    return (select coalesce(json_agg(id), '[]') from sign_in where account = p_person);
end $$;

-- Where the person is or was a member, p_most of them above p_after.
create function erased_conversations(p_person uuid, p_after uuid, p_most integer) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(c order by c), '[]') from (
    select distinct conversation as c from span where person = p_person and conversation > p_after order by c limit p_most) s);

-- Let an entry by *p_author* say something of what the erasure does; the conversation is locked, and no more active for it.
create function erasure_entry(
    p_conversation uuid, p_author uuid, p_kind text, p_detail json
) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_seq bigint;
    v_key text;
begin
    update conversation set last_seq = last_seq + 1 where id = p_conversation returning last_seq into v_seq;
    v_key := 'erased:' || v_seq;
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (p_conversation, v_seq, p_kind, p_author, v_key, key_hash(p_author, v_key), md5('erased')::uuid, now_ms(),
            json_strip_nulls(p_detail));
    return v_seq;
end $$;

-- What a person is, has and did in one conversation but for what was said: out of it by an ordinary leave (a direct one has
-- its two members for ever), reactions and the photo taken back as by hand, everything else gone. Of a poll the counts stay.
--   Returns {"seq": where the log ends, "moved": it grew, "changed": [whose own rows changed], "more"}.
create function erase_membership(p_person uuid, p_conversation uuid, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_most integer := p_rules ->> 'erased';
    v conversation;
    v_last bigint;
    v_changed uuid[];
    v_seq bigint;
    v_done integer := 0;
    r record;
    m entry;
begin
    select * into v from conversation where id = p_conversation for no key update;
    v_last := v.last_seq;
    v_changed := array(select person from (
        select person from personal where subject = p_conversation::text and what = 'settings' and value -> 'nicknames' is not null
            and value -> 'nicknames' -> p_person::text is not null order by person limit v_most) named order by person);
    perform from account where id = any (v_changed || p_person) order by id for no key update;

    if v.kind <> 'direct' and exists (select from span where conversation = v.id and person = p_person and until is null) then
        perform change_member('leave', v.id, p_person, 'erased:' || gen_random_uuid(), p_person, null);
    end if;
    update conversation set owner = null where id = v.id and owner = p_person;   -- an empty room's, who will not return

    -- Reactions.
    for r in select * from reaction where person = p_person and conversation = v.id order by message, emoji limit v_most loop
        delete from reaction where conversation = v.id and message = r.message and emoji = r.emoji and person = p_person;
        select * into m from entry where conversation = v.id and seq = r.message;
        v_done := v_done + 1;
        continue when m.detail ->> 'deleted' is not null;
        perform unreact(m, r.emoji, p_person, p_rules);
    end loop;

    -- The photo, if it is the person's.
    if exists (select from upload where id = v.photo and owner = p_person) then
        update conversation set photo = null where id = v.id;
        perform erasure_entry(v.id, p_person, 'conversation.photo', '{}');
    end if;

    -- What others call the person.
    for r in select s.person, s.value from unnest(v_changed) u
             join personal s on s.person = u and s.what = 'settings' and s.subject = v.id::text loop
        perform set_personal(r.person, 'settings', v.id::text, nullif(
            case when (select count(*) from json_object_keys(r.value -> 'nicknames')) > 1
                then r.value::jsonb #- array['nicknames', p_person::text]
                else r.value::jsonb - 'nicknames' end, '{}')::json);
    end loop;

    delete from poll_vote where person = p_person and conversation = v.id;
    delete from hidden where person = p_person and conversation = v.id;
    delete from receipt where person = p_person and conversation = v.id;
    delete from slowed where person = p_person and conversation = v.id;
    delete from ban where person = p_person and conversation = v.id;
    update ban set reason = null where author = p_person and conversation = v.id and reason is not null;
    update join_request set told = array_remove(told, p_person) where conversation = v.id and p_person = any (told);
    update join_link set revoked = true where author = p_person and conversation = v.id and not revoked;
    delete from join_link l where author = p_person and conversation = v.id
        and not exists (select from join_request q where q.conversation = v.id and q.code = l.code);
    perform erase_solitude(v, p_person);

    select last_seq into v_seq from conversation where id = v.id;
    return json_build_object('seq', v_seq, 'moved', v_seq > v_last, 'changed', to_json(v_changed),
                             'more', cardinality(v_changed) = v_most or v_done = v_most);
end $$;

-- Take back one reaction of *p_person*'s, as react_to_message does (0008); its row is gone.
create function unreact(m entry, p_emoji text, p_person uuid, p_rules json) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_count bigint;
    v_users json;
    v_seq bigint;
begin
    select greatest(coalesce(sum((r ->> 'count')::bigint), 0) - 1, 0) into v_count
        from json_array_elements(coalesce(m.detail -> 'reactions', '[]')) r where r ->> 'emoji' = p_emoji;
    select coalesce(json_agg(person order by seq), '[]') into v_users from (
        select person, seq from reaction where conversation = m.conversation and message = m.seq and emoji = p_emoji
        order by seq limit (p_rules ->> 'reaction_users')::integer) first;
    v_seq := erasure_entry(m.conversation, p_person, 'message.reacted', json_build_object(
        'of', m.seq, 'emoji', p_emoji, 'on', false, 'count', v_count, 'users', v_users));
    update entry set detail = detail_with(m.detail, json_build_object(
            'reactions', (select json_agg(r order by r ->> 'emoji' collate "C") from (
                select r from json_array_elements(coalesce(m.detail -> 'reactions', '[]')) r where r ->> 'emoji' <> p_emoji
                union all
                select json_build_object('emoji', p_emoji, 'count', v_count, 'users', v_users) where v_count > 0) now),
            'changed', v_seq))
        where conversation = m.conversation and seq = m.seq;
end $$;

-- A conversation in which nobody else ever was is nobody's: what it was called goes.
create function erase_solitude(v conversation, p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    if v.kind = 'direct' or exists (select from span where conversation = v.id and person <> p_person) then return; end if;
    delete from room_online where conversation = v.id;
    delete from listed where conversation = v.id;
    update conversation set title = 'deleted', topic = null, tags = '{}', public = false where id = v.id;
    update entry set detail = (detail::jsonb - array['topic', 'tags'] || case when detail ->> 'title' is null then '{}'
                               else '{"title": "deleted"}'::jsonb end)::json
        where conversation = v.id and kind in ('created', 'conversation.title', 'conversation.topic') and detail is not null;
end $$;

-- What a person said in one conversation, in its entries above p_after: at most 'scanned' of them are looked through, and
-- 'expired' messages blanked, of which one entry tells (messages.expired, 0008). With 'texts' = 'keep' what messages say
-- stays. Either way what other entries told of the person's own goes: reasons of bans, choices in polls.
--   Returns {"through": up to here it is done, "done": that is all, "seq", "moved"}.
create function erase_texts(p_person uuid, p_conversation uuid, p_after bigint, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_last bigint;
    v_through bigint;
    v_messages bigint[] := '{}';
    m entry;
begin
    select last_seq into v_last from conversation where id = p_conversation for no key update;
    perform from search_cursor where conversation = p_conversation for update;   -- who indexes now has read what goes
    v_through := least(p_after + (p_rules ->> 'scanned')::bigint, v_last);
    if p_rules ->> 'texts' <> 'keep' then
        v_messages := array(select seq from entry where conversation = p_conversation and seq > p_after and seq <= v_through
            and author = p_person and kind = 'message' and detail ->> 'deleted' is null
            order by seq limit (p_rules ->> 'expired')::integer);
        if cardinality(v_messages) = (p_rules ->> 'expired')::integer then
            v_through := v_messages[cardinality(v_messages)];
        end if;
        for m in select * from entry where conversation = p_conversation and seq = any (v_messages) order by seq loop
            perform erase_message(m, v_last + 1, p_rules);
        end loop;
        if cardinality(v_messages) > 0 then
            perform erasure_entry(p_conversation, '00000000-0000-0000-0000-000000000000', 'messages.expired', json_build_object(
                'messages', to_json(v_messages), 'threads', threads_left(p_conversation, v_messages, v_last + 1, p_rules)));
        end if;
        delete from search_text where conversation = p_conversation and seq > p_after and seq <= v_through and author = p_person;
    end if;
    update entry set detail = nullif((detail::jsonb - array['reason', 'options'])::text, '{}')::json
        where conversation = p_conversation and seq > p_after and seq <= v_through and author = p_person
            and kind in ('member.banned', 'poll.voted') and detail::jsonb ?| array['reason', 'options'];
    return json_build_object('through', v_through, 'done', v_through >= v_last,
                             'seq', v_last + (cardinality(v_messages) > 0)::integer, 'moved', cardinality(v_messages) > 0);
end $$;

-- What others were told of the person in the app goes from their lists, p_most at once.
--   Returns whose own rows changed.
create function erase_told(p_person uuid, p_most integer) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_people uuid[];
    r record;
begin
    v_people := array(select distinct person from (
        select person from personal where what = 'notification' and value is not null and value ->> 'user' = p_person::text
        order by person, subject limit p_most) told order by person);
    perform from account where id = any (v_people) order by id for no key update;
    for r in select person, subject from personal where what = 'notification' and value is not null
             and value ->> 'user' = p_person::text and person = any (v_people) order by person, subject loop
        perform set_personal(r.person, 'notification', r.subject, null);
    end loop;
    return to_json(v_people);
end $$;

-- Functions of that beginning and one argument, a person: what other nouns do.
create function leaving_functions(p_prefix text) returns json language sql stable
return (select coalesce(json_agg(proname order by proname), '[]') from pg_proc
        where starts_with(proname::text, p_prefix) and pronamespace = 'public'::regnamespace
            and pronargs = 1 and proargtypes[0] = 'uuid'::regtype);

-- One of them; each takes what locks it needs, in their order.
create function erase_noun(p_function text, p_person uuid) returns void language plpgsql volatile as $$
begin
    execute format('select %I($1)', p_function) using p_person;
end $$;

-- All rows that are the person's alone, at most p_most of each table at once; uploads are for the sweep, which deletes what
-- lies in the store. Returns whether there may be more.
create function erase_rows(p_person uuid, p_most integer) returns boolean language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_table text;
    v_column text;
    v_count integer;
    v_more boolean := false;
begin
    perform from account where id = p_person for no key update;
    foreach v_table in array array[
        'personal.person', 'personal_key.person', 'device.account', 'push.account', 'privacy.person', 'last_seen.person',
        'seat.person', 'scheduled.author', 'creation.author', 'hidden.person', 'ban.person', 'join_request.person',
        'export.person', 'block.person', 'block.blocked', 'contact.person', 'contact.other']
    loop
        v_column := split_part(v_table, '.', 2);
        v_table := split_part(v_table, '.', 1);
        execute format('delete from %I where ctid = any (array(select ctid from %1$I where %2$I = $1 limit $2))', v_table, v_column)
            using p_person, p_most;
        get diagnostics v_count = row_count;
        v_more := v_more or v_count = p_most;
    end loop;
    delete from upload_use where upload in (select id from upload where owner = p_person);
    update upload set state = 'doomed', name = '', used_at_ms = null,
            due_at_ms = greatest(now_ms(), coalesce(incoming_until_ms, 0))
        where owner = p_person and state <> 'doomed';
    return v_more;
end $$;

-- The address goes, and the person's id from the operator's notices and from jobs that are over.
--   Returns whether jobs that name the person still wait.
create function end_names(p_person uuid) returns boolean language plpgsql volatile as $$
declare
    v_like text := '%' || p_person || '%';
begin
    update account set email = 'deleted:' || id where id = p_person and email <> 'deleted:' || id;
    update notice set target = (select json_build_object('users', coalesce(json_agg(u), '[]'))
                                from json_array_elements_text(target -> 'users') u where u::uuid <> p_person),
            said = case when json_array_length(target -> 'users') = 1 then '{"title": "deleted", "body": "deleted"}'::json else said end
        where json_typeof(target -> 'users') = 'array' and target::text ilike v_like;
    delete from job where state <> 'waiting' and kind <> 'account.erase' and (payload::text ilike v_like or key ilike v_like);
    return exists (select from job where state = 'waiting' and kind <> 'account.erase' and payload::text ilike v_like);
end $$;

-- The last of it, once nothing of the person can come any more: no access token is good.
create function end_erasing(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from account where id = p_person for update;
    delete from sign_in where account = p_person;
    update account set number = 0, created_at_ms = 0 where id = p_person;
    delete from job where kind = 'account.erase' and state <> 'waiting' and payload ->> 'person' = p_person::text;
end $$;


-- --- The copy ---

-- A copy of everything of somebody's own, by the key that asked for it. One is made at a time, so several keys may stand for
-- the same. It is the upload of that id once it is there: its person gets it so, and it is swept when its time is over.
create table export (
    person uuid    not null references account,
    key    text    not null check (length(key) between 1 and 64),
    id     uuid    not null,
    at_ms  bigint  not null default now_ms(),
    done   boolean not null default false,
    primary key (person, key)
);
create index export_id on export (id);

alter table upload drop constraint upload_kind_check;
alter table upload add constraint upload_kind_check check (kind in ('profile_photo', 'photo', 'voice', 'video', 'file', 'export'));

-- Ask for one; while one is being made, that is the one. *p_id*: the new one's, if it is new.
create function begin_export(p_person uuid, p_command json, p_id uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_key text := p_command ->> 'key';
    v_answer json;
    v_id uuid;
begin
    v_answer := begin_personal(p_person, 'export', v_key, personal_digest(p_command));
    select id into v_id from export where person = p_person and key = v_key;
    if found then return json_build_object('export', v_id); end if;
    if v_answer is null then
        perform end_personal(p_person, 'export', v_key, personal_digest(p_command), 0);
    end if;
    select e.id into v_id from export e where person = p_person and not done
        and exists (select from job j where j.kind = 'account.export' and j.key = e.id::text and j.state = 'waiting') limit 1;
    if not found then
        v_id := p_id;
        delete from export where person = p_person and at_ms < now_ms() - 30 * 86400000::bigint;
        insert into job (kind, key, payload, due_at_ms)
        values ('account.export', p_id::text, json_build_object('export', p_id, 'person', p_person), now_ms());
    end if;
    insert into export (person, key, id) values (p_person, v_key, v_id);
    return json_build_object('export', v_id);
end $$;

-- Announce the file of a copy, before anything of it lies in the store: whatever is killed, the sweep knows of it.
--   Returns whether to go on: it is not there yet, and its person is.
create function announce_export(
    p_id uuid, p_person uuid, p_name text, p_bytes bigint, p_sha256 bytea, p_lease_ms bigint
) returns boolean language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from account where id = p_person and standing <> 'deleted' for no key update;
    if not found or not exists (select from export where id = p_id and not done) then return false; end if;
    insert into upload (id, owner, kind, size_bytes, content_type, sha256, name, tries, created_at_ms, incoming_until_ms, due_at_ms)
    select p_id, p_person, 'export', p_bytes, 'application/zip', p_sha256, p_name, 1, t.now, t.now + p_lease_ms, t.now + p_lease_ms
        from (select now_ms() as now) t
    on conflict (id) do update set size_bytes = excluded.size_bytes, sha256 = excluded.sha256, name = excluded.name,
        incoming_until_ms = excluded.incoming_until_ms, due_at_ms = excluded.due_at_ms
        where upload.state = 'pending';
    return found;
end $$;

-- It lies in the store: tell the person. False: it is not wanted any more, and is to be deleted.
create function end_export(p_id uuid, p_person uuid, p_kept_ms bigint) returns boolean language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from account where id = p_person and standing <> 'deleted' for no key update;
    if not found then return false; end if;
    update upload set state = 'ready', kept = 1, due_at_ms = now_ms() + p_kept_ms, incoming_until_ms = null
        where id = p_id and owner = p_person and state = 'pending';
    if not found then return false; end if;
    update export set done = true where id = p_id;
    perform tell_person(p_person, null, p_id, json_build_object('kind', 'export', 'at_ms', now_ms(), 'medium', p_id));
    return true;
end $$;

-- One's own entries of one conversation, of the next p_most of its log.
--   Returns {"entries": [...], "through", "done"}.
create function exported_entries(p_person uuid, p_conversation uuid, p_after bigint, p_most integer) returns json language sql stable
set enable_seqscan = off
return (select json_build_object(
    'entries', (select coalesce(json_agg(entry_json(e.*) order by e.seq), '[]') from entry e
                where e.conversation = p_conversation and e.seq > p_after and e.seq <= p_after + p_most and e.author = p_person),
    'through', p_after + p_most, 'done', p_after + p_most >= v.last_seq)
    from conversation v where v.id = p_conversation);

-- What earlier versions of one's messages said, in the same stretch of the log.
create function exported_versions(p_person uuid, p_conversation uuid, p_after bigint, p_most integer) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_strip_nulls(json_build_object(
            'conversation', v.conversation, 'message', v.message, 'seq', v.seq, 'text', v.text, 'content', v.content))
            order by v.message, v.seq), '[]')
        from version v where v.conversation = p_conversation and v.message > p_after and v.message <= p_after + p_most
            and v.seq = v.message and v.text is not null
            and exists (select from entry e where e.conversation = v.conversation and e.seq = v.message and e.author = p_person));

create function export_person(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select json_build_object('id', id, 'name', name, 'email', email, 'created_at_ms', created_at_ms, 'standing', standing,
                                 'standing_at_ms', standing_at_ms, 'role', role, 'number', number)
        from account where id = p_person);

create function export_sign_ins(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_strip_nulls(json_build_object(
            'id', id, 'device', device, 'created_at_ms', created_at_ms, 'used_at_ms', used_at_ms, 'ended_at_ms', ended_at_ms,
            'ended_by', ended_by)) order by created_at_ms, id), '[]') from sign_in where account = p_person);

create function export_conversations(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_strip_nulls(json_build_object(
            'conversation', s.conversation, 'kind', v.kind, 'title', v.title, 'topic', v.topic, 'joined', s.joined, 'since', s.since,
            'until', s.until, 'role', case when v.owner = p_person and s.until is null then 'owner' else s.role end,
            'with', case when v.kind = 'direct' then (select person from span o where o.conversation = v.id and o.person <> p_person limit 1) end))
            order by s.conversation, s.joined), '[]')
        from span s join conversation v on v.id = s.conversation where s.person = p_person);

create function export_receipts(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('conversation', conversation, 'delivered', delivered, 'read', read, 'at_ms', at_ms)
                                 order by conversation), '[]') from receipt where person = p_person);

create function export_reactions(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('conversation', conversation, 'message', message, 'emoji', emoji, 'at_ms', at_ms)
                                 order by conversation, message, emoji), '[]') from reaction where person = p_person);

create function export_votes(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('conversation', conversation, 'message', message, 'options', to_json(options), 'at_ms', at_ms)
                                 order by conversation, message), '[]') from poll_vote where person = p_person);

-- Drafts, settings, what is hidden, notifications and all else that one's devices hold, whatever kinds there will be.
create function export_own_rows(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('what', what, 'subject', subject, 'value', value) order by what, subject), '[]')
        from personal where person = p_person and value is not null);

create function export_scheduled(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_strip_nulls(json_build_object(
            'id', id, 'conversation', conversation, 'at_ms', at_ms, 'state', state, 'text', command -> 'text',
            'content', command -> 'content', 'seq', seq, 'problem', problem)) order by at_ms, id), '[]')
        from scheduled where author = p_person);

create function export_devices(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('device', device, 'platform', platform, 'token', token, 'at_ms', at_ms)
                                 order by device), '[]') from device where account = p_person);

create function export_privacy(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select json_build_object('read_receipts', coalesce(p.read_receipts, true), 'last_seen', coalesce(p.last_seen, 'everyone'),
                                 'typing', coalesce(p.typing, true), 'last_seen_ms', (select at_ms from last_seen where person = p_person))
        from (select 1) one left join privacy p on p.person = p_person);

-- Files that one has sent; those that are ready lie in media/ beside it.
create function export_uploads(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object(
            'id', u.id, 'kind', u.kind, 'state', u.state, 'size_bytes', u.size_bytes, 'content_type', u.content_type,
            'sha256', encode(u.sha256, 'hex'), 'name', u.name, 'created_at_ms', u.created_at_ms,
            'uses', (select coalesce(json_agg(json_strip_nulls(json_build_object('conversation', conversation, 'seq', seq)) order by conversation, seq), '[]')
                     from upload_use where upload = u.id)) order by u.id), '[]')
        from upload u where u.owner = p_person and u.kind <> 'export' and u.state <> 'doomed');

create function export_links(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('conversation', l.conversation, 'revoked', l.revoked, 'link', link_json(l.*))
                                 order by l.conversation, l.at_ms, l.code), '[]') from join_link l where l.author = p_person);

create function export_requests(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('conversation', conversation, 'at_ms', at_ms) order by conversation), '[]')
        from join_request where person = p_person);

-- Where one is barred, and whom one has barred.
create function export_bans(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_strip_nulls(json_build_object(
            'conversation', conversation, 'user', person, 'author', author, 'reason', reason, 'at_ms', at_ms, 'until_ms', until_ms))
            order by conversation, person), '[]')
        from ban where ban.person = p_person or ban.author = p_person);

-- Exports that were asked for.
create function export_exports(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(json_build_object('id', id, 'key', key, 'at_ms', at_ms, 'done', done) order by id, key), '[]')
        from export where person = p_person);

-- Groups that one has made.
create function export_made(p_person uuid) returns json language sql stable
set enable_seqscan = off
return (select coalesce(json_agg(conversation order by conversation), '[]') from creation where author = p_person);

-- One of the functions of that kind.
create function export_noun(p_function text, p_person uuid) returns json language plpgsql stable as $$
declare
    v_found json;
begin
    execute format('select %I($1)', p_function) into v_found using p_person;
    return v_found;
end $$;
