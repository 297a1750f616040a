-- First messages that do not say who wrote them, what becomes of two that meet, and who may write to whom (docs/matching.md).


-- --- Rules of the house ---

-- What a deployment decides and the database has to know. The server writes it when it starts.
create table house_rule (
    name  text primary key,
    value text not null
);
insert into house_rule values ('may_write', 'anyone');


-- --- First messages ---

-- One for each two people and direction, for ever. There is a row for whatever was sent, also where the receiver is not
-- there or one blocked the other: whoever sends must not find out. So `receiver` references nothing.
create table opener (
    author        uuid    not null references account,
    receiver      uuid    not null,
    id            uuid    not null unique default gen_random_uuid(),   -- what the receiver knows it by; random, told to nobody else
    text          text    not null,
    at_ms         bigint  not null,                           -- when it was sent; the author is told, and the two once they match
    release_at_ms bigint  not null,                           -- not shown before
    -- waiting; released: the receiver sees it; ignored: and has put it away; withheld: it is never shown; matched.
    state         text    not null default 'waiting' check (state in ('waiting', 'released', 'ignored', 'withheld', 'matched')),
    day           date,                                       -- on which it was released (UTC); all that is told of when
    told          uuid,                                       -- the notification by which it was, with others perhaps
    match         uuid    references matched,                 -- what it became part of
    completed     boolean not null default false,             -- it was the second of the two
    primary key (author, receiver),
    check (author <> receiver)
) with (fillfactor = 80);
create index opener_sent on opener (author, at_ms desc, receiver);
create index opener_waiting on opener (receiver, release_at_ms) where state = 'waiting';
create index opener_released on opener (receiver, id) where state = 'released';

-- Whether *p_person* has sent *p_other* a first message, or ever matched with: whom one has answered one does not meet again.
-- All whom one has answered: opener by author, matched by low and by high.
create function answered(p_person uuid, p_other uuid) returns boolean language sql stable
return exists (select from opener where author = p_person and receiver = p_other)
    or exists (select from matched where low = least(p_person, p_other) and high = greatest(p_person, p_other));


-- --- Who may write to whom ---

-- Let a rule of the house be so from now on.
create function set_house_rule(p_name text, p_value text) returns void language sql volatile
begin atomic
    insert into house_rule values (p_name, p_value) on conflict (name) do update set value = excluded.value
        where house_rule.value <> excluded.value;
end;

-- 'anyone', 'contacts' (contacts, and matches that stand) or 'matches'.
create function write_rule() returns text language sql stable
return (select value from house_rule where name = 'may_write');

-- Whether their match stands.
create function is_matched(p_one uuid, p_other uuid) returns boolean language sql stable
return exists (select from matched where low = least(p_one, p_other) and high = greatest(p_one, p_other) and ended_at_ms is null);

-- Whether they matched once, and it is over.
create function parted(p_one uuid, p_other uuid) returns boolean language sql stable
return exists (select from matched where low = least(p_one, p_other) and high = greatest(p_one, p_other))
    and not is_matched(p_one, p_other);

-- Whether the deployment lets the two write to each other, blocks apart (0018). Whoever ended a match is not written to by
-- the other any more, whatever the rule, unless the two are contacts.
create or replace function may_write(p_one uuid, p_other uuid) returns boolean language sql stable
return case write_rule()
    when 'matches' then is_matched(p_one, p_other)
    when 'contacts' then relation(p_one, p_other) = 'contact'
    else not parted(p_one, p_other) or relation(p_one, p_other) = 'contact' end;

-- The direct conversation of two who have none, with its first entry, by *p_author*; their accounts are locked.
create function make_direct(p_id uuid, p_author uuid, p_user uuid) returns void language plpgsql volatile as $$
declare
    v_at bigint := now_ms();
    v_key text := 'direct:' || p_id;                          -- none that a client would choose
    v_members json := json_build_array(p_author, p_user);
begin
    insert into conversation (id, kind, last_seq, active_at_ms, member_count) values (p_id, 'direct', 1, v_at, 2);
    insert into direct (low, high, conversation) values (least(p_author, p_user), greatest(p_author, p_user), p_id);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (p_id, 1, 'created', p_author, v_key, key_hash(p_author, v_key), md5('direct')::uuid, v_at,
            json_build_object('members', v_members));
    perform raise_and_join(p_id, v_members);
end $$;

-- As in 0002; new: the house says who may write to whom. Where not everybody may, the answer is the same of who does not
-- exist, of who blocked one, and of a stranger.
create or replace function open_direct(p_id uuid, p_author uuid, p_user uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_found uuid;
begin
    select conversation into v_found from direct where low = least(p_author, p_user) and high = greatest(p_author, p_user);
    if found then return json_build_object('conversation', v_found, 'new', false); end if;
    -- Both sides may race: the lower account's row decides, then look again.
    perform from account where id in (p_author, p_user) order by id for no key update;
    select conversation into v_found from direct where low = least(p_author, p_user) and high = greatest(p_author, p_user);
    if found then return json_build_object('conversation', v_found, 'new', false); end if;
    if write_rule() <> 'anyone' and not (may_see(p_author, p_user) and may_write(p_author, p_user)) then
        return json_build_object('error', 'not_allowed_to_write');
    end if;
    if not may_see(p_author, p_user) then
        return json_build_object('error', 'unknown_user', 'missing', p_user);
    end if;
    perform make_direct(p_id, p_author, p_user);
    return json_build_object('conversation', p_id, 'new', true);
end $$;


-- --- Sending ---

-- From 0 up to, but not, 1; of the kind that nobody foretells.
create function unforeseen() returns double precision language sql volatile
return ('x' || left(gen_random_uuid()::text, 8))::bit(32)::bigint / 4294967296.0;

-- When what is sent now is released, as "release" of the rules says: 'daily', when it is "hour" (UTC) the next time, or
-- 'random', within "within_h" hours.
create function next_release(p_now bigint, p_rules json) returns bigint language sql volatile
return case p_rules ->> 'release'
    when 'daily' then (
        select p_now - (p_now - h) % 86400000 + 86400000 from (select (p_rules ->> 'hour')::bigint * 3600000 as h))
    else p_now + (unforeseen() * (p_rules ->> 'within_h')::bigint * 3600000)::bigint end;

-- Have somebody's first messages released then. A job for each message, whether there is such a receiver or not: one for all
-- of a receiver's would be there already, and sending a little quicker, where others have written.
create function release_later(p_receiver uuid, p_at_ms bigint) returns void language sql volatile
begin atomic
    insert into job (kind, key, payload, due_at_ms)
    values ('opener.release', gen_random_uuid(), json_build_object('receiver', p_receiver), p_at_ms);
end;

-- Send somebody a first message. What is refused is refused by what the sender knows anyway; all that only the other side
-- knows changes neither the answer nor, but for a match, what is done here.
--   p_rules         {"per_day", "release", "hour", "within_h"}
--   p_match, p_conversation  ids, if it makes a match
--   Returns {"number"}, and of a match as make_match; or {"error"}.
create function send_opener(p_person uuid, p_command json, p_rules json, p_match uuid, p_conversation uuid) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_user uuid := p_command ->> 'user';
    v_digest uuid := personal_digest(p_command);
    v_answer json;
    v_matched json;
    v_standing text;
    v_at bigint;
    v_release bigint;
    v_hidden boolean;
    v_back boolean;
    v_kept matched;
begin
    perform lock_pair(p_person, v_user);
    v_answer := begin_personal(p_person, 'opener', p_command ->> 'key', v_digest);
    if v_answer is not null then                              -- a repeat: as it was answered then
        select m.* into v_kept from opener o join matched m on m.id = o.match
            where o.author = p_person and o.receiver = v_user and o.completed;
        return v_answer::jsonb || jsonb_strip_nulls(jsonb_build_object('match', v_kept.id, 'conversation', v_kept.conversation));
    end if;
    if answered(p_person, v_user) then return json_build_object('error', 'already_answered'); end if;
    if exists (select from contact where person = p_person and other = v_user) then
        return json_build_object('error', 'already_met');
    end if;
    select standing into v_standing from account where id = p_person;
    if v_standing <> 'active' then return json_build_object('error', 'paused'); end if;
    v_at := now_ms();
    if (select count(*) from opener where author = p_person and at_ms >= v_at - v_at % 86400000)
           >= (p_rules ->> 'per_day')::integer then
        return json_build_object('error', 'too_many');
    end if;
    v_release := next_release(v_at, p_rules);
    v_hidden := blocked(p_person, v_user);
    v_back := exists (select from opener where author = v_user and receiver = p_person);
    v_standing := (select standing from account where id = v_user);
    insert into opener (author, receiver, text, at_ms, release_at_ms, state)
    values (p_person, v_user, p_command ->> 'text', v_at, v_release,
            case when v_hidden or coalesce(v_standing, 'deleted') = 'deleted' then 'withheld' else 'waiting' end);
    perform release_later(v_user, v_release);
    if v_back and not v_hidden and v_standing in ('active', 'paused') then
        v_matched := make_match(p_person, v_user, p_match, p_conversation);
    end if;
    v_answer := end_personal(p_person, 'opener', p_command ->> 'key', v_digest, coalesce((v_matched ->> 'number')::bigint, 0));
    return v_answer::jsonb || coalesce(v_matched::jsonb, '{}');
end $$;


-- --- Matching ---

-- The notification by which first messages were released is read once none of them is there any more.
create function settle_told(p_person uuid, p_told uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_value json;
begin
    if exists (select from opener where receiver = p_person and state = 'released' and told = p_told) then return; end if;
    select value into v_value from personal
        where person = p_person and what = 'notification' and subject = p_told::text and value is not null;
    if found then
        perform set_personal(p_person, 'notification', p_told::text, (v_value::jsonb || '{"read": true}')::json);
    end if;
end $$;

-- Both have sent one to each other: they match. After lock_pair; *p_person* wrote last. Their direct conversation is there,
-- open, with both messages, in the order in which they were sent; and both are told who it was.
--   Returns {"number": of p_person, "other", "match", "conversation", "seq": where its log ends now, "made": whether it is new}.
create function make_match(p_person uuid, p_user uuid, p_match uuid, p_conversation uuid) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid;
    v_new boolean;
    v_at bigint := now_ms();
    v_seq bigint;
    v_number bigint;
    v_number_mine bigint;
    v_each uuid;
    v_other uuid;
    o opener;
begin
    select conversation into v_conversation from direct
        where low = least(p_person, p_user) and high = greatest(p_person, p_user);
    v_new := not found;
    if v_new then
        v_conversation := p_conversation;
        perform make_direct(v_conversation, p_person, p_user);
    end if;
    insert into matched (id, low, high, conversation, at_ms)
    values (p_match, least(p_person, p_user), greatest(p_person, p_user), v_conversation, v_at);
    perform settle_direct(p_person, p_user);
    for o in
        select * from opener where author = p_person and receiver = p_user or author = p_user and receiver = p_person
        order by at_ms, author = p_person
    loop
        select last_seq + 1 into v_seq from conversation where id = v_conversation;
        perform end_action(
            o.author, json_build_object('conversation', v_conversation, 'key', 'opener:' || o.id), message_digest(o.text, null),
            (null, v_seq, now_ms())::begun, 'message', o.text, null::json);
        update opener set state = 'matched', match = p_match, completed = o.author = p_person
            where author = o.author and receiver = o.receiver;
        if o.state in ('released', 'ignored') then
            perform set_personal(o.receiver, 'opener', o.id::text, null);
            perform settle_told(o.receiver, o.told);
        end if;
    end loop;
    for v_each, v_other in values (p_person, p_user), (p_user, p_person) loop
        v_number := set_personal(v_each, 'match', p_match::text, json_build_object(
            'user', v_other, 'conversation', v_conversation, 'at_ms', v_at));
        if v_each = p_person then v_number_mine := v_number; end if;
        perform tell_person(v_each, v_other, p_match, json_build_object(
            'kind', 'match', 'at_ms', v_at, 'user', v_other, 'conversation', v_conversation));
    end loop;
    return json_build_object('number', v_number_mine, 'other', p_user, 'match', p_match,
                             'conversation', v_conversation, 'seq', v_seq,
                             'made', v_new);
end $$;

-- The same for two of whom release_openers said that both have written.
--   Returns as make_match; null: they do not match, or did so already.
create function match_openers(p_person uuid, p_user uuid, p_match uuid, p_conversation uuid) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform lock_pair(p_person, p_user);
    if not (may_see(p_person, p_user) and may_see(p_user, p_person))
       or exists (select from matched where low = least(p_person, p_user) and high = greatest(p_person, p_user))
       or not exists (select from opener where author = p_person and receiver = p_user)
       or not exists (select from opener where author = p_user and receiver = p_person) then
        return null;
    end if;
    return make_match(p_person, p_user, p_match, p_conversation);
end $$;


-- --- Releasing ---

-- Show somebody the first messages whose time has come, all at once and in no order that tells anything. Those of who is
-- blocked by now are never shown; while the receiver or the author is away (paused, suspended, leaving), or has as many as
-- one is shown (p_shown), they wait for a later time.
--   p_told  the id of the notification, made now
--   Returns {"changed": whether the receiver's rows did, "both": [author, ...] who is to be matched instead}.
create function release_openers(p_receiver uuid, p_told uuid, p_shown integer, p_kept integer, p_rules json) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_now bigint;
    v_next bigint;
    v_day date;
    v_standing text;
    v_room integer;
    v_ids uuid[];
    v_both uuid[];
    o record;
begin
    perform from account where id = p_receiver for no key update;
    if not found then return json_build_object('changed', false, 'both', '[]'::json); end if;
    v_now := now_ms();
    v_day := (to_timestamp(v_now / 1000) at time zone 'UTC')::date;
    select standing into v_standing from account where id = p_receiver;
    update opener set state = 'withheld'
        where receiver = p_receiver and state = 'waiting' and release_at_ms <= v_now
            and (v_standing = 'deleted' or blocked(author, p_receiver));
    select p_shown - count(*) into v_room from opener where receiver = p_receiver and state = 'released';
    if v_standing = 'active' then
        select coalesce(array_agg(w.author), '{}') into v_both from opener w join account a on a.id = w.author
            where w.receiver = p_receiver and w.state = 'waiting' and w.release_at_ms <= v_now and a.standing = 'active'
                and exists (select from opener b where b.author = p_receiver and b.receiver = w.author);
        select array_agg(id order by id) into v_ids from (
            select w.id from opener w join account a on a.id = w.author
            where w.receiver = p_receiver and w.state = 'waiting' and w.release_at_ms <= v_now and a.standing = 'active'
                and w.author <> all (v_both)
            order by w.release_at_ms, w.id limit greatest(v_room, 0)) due;
    end if;
    update opener set state = 'released', day = v_day, told = p_told where receiver = p_receiver and id = any (v_ids);
    for o in select id, text from opener where receiver = p_receiver and id = any (v_ids) order by id loop
        perform set_personal(p_receiver, 'opener', o.id::text, json_build_object('text', o.text, 'day', v_day));
    end loop;
    if exists (select from opener where receiver = p_receiver and state = 'waiting' and release_at_ms <= v_now
               and author <> all (coalesce(v_both, '{}'))) then
        v_next := next_release(v_now, p_rules);
        update opener set release_at_ms = v_next where receiver = p_receiver and state = 'waiting' and release_at_ms <= v_now
            and author <> all (coalesce(v_both, '{}'));
        perform release_later(p_receiver, v_next);
    end if;
    if v_ids is not null then
        perform tell_person(p_receiver, null, p_told, json_build_object('kind', 'opener', 'at_ms', v_now), p_kept);
    end if;
    return json_build_object('changed', v_ids is not null, 'both', to_json(coalesce(v_both, '{}')));
end $$;


-- --- What one sees of them ---

-- A page of those that were released to somebody, above *p_after*: by their ids, which are random.
create function opener_list(p_person uuid, p_after uuid, p_limit integer) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'openers', (select coalesce(json_agg(json_build_object('opener', id, 'text', text, 'day', day) order by id), '[]')
                    from (select id, text, day from opener where receiver = p_person and state = 'released' and id > p_after
                          order by id limit p_limit + 1) page),
        'count', (select count(*) from opener where receiver = p_person and state = 'released'))
$$;

-- A page of those that somebody sent, the newest first, after *p_at* and *p_user*. What the receiver did is not in it.
create function openers_sent(p_person uuid, p_at bigint, p_user uuid, p_limit integer, p_rules json) returns json
language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'openers', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                        'user', receiver, 'text', text, 'at_ms', at_ms, 'match', match)) order by at_ms desc, receiver), '[]')
                    from (select * from opener where author = p_person
                              and (at_ms < p_at or at_ms = p_at and receiver > p_user)
                          order by at_ms desc, receiver limit p_limit + 1) page),
        'left', greatest(0, (p_rules ->> 'per_day')::integer
            - (select count(*) from opener where author = p_person and at_ms >= now_ms() - now_ms() % 86400000)))
$$;

-- Put one away that was released; what is not there is passed over.
create function ignore_opener(p_person uuid, p_command json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_id uuid := p_command ->> 'opener';
    v_digest uuid := personal_digest(p_command);
    v_answer json;
    v_number bigint := 0;
    o opener;
begin
    v_answer := begin_personal(p_person, 'opener.ignore', p_command ->> 'key', v_digest);
    if v_answer is not null then return v_answer; end if;
    select * into o from opener where id = v_id and receiver = p_person and state in ('released', 'ignored');
    if found then
        update opener set state = 'ignored' where author = o.author and receiver = o.receiver;
        v_number := set_personal(p_person, 'opener', v_id::text, null);
        perform settle_told(p_person, o.told);
        v_number := greatest(v_number, (select number from personal where person = p_person and what = 'notification'
                                        and subject = o.told::text));
    end if;
    return end_personal(p_person, 'opener.ignore', p_command ->> 'key', v_digest, v_number);
end $$;

-- A page of somebody's matches, the newest first, below *p_below*; all that ever were.
create function match_list(p_person uuid, p_below uuid, p_limit integer) returns json language sql stable
set enable_seqscan = off
as $$
    with page as materialized (
        (select * from matched where low = p_person and id < p_below order by id desc limit p_limit + 1)
        union all
        (select * from matched where high = p_person and id < p_below order by id desc limit p_limit + 1)
    )
    select coalesce(json_agg(json_strip_nulls(json_build_object(
        'match', m.id, 'user', a.id, 'conversation', m.conversation, 'at_ms', m.at_ms, 'ended_at_ms', m.ended_at_ms,
        'by_me', nullif(m.ended_by = p_person, false), 'deleted', nullif(a.standing = 'deleted', false)))
        order by m.id desc), '[]')
    from (select * from page order by id desc limit p_limit + 1) m
    cross join lateral (select id, standing from account
                        where id = case m.low when p_person then m.high else m.low end limit 1) a
$$;

-- End a match: for both, who may not write to each other any more but read what they wrote.
--   Returns {"number", "other", "conversation" and "seq": the log that grew, if it did}, or {"error"}.
create function end_match(p_person uuid, p_command json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_id uuid := p_command ->> 'match';
    v_digest uuid := personal_digest(p_command);
    v_other uuid;
    v_answer json;
    v_settled json;
    v_each uuid;
    v_number bigint;
    v_mine bigint := 0;
begin
    select case low when p_person then high else low end into v_other from matched
        where id = v_id and p_person in (low, high);          -- whose it is does not change
    if found then perform lock_pair(p_person, v_other); end if;
    v_answer := begin_personal(p_person, 'match', p_command ->> 'key', v_digest);
    if v_answer is not null then return v_answer; end if;
    if v_other is null then return json_build_object('error', 'unknown_match'); end if;
    update matched set ended_at_ms = now_ms(), ended_by = p_person where id = v_id and ended_at_ms is null;
    if found then
        foreach v_each in array array[least(p_person, v_other), greatest(p_person, v_other)] loop
            v_number := set_personal(v_each, 'match', v_id::text, null);
            if v_each = p_person then v_mine := v_number; end if;
        end loop;
        v_settled := settle_direct(p_person, v_other);
    end if;
    return end_personal(p_person, 'match', p_command ->> 'key', v_digest, v_mine)::jsonb
        || jsonb_build_object('other', v_other) || coalesce(v_settled::jsonb, '{}');
end $$;


-- --- Leaving ---

-- All that somebody wrote so goes, also from the lists of those who were shown it; what was written to the person is the
-- others', and stays with them. Matches end; the other side keeps that they were.
create function erase_openers(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversations uuid[] := array(select conversation from matched where (low = p_person or high = p_person));
    v_people uuid[];
    o opener;
    m matched;
    v_other uuid;
begin
    perform from conversation where id = any (v_conversations) order by id for no key update;
    v_people := p_person
        || array(select receiver from opener where author = p_person and state in ('released', 'ignored'))
        || array(select case low when p_person then high else low end from matched
                 where (low = p_person or high = p_person) and ended_at_ms is null);
    perform from account where id = any (v_people) order by id for no key update;
    for o in select * from opener where author = p_person and state in ('released', 'ignored') order by receiver loop
        update opener set state = 'withheld' where author = p_person and receiver = o.receiver;
        perform set_personal(o.receiver, 'opener', o.id::text, null);
        perform settle_told(o.receiver, o.told);
    end loop;
    delete from opener where author = p_person;
    update opener set state = 'withheld', told = null, day = null where receiver = p_person and state <> 'matched';
    for m in select * from matched where (low = p_person or high = p_person) and ended_at_ms is null order by id loop
        v_other := case m.low when p_person then m.high else m.low end;
        update matched set ended_at_ms = now_ms(), ended_by = p_person where id = m.id;
        perform set_personal(v_other, 'match', m.id::text, null);
        perform set_personal(p_person, 'match', m.id::text, null);
        perform settle_direct(p_person, v_other);
    end loop;
    delete from job where kind = 'opener.release' and payload ->> 'receiver' = p_person::text;
end $$;

-- All of somebody's own: what was sent, what was shown to the person, and matches.
create function export_openers(p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'openers_sent', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                             'user', receiver, 'text', text, 'at_ms', at_ms, 'match', match)) order by at_ms, receiver), '[]')
                         from opener where author = p_person),
        'openers_received', (select coalesce(json_agg(json_build_object('text', text, 'day', day) order by id), '[]')
                             from opener where receiver = p_person and state in ('released', 'ignored')),
        'matches', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                        'match', id, 'user', case low when p_person then high else low end, 'conversation', conversation,
                        'at_ms', at_ms, 'ended_at_ms', ended_at_ms)) order by id), '[]')
                    from matched where low = p_person or high = p_person))
$$;
