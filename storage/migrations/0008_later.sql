-- What happens later, by itself: messages that wait for their time.
--
-- Locks: a row of `scheduled` after its conversation (0002).


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

-- Keep a message until its time. *p_id*: the new row's, if it is new.
--   Returns {"scheduled", "at_ms"} or {"error": code}.
create function schedule_message(p_id uuid, p_author uuid, p_command json, p_most integer, p_ahead_ms bigint)
returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_key text := p_command ->> 'key';
    v_at bigint := p_command ->> 'at_ms';
    v_digest uuid := md5(json_build_array('schedule', v_at, p_command -> 'text')::text)::uuid;
    v_id uuid;
    v_first bigint;
    v_stored uuid;
    b begun;
begin
    perform from conversation where id = v_conversation for no key update;   -- one's schedules there are counted under it
    select id, at_ms, digest into v_id, v_first, v_stored from scheduled
        where author = p_author and key = v_key and conversation = v_conversation;
    if found then
        if v_stored <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('scheduled', v_id, 'at_ms', v_first);
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
    insert into scheduled (id, author, conversation, key, digest, at_ms, due_ms, command)
    values (p_id, p_author, v_conversation, v_key, v_digest, v_at, v_at, json_strip_nulls(json_build_object(
        'conversation', v_conversation, 'key', scheduled_key(p_id), 'text', p_command -> 'text')));
    return json_build_object('scheduled', p_id, 'at_ms', v_at);
end $$;

-- Take it back, or forget that it failed. Once it is gone it stays so: a repeat needs no key.
--   Returns {} or {"error": code}.
create function unschedule_message(p_author uuid, p_id uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_state text;
begin
    -- Whoever sends it holds this row until the message is committed, and then it is too late.
    select state into v_state from scheduled where id = p_id and author = p_author for no key update;
    if not found then return json_build_object('error', 'unknown_scheduled'); end if;
    if v_state = 'sent' then return json_build_object('error', 'too_late'); end if;
    update scheduled set state = 'gone', command = null, problem = null where id = p_id and state <> 'gone';
    return json_build_object();
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
                          'problem', problem)) order by nth), '[]') from fitting),
        'more', (select count(*) from fitting) < (select count(*) from page))
$$;

-- Send one that is due, an action of its author's (0005): the message and the mark that it was sent are one commit, so it
-- is sent once, whoever tries and however often. Membership counts as it is now. What stops it is kept with it.
create function send_scheduled(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_answer json;
    s scheduled;
    b begun;
    v_digest uuid;
begin
    perform from conversation where id = v_conversation for no key update;
    select * into s from scheduled where id = (p_command ->> 'scheduled')::uuid for no key update;
    if s.state = 'sent' then
        return json_build_object('seq', s.seq, 'at_ms', (
            select at_ms from entry where conversation = v_conversation and seq = s.seq));
    elsif s.state is distinct from 'waiting' then
        return json_build_object('error', 'unknown_scheduled');
    end if;
    v_digest := md5('message:' || (s.command ->> 'text'))::uuid;    -- as append_new has it
    select * into b from begin_action(p_author, s.command, v_digest);
    v_answer := coalesce(b.answer, end_action(p_author, s.command, v_digest, b, 'message', s.command ->> 'text', null));
    if v_answer ->> 'error' is null then
        update scheduled set state = 'sent', command = null, seq = (v_answer ->> 'seq')::bigint where id = s.id;
    else
        update scheduled set state = 'failed', problem = v_answer ->> 'error' where id = s.id;
    end if;
    return v_answer;
end $$;


-- --- What is due ---

-- Take what is due, at most *p_limit*, for *p_lease_ms*: other processes pass it by meanwhile, and take it if it was not
-- done by then. This commits before any of the work is done, so no lock is held over it (docs/hazards.md, B3).
--   Returns {"scheduled": [{"scheduled", "author", "conversation"}, ...], "in_ms": until something is due next, or null}.
create function take_due(p_limit integer, p_lease_ms bigint) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_now bigint := now_ms();
    v_scheduled json;
begin
    with taken as (
        update scheduled set due_ms = v_now + p_lease_ms where id = any (array(
            select id from scheduled where state = 'waiting' and due_ms <= v_now
            order by due_ms limit p_limit for no key update skip locked))
        returning id, author, conversation, at_ms
    )
    select coalesce(json_agg(json_build_object('scheduled', id, 'author', author, 'conversation', conversation)
                             order by at_ms, id), '[]') into v_scheduled from taken;
    return json_build_object(
        'scheduled', v_scheduled,
        'in_ms', (select case when min(due_ms) < v_now then 0 else min(due_ms) - v_now end
                  from scheduled where state = 'waiting'));
end $$;
