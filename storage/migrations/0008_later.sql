-- What happens later, by itself: messages that wait for their time, and messages that disappear.
--
-- Locks: rows of `scheduled` and `expiry` after their conversation (0002), those of `scheduled` after their author's account,
-- whose own they are shown as (0006, what 'scheduled'); who takes what is due waits for none of them.


-- --- Scheduled messages ---

-- A message that is to be sent later. Its row outlasts it: a repeat of the command is known by it for ever. What was said
-- is blanked when it has become a message, or was taken back.
create table scheduled (
    id           uuid   primary key,
    author       uuid   not null references account,
    conversation uuid   not null references conversation,
    key          text   not null check (length(key) between 1 and 64),
    digest       uuid   not null,
    at_ms        bigint not null,                             -- when it is to be sent
    due_ms       bigint not null,                             -- when to look at it: then; later while a process has taken it
    state        text   not null default 'waiting' check (state in ('waiting', 'sent', 'failed', 'gone')),
    command      json,                                        -- what to send, as message.send has it
    seq          bigint,                                      -- of the message that it became
    problem      text,                                        -- why it failed: an error's code
    unique (author, key, conversation),
    check ((state in ('waiting', 'failed')) = (command is not null)),
    check ((state = 'sent') = (seq is not null)),
    check ((state = 'failed') = (problem is not null))
);
create index scheduled_due on scheduled (due_ms) where state = 'waiting';
create index scheduled_list on scheduled (author, at_ms, id) where state in ('waiting', 'failed');

-- The key of the message that a scheduled one becomes.
create function scheduled_key(p_id uuid) returns text language sql immutable parallel safe
return 'scheduled:' || p_id;

-- Let the author's devices have a scheduled message as it stands: while it waits, or has failed. The account is locked.
--   Returns the number up to which a device has to be told to know of it.
create function show_scheduled(s scheduled) returns bigint language sql volatile
return set_personal(s.author, 'scheduled', s.id::text, case when s.command is not null then json_strip_nulls(json_build_object(
    'conversation', s.conversation, 'at_ms', s.at_ms, 'text', nullif(s.command ->> 'text', ''),
    'content', s.command -> 'content', 'problem', s.problem)) end);

-- Keep a message until its time. *p_id*: the new row's, if it is new.
--   Returns {"scheduled", "at_ms", "number": up to which a device has to be told to know of it} or {"error": code}.
create function schedule_message(p_id uuid, p_author uuid, p_command json, p_most integer, p_ahead_ms bigint)
returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_key text := p_command ->> 'key';
    v_at bigint := p_command ->> 'at_ms';
    v_content json := case when json_typeof(p_command -> 'content') = 'object' then p_command -> 'content' end;
    v_digest uuid := md5(json_build_array('schedule', v_at, p_command -> 'text', v_content)::text)::uuid;
    v_problem json;
    v_id uuid;
    v_first bigint;
    v_stored uuid;
    b begun;
    s scheduled;
begin
    perform from conversation where id = v_conversation for no key update;   -- one's schedules there are counted under it
    select id, at_ms, digest into v_id, v_first, v_stored from scheduled
        where author = p_author and key = v_key and conversation = v_conversation;
    if found then
        if v_stored <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('scheduled', v_id, 'at_ms', v_first, 'number', (
            select number from personal where person = p_author and what = 'scheduled' and subject = v_id::text));
    end if;
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then
        return case when b.answer ->> 'error' is null then json_build_object('error', 'key_reused') else b.answer end;
    end if;
    if v_at > b.at_ms + p_ahead_ms then return json_build_object('error', 'too_far_ahead'); end if;
    if (select count(*) from scheduled where author = p_author and state in ('waiting', 'failed')
        and conversation = v_conversation) >= p_most then
        return json_build_object('error', 'too_many_scheduled');
    end if;
    perform from account where id = p_author for no key update;
    v_problem := find_media(p_author, v_content -> 'media');
    if v_problem is not null then return v_problem; end if;
    update upload set due_at_ms = greatest(due_at_ms, v_at + 86400000)  -- kept until then and a day, used or not
        where id = any (array(select (item ->> 'id')::uuid from json_array_elements(v_content -> 'media') item));
    -- Its content stays as it came, for a message's digest is made of it.
    insert into scheduled (id, author, conversation, key, digest, at_ms, due_ms, command)
    values (p_id, p_author, v_conversation, v_key, v_digest, v_at, v_at, case when v_content is null then json_build_object(
        'conversation', v_conversation, 'key', scheduled_key(p_id), 'text', p_command -> 'text')
    else json_build_object(
        'conversation', v_conversation, 'key', scheduled_key(p_id), 'text', p_command -> 'text', 'content', v_content) end)
    returning * into s;
    return json_build_object('scheduled', p_id, 'at_ms', v_at, 'number', show_scheduled(s));
end $$;

-- Take it back, or forget that it failed. Once it is gone it stays so: a repeat needs no key.
--   Returns {"number"}, as above, or {"error": code}.
create function unschedule_message(p_author uuid, p_id uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    s scheduled;
begin
    -- Whoever sends it holds the account and this row until the message is committed, and then it is too late.
    perform from account where id = p_author for no key update;
    select * into s from scheduled where id = p_id and author = p_author for no key update;
    if not found then return json_build_object('error', 'unknown_scheduled'); end if;
    if s.state = 'sent' then return json_build_object('error', 'too_late'); end if;
    update scheduled set state = 'gone', command = null, problem = null where id = p_id returning * into s;
    return json_build_object('number', show_scheduled(s));
end $$;

-- One's own that wait or have failed, by their time, a page of them above (*p_after_ms*, *p_after*).
--   Returns {"scheduled": [{"scheduled", "conversation", "at_ms", "text", "problem"}, ...], "more": bool}.
create function scheduled_messages(
    p_author uuid, p_conversation uuid, p_after_ms bigint, p_after uuid, p_limit integer, p_bytes integer
) returns json language sql stable
set enable_seqscan = off
as $$
    with page as materialized (
        select s.*, row_number() over up as nth, sum(octet_length(command::text) + 200) over up as through
        from (select * from scheduled where author = p_author and state in ('waiting', 'failed')
                  and (at_ms, id) > (p_after_ms, p_after) and (p_conversation is null or conversation = p_conversation)
              order by at_ms, id limit p_limit + 1) s
        window up as (order by at_ms, id)
    ), fitting as (
        select * from page where nth <= p_limit and (through <= p_bytes or nth = 1)
    )
    select json_build_object(
        'scheduled', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                          'scheduled', id, 'conversation', conversation, 'at_ms', at_ms, 'text', command -> 'text',
                          'content', command -> 'content', 'problem', problem)) order by nth), '[]') from fitting),
        'more', (select count(*) from fitting) < (select count(*) from page))
$$;

-- Send one that is due, an action of its author's (0005): the message and the mark that it was sent are one commit, so it
-- is sent once, whoever tries and however often. Membership counts as it is now. What stops it is kept with it. Either way
-- the author's devices are told by the same commit.
create function send_scheduled(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_answer json;
    s scheduled;
begin
    perform from conversation where id = v_conversation for no key update;
    perform from account where id = p_author for no key update;
    select * into s from scheduled where id = (p_command ->> 'scheduled')::uuid for no key update;
    if s.state = 'sent' then
        return json_build_object('seq', s.seq, 'at_ms', (
            select at_ms from entry where conversation = v_conversation and seq = s.seq));
    elsif s.state is distinct from 'waiting' then
        return json_build_object('error', 'unknown_scheduled');
    end if;
    v_answer := send_message(p_author, s.command, p_rules);
    if v_answer ->> 'error' is null then
        update scheduled set state = 'sent', command = null, seq = (v_answer ->> 'seq')::bigint where id = s.id
            returning * into s;
    else
        update scheduled set state = 'failed', problem = v_answer ->> 'error' where id = s.id returning * into s;
    end if;
    perform show_scheduled(s);
    return v_answer;
end $$;


-- --- Messages that disappear ---

-- What a new conversation begins with, for as long as nobody says otherwise; one row. The server writes it when it starts.
create table terms (
    one         boolean primary key default true check (one),
    retention_s bigint check (retention_s > 0)                -- null: for ever
);
insert into terms default values;
create function default_retention_s() returns bigint language sql stable
return (select retention_s from terms);

-- How long messages are kept from now on, in seconds; null: for ever. An append finds it in the row that it locks anyway.
alter table conversation add column retention_s bigint check (retention_s > 0);
alter table conversation alter column retention_s set default default_retention_s();

select add_entry_kinds('conversation.retention', 'messages.expired');

-- Messages that have an end, and for each conversation with such ones when to look at it. An append where nothing
-- disappears touches neither.
create table expiring (
    conversation uuid   not null references conversation,
    at_ms        bigint not null,
    seq          bigint not null,
    primary key (conversation, at_ms, seq)
);
create table expiry (
    conversation uuid   primary key references conversation,
    due_ms       bigint not null                              -- later while a process has taken it
);
create index expiry_due on expiry (due_ms);

-- Messages *p_from* to *p_through* of a conversation end at *p_at_ms*.
create function expire_later(p_conversation uuid, p_from bigint, p_through bigint, p_at_ms bigint) returns void
language plpgsql volatile
set enable_seqscan = off
as $$
begin
    insert into expiring (conversation, at_ms, seq)
    select p_conversation, p_at_ms, seq from generate_series(p_from, p_through) seq;
    insert into expiry as e (conversation, due_ms) values (p_conversation, p_at_ms)
        on conflict (conversation) do update set due_ms = excluded.due_ms where excluded.due_ms < e.due_ms;
end $$;

-- React to a message, or take a reaction back (0005); what else is to be known of the message stays as it is.
create or replace function react_to_message(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
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
    update entry set detail = detail_with(m.detail, json_build_object(
            'reactions', (select json_agg(r order by r ->> 'emoji' collate "C") from (
                select r from json_array_elements(coalesce(m.detail -> 'reactions', '[]')) r where r ->> 'emoji' <> v_emoji
                union all
                select json_build_object('emoji', v_emoji, 'count', v_count, 'users', v_users) where v_count > 0) now),
            'changed', b.seq))
        where conversation = v_conversation and seq = m.seq;
    return end_action(p_author, p_command, v_digest, b, 'message.reacted', null,
                      json_strip_nulls(json_build_object(
                          'of', m.seq, 'emoji', v_emoji, 'on', v_on, 'count', v_count, 'users', v_users)));
end $$;

-- Say how long messages are kept that are sent from now on.
create function set_retention(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_seconds bigint := nullif((p_command ->> 'seconds')::bigint, 0);
    v_digest uuid := md5(json_build_array('retention', v_seconds)::text)::uuid;
    v_now bigint;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    if not may(v_conversation, p_author, 'retention') then return json_build_object('error', 'forbidden'); end if;
    select retention_s into v_now from conversation where id = v_conversation;
    if v_now is not distinct from v_seconds then
        return settle_action(p_author, p_command, v_digest, b.seq - 1);
    end if;
    update conversation set retention_s = v_seconds where id = v_conversation;
    return end_action(p_author, p_command, v_digest, b, 'conversation.retention', null,
                      json_strip_nulls(json_build_object('retention_s', v_seconds)));
end $$;

-- Blank what has come to its end in a conversation, at most 'expired' of the rules at once, and say so in one entry by
-- nobody (the nil UUID): whoever was away hears of it in its place. The conversation is no more active for it.
create function expire_messages(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_last bigint;
    v_now bigint;
    v_places bigint[];
    v_messages bigint[] := '{}';
    v_key text;
    e entry;
    m entry;
begin
    select last_seq into v_last from conversation where id = v_conversation for no key update;
    v_now := now_ms();
    select array_agg(seq) into v_places from (
        select seq from expiring where conversation = v_conversation and at_ms <= v_now
        order by at_ms, seq limit (p_rules ->> 'expired')::integer) due;
    for m in select * from entry where conversation = v_conversation and seq = any (v_places) order by seq loop
        if m.detail ->> 'deleted' is null then
            perform erase_message(m, v_last + 1, p_rules);
            v_messages := v_messages || m.seq;
        end if;
    end loop;
    delete from expiring where conversation = v_conversation and at_ms <= v_now and seq = any (v_places);
    delete from expiry where conversation = v_conversation;
    insert into expiry (conversation, due_ms)
        select v_conversation, at_ms from expiring where conversation = v_conversation order by at_ms limit 1;
    if v_messages = '{}' then
        return json_build_object('seq', v_last, 'at_ms', (
            select at_ms from entry where conversation = v_conversation and seq = v_last));
    end if;
    v_key := 'expired:' || (v_last + 1);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (v_conversation, v_last + 1, 'messages.expired', p_author, v_key, key_hash(p_author, v_key),
            md5('expired')::uuid, v_now, json_strip_nulls(json_build_object(
                'messages', to_json(v_messages), 'threads', threads_left(v_conversation, v_messages, v_last + 1, p_rules))))
    returning * into e;
    update conversation set last_seq = e.seq where id = v_conversation;
    return json_build_object('seq', e.seq, 'at_ms', e.at_ms, 'entry', entry_json(e));
end $$;

-- --- What is due ---

-- Take what is due, at most *p_limit*, for *p_lease_ms*: other processes pass it by meanwhile, and take it if it was not
-- done by then. This commits before any of the work is done, so no lock is held over it (docs/hazards.md, B3).
--   Returns {"scheduled": [{"scheduled", "author", "conversation"}, ...], "expired": [conversation, ...],
--            "in_ms": until something is due next, or null}.
create function take_due(p_limit integer, p_lease_ms bigint) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_now bigint := now_ms();
    v_scheduled json;
    v_expired json;
begin
    with taken as (
        update scheduled set due_ms = v_now + p_lease_ms where id = any (array(
            select id from scheduled where state = 'waiting' and due_ms <= v_now
            order by due_ms limit p_limit for no key update skip locked))
        returning id, author, conversation, at_ms
    )
    select coalesce(json_agg(json_build_object('scheduled', id, 'author', author, 'conversation', conversation)
                             order by at_ms, id), '[]') into v_scheduled from taken;
    with taken as (
        update expiry set due_ms = v_now + p_lease_ms where conversation = any (array(
            select conversation from expiry where due_ms <= v_now
            order by due_ms limit p_limit - json_array_length(v_scheduled) for no key update skip locked))
        returning conversation
    )
    select coalesce(json_agg(conversation order by conversation), '[]') into v_expired from taken;
    return json_build_object(
        'scheduled', v_scheduled, 'expired', v_expired,
        'in_ms', (select case when min(due_ms) < v_now then 0 else min(due_ms) - v_now end from (
                      (select due_ms from scheduled where state = 'waiting' order by due_ms limit 1)
                      union all (select due_ms from expiry order by due_ms limit 1)) nearest));
end $$;


-- --- Polls ---

select add_entry_kinds('poll.voted', 'poll.closed');

-- Who chose what. Counts stand in the message's row, as `detail -> 'poll'`.
create table poll_vote (
    conversation uuid      not null references conversation,
    message      bigint    not null,
    person       uuid      not null references account,
    options      integer[] not null check (cardinality(options) > 0),   -- places from 0, rising
    seq          bigint    not null,                          -- of the entry that says so
    at_ms        bigint    not null,
    primary key (conversation, message, person)
);
create unique index poll_vote_order on poll_vote (conversation, message, seq);

-- Ask something: a message that is a poll.
create function create_poll(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_poll jsonb := jsonb_strip_nulls(jsonb_build_object(
        'question', p_command -> 'question',
        'options', (select jsonb_agg(jsonb_build_object('text', text, 'count', 0) order by place)
                    from json_array_elements_text(p_command -> 'options') with ordinality as o(text, place)),
        'voters', 0, 'multiple', nullif((p_command ->> 'multiple')::boolean, false),
        'anonymous', nullif((p_command ->> 'anonymous')::boolean, false)));
    v_digest uuid := md5(json_build_array('poll', v_poll)::text)::uuid;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    return end_action(p_author, p_command, v_digest, b, 'message', null, detail_with(null, json_build_object('poll', v_poll)));
end $$;

-- Choose; what one chose before is forgotten, and nothing chosen takes it back. The entry says what then stands, and of a
-- poll where nobody is named it is by nobody and under a key of its own, or the difference would tell who chose what. Its
-- key_hash is the voter's all the same: a repeat finds it.
create function vote_poll(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_new integer[] := array(select distinct value::integer from json_array_elements_text(p_command -> 'options') order by 1);
    v_digest uuid := md5(json_build_array('vote', p_command -> 'seq', v_new)::text)::uuid;
    v_old integer[];
    v_counts integer[];
    v_voters integer;
    v_poll jsonb;
    b begun;
    m entry;
    e entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_conversation, p_author, (p_command ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    v_poll := m.detail -> 'poll';
    if v_poll is null then return json_build_object('error', 'unknown_poll'); end if;
    if v_poll ->> 'closed' is not null then return json_build_object('error', 'poll_closed'); end if;
    if v_new[cardinality(v_new)] >= jsonb_array_length(v_poll -> 'options')
       or (cardinality(v_new) > 1 and v_poll ->> 'multiple' is null) then
        return json_build_object('error', 'no_such_option');
    end if;
    select options into v_old from poll_vote where conversation = v_conversation and message = m.seq and person = p_author;
    v_old := coalesce(v_old, '{}');
    if v_old = v_new then
        return settle_action(p_author, p_command, v_digest, coalesce((m.detail ->> 'changed')::bigint, m.seq));
    end if;
    delete from poll_vote where conversation = v_conversation and message = m.seq and person = p_author;
    if v_new <> '{}' then
        insert into poll_vote (conversation, message, person, options, seq, at_ms)
        values (v_conversation, m.seq, p_author, v_new, b.seq, b.at_ms);
    end if;
    v_voters := (v_poll ->> 'voters')::integer + (v_new <> '{}')::integer - (v_old <> '{}')::integer;
    v_counts := array(select (o ->> 'count')::integer + (place - 1 = any (v_new))::integer - (place - 1 = any (v_old))::integer
                      from jsonb_array_elements(v_poll -> 'options') with ordinality as x(o, place) order by place);
    v_poll := v_poll || jsonb_build_object('voters', v_voters, 'options', (
        select jsonb_agg(o || jsonb_build_object('count', v_counts[place]) order by place)
        from jsonb_array_elements(v_poll -> 'options') with ordinality as x(o, place)));
    update entry set detail = detail_with(m.detail, json_build_object('poll', v_poll, 'changed', b.seq))
        where conversation = v_conversation and seq = m.seq;
    if v_poll ->> 'anonymous' is null then
        return end_action(p_author, p_command, v_digest, b, 'poll.voted', null, json_build_object(
            'of', m.seq, 'counts', to_json(v_counts), 'voters', v_voters, 'options', to_json(v_new)));
    end if;
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (v_conversation, b.seq, 'poll.voted', '00000000-0000-0000-0000-000000000000', 'vote:' || b.seq,
            key_hash(p_author, p_command ->> 'key'), v_digest, b.at_ms,
            json_build_object('of', m.seq, 'counts', to_json(v_counts), 'voters', v_voters))
    returning * into e;
    update conversation set last_seq = e.seq, active_at_ms = e.at_ms where id = v_conversation;
    return json_build_object('seq', e.seq, 'at_ms', e.at_ms, 'entry', entry_json(e));
end $$;

-- Let nobody vote any more; who asked may, and the group's owner.
create function close_poll(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_digest uuid := md5(json_build_array('close', p_command -> 'seq')::text)::uuid;
    v_poll jsonb;
    b begun;
    m entry;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into m from visible_message(v_conversation, p_author, (p_command ->> 'seq')::bigint);
    if not found then return json_build_object('error', 'unknown_message'); end if;
    if m.detail ->> 'deleted' is not null then return json_build_object('error', 'message_deleted'); end if;
    v_poll := m.detail -> 'poll';
    if v_poll is null then return json_build_object('error', 'unknown_poll'); end if;
    if m.author <> p_author and not may(v_conversation, p_author, 'delete') then
        return json_build_object('error', 'forbidden');
    end if;
    if v_poll ->> 'closed' is not null then
        return settle_action(p_author, p_command, v_digest, (m.detail ->> 'changed')::bigint);
    end if;
    update entry set detail = detail_with(m.detail, json_build_object('poll', v_poll || '{"closed": true}', 'changed', b.seq))
        where conversation = v_conversation and seq = m.seq;
    return end_action(p_author, p_command, v_digest, b, 'poll.closed', null, json_build_object('of', m.seq));
end $$;

-- Who chose what, a page of it above *p_after*, in the order of voting; nobody, where nobody is named. And what the asker
-- chose.
--   Returns {"votes": [{"user", "options", "seq", "at_ms"}, ...], "mine": [place, ...], "more": bool} or {"error": code}.
create function poll_voters(p_person uuid, p_conversation uuid, p_seq bigint, p_after bigint, p_limit integer)
returns json language sql stable
set enable_seqscan = off
as $$
    with m as materialized (
        select seq, detail -> 'poll' as poll from visible_message(p_conversation, p_person, p_seq)
    ), page as materialized (
        select v.*, row_number() over (order by v.seq) as nth from poll_vote v
        where v.conversation = p_conversation and v.message = (select seq from m) and v.seq > p_after
            and (select poll ->> 'anonymous' from m) is null
        order by v.seq limit p_limit + 1
    )
    select case
        when not exists (select from span where conversation = p_conversation and person = p_person)
            then json_build_object('error', 'not_a_member')
        when not exists (select from m) then json_build_object('error', 'unknown_message')
        when (select poll from m) is null then json_build_object('error', 'unknown_poll')
        else json_build_object(
            'votes', (select coalesce(json_agg(json_build_object(
                          'user', person, 'options', to_json(options), 'seq', seq, 'at_ms', at_ms) order by nth), '[]')
                      from page where nth <= p_limit),
            'mine', coalesce((select to_json(options) from poll_vote where conversation = p_conversation
                              and message = (select seq from m) and person = p_person), '[]'),
            'more', exists (select from page where nth > p_limit)) end
$$;
