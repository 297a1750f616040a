-- Who may do what in a conversation, and what its members may set: roles, bans, title, topic, photo, slow mode.


-- The one table of rights (docs/roles.md shows it, storage/permissions.py says it again for the simulated world; a test
-- holds the three to each other). A right that is not here nobody has.
--   add, remove, ban  members          role     make members admins, and admins members
--   owner     hand the group over      title, topic, photo, slow_mode   set them
--   delete    messages of others       pin, retention, links            as they say
--   write     messages                 hurry    is not slowed down by slow mode
create table permission (
    kind text not null,
    role text not null check (role in ('owner', 'admin', 'member')),
    what text not null,
    primary key (what, kind, role)
);
insert into permission (kind, role, what)
select kind, role, what from (values
    ('direct',  'member', 'write pin retention'),
    ('group',   'member', 'write add'),
    ('group',   'admin',  'write add remove ban role title topic photo slow_mode delete pin retention links hurry'),
    ('group',   'owner',  'write add remove ban role title topic photo slow_mode delete pin retention links hurry owner'),
    ('room',    'member', 'write'),
    ('room',    'admin',  'write add remove ban role title topic photo slow_mode delete pin retention links hurry'),
    ('room',    'owner',  'write add remove ban role title topic photo slow_mode delete pin retention links hurry owner'),
    ('channel', 'admin',  'write add remove ban role title topic photo slow_mode delete pin retention links hurry'),
    ('channel', 'owner',  'write add remove ban role title topic photo slow_mode delete pin retention links hurry owner')
) as rights(kind, role, whats), string_to_table(whats, ' ') as what;


-- The owner stands in the conversation's row; of the others each membership says whether it is an admin's.
alter table span add column role text not null default 'member' check (role in ('admin', 'member'));
create index span_admin on span (conversation, person) where role = 'admin' and until is null;

-- What a person is there: 'owner', 'admin', 'member'; null for somebody who is no member now.
create function role_of(p_conversation uuid, p_person uuid) returns text language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_role text;
begin
    select role into v_role from span where conversation = p_conversation and person = p_person and until is null;
    if found and exists (select from conversation where id = p_conversation and owner = p_person) then
        return 'owner';
    end if;
    return v_role;
end $$;

-- Whether a person may do that there. An action asks it under the conversation's lock, after the key and the membership
-- (begin_action), and answers {"error": "forbidden"} where it is false.
create function may(p_conversation uuid, p_person uuid, p_what text) returns boolean language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_role text := role_of(p_conversation, p_person);
begin
    return v_role is not null and exists (
        select from permission where what = p_what and role = v_role
            and kind = (select kind from conversation where id = p_conversation));
end $$;


-- Who is barred from being in a conversation, until a time or for ever. A row that is out of time bars nobody.
create table ban (
    conversation uuid   not null references conversation,
    person       uuid   not null references account,
    seq          bigint not null,                             -- of the entry that says so
    author       uuid   not null references account,
    reason       text   check (reason <> ''),
    at_ms        bigint not null,
    until_ms     bigint,                                      -- null: for ever
    primary key (conversation, person)
);
create unique index ban_order on ban (conversation, seq);

create function barred(p_conversation uuid, p_person uuid) returns boolean language plpgsql stable
set enable_seqscan = off
as $$
begin
    return exists (select from ban where conversation = p_conversation and person = p_person
                   and coalesce(until_ms, 9223372036854775807) > now_ms());
end $$;


select add_entry_kinds('member.role', 'member.banned', 'member.unbanned', 'conversation.owner');


-- As end_action, for an entry about somebody: *p_subject*.
create function end_action_on(
    p_author uuid, p_command json, p_digest uuid, p_begun begun, p_kind text, p_subject uuid, p_detail json
) returns json language plpgsql volatile as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_key text := p_command ->> 'key';
    e entry;
begin
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, subject, detail)
    values (v_conversation, p_begun.seq, p_kind, p_author, v_key, key_hash(p_author, v_key), p_digest, p_begun.at_ms,
            p_subject, p_detail)
    returning * into e;
    update conversation set last_seq = e.seq, active_at_ms = e.at_ms where id = v_conversation;
    return json_build_object('seq', e.seq, 'at_ms', e.at_ms, 'entry', entry_json(e));
end $$;


-- Who owns a conversation once its owner is gone: the longest-standing admin, else the longest-standing member. An empty
-- group is nobody's (null); an empty room or channel may be joined again, and waits for its owner.
create function heir_of(p_kind text, p_conversation uuid, p_owner uuid) returns uuid language plpgsql stable
set enable_seqscan = off
as $$
declare
    v_heir uuid;
begin
    select person into v_heir from span
        where conversation = p_conversation and role = 'admin' and until is null and person <> p_owner
        order by joined, place limit 1;
    if not found then
        select person into v_heir from span
            where conversation = p_conversation and until is null and person <> p_owner order by joined, place limit 1;
    end if;
    return coalesce(v_heir, case when p_kind <> 'group' then p_owner end);
end $$;


-- Kinds: rooms, which everybody may join, and channels, which many read and few write.
do $$
declare
    v_name text;
begin
    for v_name in select conname from pg_constraint where conrelid = 'conversation'::regclass and contype = 'c'
                  and pg_get_constraintdef(oid) like '%''group''%' loop
        execute format('alter table conversation drop constraint %I', v_name);
    end loop;
end $$;
alter table conversation add constraint conversation_kind check (kind in ('direct', 'group', 'room', 'channel'));
alter table conversation add constraint conversation_title check ((kind = 'direct') = (title is null));
alter table conversation add column tags text[] not null default '{}';
alter table conversation add column public boolean not null default false;   -- who knows its id may join


-- As in 0002; new: rights by `may`, nobody removes the owner, who is banned is not added, and an owner who leaves hands
-- over, which the entry tells ("owner" in the answer, too). Of a room or a channel it also tells the "count" of members:
-- nobody lists them. *p_room_most*: members that these may have; null: as groups.
drop function change_member(text, uuid, uuid, text, uuid, integer);
create function change_member(
    p_change text, p_conversation uuid, p_author uuid, p_key text, p_user uuid, p_most integer,
    p_room_most integer default null
) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v conversation;
    old record;
    v_digest uuid := md5(p_change || ':' || p_user)::uuid;
    v_seq bigint;
    v_at bigint;
    v_number bigint;
    v_heir uuid;                                              -- of an owner who leaves
    v_count integer;                                          -- of a room or a channel: its members after it
begin
    select * into v from conversation where id = p_conversation for no key update;
    if not found then return json_build_object('error', 'not_a_member', 'missing', p_author); end if;

    select seq, at_ms, digest into old from entry
        where entry.key_hash = key_hash(p_author, p_key) and conversation = p_conversation;
    if not found then
        select seq, at_ms, digest into old from settled
            where settled.key_hash = key_hash(p_author, p_key) and conversation = p_conversation;
    end if;
    if found then
        if old.digest <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('seq', old.seq, 'at_ms', old.at_ms, 'new', false);
    end if;

    if not exists (select from span where conversation = v.id and person = p_author and until is null) then
        return json_build_object('error', 'not_a_member', 'missing', p_author);
    end if;
    if v.kind = 'direct' then return json_build_object('error', 'wrong_kind'); end if;
    if p_change = 'add' then
        if not may(v.id, p_author, 'add') then return json_build_object('error', 'forbidden'); end if;
        if not exists (select from account where id = p_user) then return json_build_object('error', 'unknown_user'); end if;
        if exists (select from span where conversation = v.id and person = p_user and until is null) then
            return json_build_object('error', 'already_a_member');
        end if;
        if barred(v.id, p_user) then return json_build_object('error', 'banned'); end if;
        if v.member_count >= (case when v.kind = 'group' then p_most else coalesce(p_room_most, p_most) end) then
            return json_build_object('error', 'conversation_full');
        end if;
    else
        if p_change = 'remove' and p_author <> p_user and (p_user = v.owner or not may(v.id, p_author, 'remove')) then
            return json_build_object('error', 'forbidden');
        end if;
        if not exists (select from span where conversation = v.id and person = p_user and until is null) then
            return json_build_object('error', 'not_a_member', 'missing', p_user);
        end if;
        if p_user = v.owner then v_heir := heir_of(v.kind, v.id, v.owner); end if;
    end if;

    v_seq := v.last_seq + 1;
    v_at := now_ms();
    if v.kind <> 'group' then v_count := v.member_count + case p_change when 'add' then 1 else -1 end; end if;
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, subject, detail)
    values (v.id, v_seq, case p_change when 'add' then 'member.added' else 'member.removed' end,
            p_author, p_key, key_hash(p_author, p_key), v_digest, v_at, p_user,
            nullif(json_strip_nulls(json_build_object('owner', v_heir, 'count', v_count))::text, '{}')::json);
    if p_change = 'add' then
        perform begin_span(v, p_user, v_seq, v_at);
    else
        perform end_span(v.id, p_user, v_seq);
        update span set role = 'member' where conversation = v.id and person = v_heir and until is null;
    end if;
    update conversation set
        last_seq = v_seq, active_at_ms = v_at,
        member_count = member_count + case p_change when 'add' then 1 else -1 end,
        owner = case when p_change <> 'add' and owner = p_user then v_heir else owner end
    where id = v.id;
    return json_strip_nulls(json_build_object(
        'seq', v_seq, 'at_ms', v_at, 'new', true, 'owner', v_heir, 'count', v_count));
end $$;

-- A person becomes a member by entry *p_seq*. The conversation's row is locked; the person's number rises.
create function begin_span(v conversation, p_person uuid, p_seq bigint, p_at bigint) returns void
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_number bigint;
begin
    update account set number = next_number(number) where id = p_person returning number into v_number;
    insert into span (conversation, person, joined, since, number)
    values (v.id, p_person, p_seq,
            case when v.history = 'all' and not exists (select from span where conversation = v.id and person = p_person)
                 then 1 else p_seq end, v_number);
    insert into receipt (conversation, person, delivered, read, at_ms) values (v.id, p_person, p_seq, p_seq, p_at)
    on conflict (conversation, person) do update set delivered = p_seq, read = p_seq, at_ms = p_at;   -- the past is no news
    perform close_request(v.id, p_person, 'accepted');       -- who is in asks no more (0013)
end $$;

-- A person is a member no more, by entry *p_seq*.
create function end_span(p_conversation uuid, p_person uuid, p_seq bigint) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_number bigint;
begin
    update account set number = next_number(number) where id = p_person returning number into v_number;
    update span set until = p_seq, number = v_number
        where conversation = p_conversation and person = p_person and until is null;
end $$;


-- Make a member an admin, or an admin a member.
create function set_role(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_user uuid := p_command ->> 'user';
    v_role text := p_command ->> 'role';
    v_digest uuid := md5(json_build_array('role', v_user, v_role)::text)::uuid;
    v_old text;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    if (select kind from conversation where id = v_conversation) = 'direct' then
        return json_build_object('error', 'wrong_kind');
    end if;
    if not may(v_conversation, p_author, 'role') then return json_build_object('error', 'forbidden'); end if;
    v_old := role_of(v_conversation, v_user);
    if v_old is null then return json_build_object('error', 'not_a_member', 'missing', v_user); end if;
    if v_old = 'owner' then return json_build_object('error', 'forbidden'); end if;
    if v_old = v_role then return settle_action(p_author, p_command, v_digest, b.seq - 1); end if;
    if v_role = 'admin' and (select count(*) from span where conversation = v_conversation and role = 'admin'
                             and until is null) >= (p_rules ->> 'admins')::integer then
        return json_build_object('error', 'too_many_admins');
    end if;
    update span set role = v_role where conversation = v_conversation and person = v_user and until is null;
    return end_action_on(p_author, p_command, v_digest, b, 'member.role', v_user,
                         json_strip_nulls(json_build_object('role', v_role)));
end $$;


-- The owner gives the conversation to another member, and is an admin from then on.
create function hand_over(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_user uuid := p_command ->> 'user';
    v_digest uuid := md5(json_build_array('owner', v_user)::text)::uuid;
    v_old text;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    if (select kind from conversation where id = v_conversation) = 'direct' then
        return json_build_object('error', 'wrong_kind');
    end if;
    if not may(v_conversation, p_author, 'owner') then return json_build_object('error', 'forbidden'); end if;
    v_old := role_of(v_conversation, v_user);
    if v_old is null then return json_build_object('error', 'not_a_member', 'missing', v_user); end if;
    if v_old = 'owner' then return settle_action(p_author, p_command, v_digest, b.seq - 1); end if;
    if v_old = 'member' and (select count(*) from span where conversation = v_conversation and role = 'admin'
                             and until is null) >= (p_rules ->> 'admins')::integer then
        return json_build_object('error', 'too_many_admins');
    end if;
    update conversation set owner = v_user where id = v_conversation;
    update span set role = case person when v_user then 'member' else 'admin' end
        where conversation = v_conversation and person in (v_user, p_author) and until is null;
    return end_action_on(p_author, p_command, v_digest, b, 'conversation.owner', null,
                         json_strip_nulls(json_build_object('owner', v_user)));
end $$;


-- Bar somebody, who may be a member or not; a ban that is there gets the new reason and end.
create function ban_member(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_user uuid := p_command ->> 'user';
    v_reason text := p_command ->> 'reason';
    v_until bigint := p_command ->> 'until_ms';
    v_digest uuid := md5(json_build_array('ban', v_user, v_reason, v_until)::text)::uuid;
    v_role text;
    v_count integer;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    if (select kind from conversation where id = v_conversation) = 'direct' then
        return json_build_object('error', 'wrong_kind');
    end if;
    v_role := role_of(v_conversation, v_user);
    if v_user = p_author or v_role = 'owner' or not may(v_conversation, p_author, 'ban') then
        return json_build_object('error', 'forbidden');
    end if;
    if not exists (select from account where id = v_user) then
        return json_build_object('error', 'unknown_user', 'missing', v_user);
    end if;
    if v_until <= b.at_ms then return json_build_object('error', 'over'); end if;
    if v_role is not null then
        perform end_span(v_conversation, v_user, b.seq);
        update conversation set member_count = member_count - 1 where id = v_conversation
            returning case when kind <> 'group' then member_count end into v_count;
    end if;
    insert into ban (conversation, person, seq, author, reason, at_ms, until_ms)
    values (v_conversation, v_user, b.seq, p_author, v_reason, b.at_ms, v_until)
    on conflict (conversation, person) do update set
        seq = excluded.seq, author = excluded.author, reason = excluded.reason, at_ms = excluded.at_ms,
        until_ms = excluded.until_ms;
    return end_action_on(p_author, p_command, v_digest, b, 'member.banned', v_user,
                         nullif(json_strip_nulls(json_build_object(
                             'reason', v_reason, 'until_ms', v_until, 'count', v_count))::text, '{}')::json);
end $$;

-- Lift a ban. The person is not a member by that.
create function unban_member(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_user uuid := p_command ->> 'user';
    v_digest uuid := md5(json_build_array('unban', v_user)::text)::uuid;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    if (select kind from conversation where id = v_conversation) = 'direct' then
        return json_build_object('error', 'wrong_kind');
    end if;
    if not may(v_conversation, p_author, 'ban') then return json_build_object('error', 'forbidden'); end if;
    delete from ban where conversation = v_conversation and person = v_user;
    if not found then return settle_action(p_author, p_command, v_digest, b.seq - 1); end if;
    return end_action_on(p_author, p_command, v_digest, b, 'member.unbanned', v_user, null);
end $$;

-- A page of the bans that hold now, the newest first, those below *p_before*.
--   Returns {"bans": [{"user", "author", "seq", "at_ms", "reason", "until_ms"}, ...], "more": bool} or {"error": code}.
create function member_bans(p_person uuid, p_conversation uuid, p_before bigint, p_limit integer)
returns json language plpgsql stable
set enable_seqscan = off
as $$
begin
    if role_of(p_conversation, p_person) is null then return json_build_object('error', 'not_a_member'); end if;
    if not may(p_conversation, p_person, 'ban') then return json_build_object('error', 'forbidden'); end if;
    return (
        with page as materialized (
            select * from ban where conversation = p_conversation and seq < p_before
                and coalesce(until_ms, 9223372036854775807) > now_ms()
            order by seq desc limit p_limit + 1
        ), first as (
            select * from page order by seq desc limit p_limit
        )
        select json_build_object(
            'bans', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                         'user', person, 'author', author, 'seq', seq, 'at_ms', at_ms, 'reason', reason,
                         'until_ms', until_ms)) order by seq desc), '[]') from first),
            'more', (select count(*) from page) > p_limit));
end $$;

-- What is set for all: title, topic, photo, slow mode.
alter table conversation add column topic text check (topic <> '');
alter table conversation add column photo uuid references upload;
alter table conversation add column slow_mode_s integer not null default 0 check (slow_mode_s >= 0);
create index conversation_photo on conversation (photo) where photo is not null;   -- appends change no photo, and stay heap-only

-- Whether not every member may write at any time: a channel, or slow mode. It stands in the row that an append locks
-- anyway, so it costs nothing to ask; only where it is true append_messages looks further (held_back).
alter table conversation add column guarded boolean not null default false;

-- When those whom slow mode slows wrote last. Written only where it is on.
create table slowed (
    conversation uuid   not null references conversation,
    person       uuid   not null references account,
    at_ms        bigint not null,
    primary key (conversation, person)
) with (fillfactor = 70);

select add_entry_kinds('conversation.title', 'conversation.topic', 'conversation.photo', 'conversation.slow_mode');

-- Set one of them. *p_what* is the right that it takes, and names the entry: 'conversation.' || p_what.
create function set_conversation(p_what text, p_author uuid, p_command json, p_rules json) returns json
language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_value text := p_command ->> (case p_what when 'slow_mode' then 'seconds' else p_what end);
    v_digest uuid := md5(json_build_array(p_what, v_value)::text)::uuid;
    v_refused text;
    v conversation;
    b begun;
begin
    select * into b from begin_action(p_author, p_command, v_digest);
    if b.answer is not null then return b.answer; end if;
    select * into v from conversation where id = v_conversation;
    if v.kind = 'direct' then return json_build_object('error', 'wrong_kind'); end if;
    if not may(v_conversation, p_author, p_what) then return json_build_object('error', 'forbidden'); end if;
    if v_value is not distinct from (case p_what when 'title' then v.title when 'topic' then v.topic
                                     when 'photo' then v.photo::text else v.slow_mode_s::text end) then
        return settle_action(p_author, p_command, v_digest, b.seq - 1);
    end if;
    if p_what = 'photo' and v_value is not null then
        if exists (select from upload where id = v_value::uuid and owner = p_author and kind <> 'photo') then
            return json_build_object('error', 'wrong_use');
        end if;
        v_refused := upload_attach(v_value::uuid, p_author, v_conversation, b.seq);
        if v_refused <> 'ok' then return json_build_object('error', v_refused); end if;
    end if;
    update conversation set
        title = case p_what when 'title' then v_value else title end,
        topic = case p_what when 'topic' then v_value else topic end,
        photo = case p_what when 'photo' then v_value::uuid else photo end,
        slow_mode_s = case p_what when 'slow_mode' then v_value::integer else slow_mode_s end,
        guarded = case p_what when 'slow_mode' then kind = 'channel' or v_value::integer > 0 else guarded end
    where id = v_conversation;
    return end_action(p_author, p_command, v_digest, b, 'conversation.' || p_what, null,
                      nullif(json_strip_nulls(json_build_object(
                          'title', case p_what when 'title' then v_value end,
                          'topic', case p_what when 'topic' then v_value end,
                          'photo', case p_what when 'photo' then v_value end,
                          'seconds', case p_what when 'slow_mode' then v_value::integer end))::text, '{}')::json);
end $$;

-- Why a member of a guarded conversation may not write there now. *wait_ms*: with 'slow_mode', for so long; *slow_ms*: how
-- long nothing more may come after what is written now (0: the person is not slowed).
create function held_back(p_conversation uuid, p_author uuid, out error text, out wait_ms bigint, out slow_ms bigint)
language plpgsql stable
set enable_seqscan = off
as $$
begin
    wait_ms := 0;
    slow_ms := 0;
    if not may(p_conversation, p_author, 'write') then
        error := 'forbidden';
    elsif not may(p_conversation, p_author, 'hurry') then
        select slow_mode_s * 1000 into slow_ms from conversation where id = p_conversation;
        select greatest(at_ms + slow_ms - now_ms(), 0) into wait_ms from slowed
            where conversation = p_conversation and person = p_author;
        wait_ms := coalesce(wait_ms, 0);
        if wait_ms > 0 then error := 'slow_mode'; end if;
    end if;
end $$;


-- As in 0002; new: a message may have content (0007, "j" of the batch; left out of plain text), or an end (0008: "kept" says for
-- how many seconds each conversation keeps what was stored, null where none has an end), and those of a guarded conversation go
-- the longer way.
create or replace function append_new(batch json, p_ids uuid[], p_heads bigint[], p_counts integer[]) returns json language plpgsql volatile
set enable_seqscan = off set enable_bitmapscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    ids uuid[];
    tops bigint[];
    kept bigint[];
    v_kept bigint;                                          -- how many of these conversations let messages disappear
    v_at bigint;                                            -- taken under the locks: a conversation's times do not go back
    stored bigint;
    missed json;
    v_guarded boolean;
begin
    with raised as (
        update conversation v set last_seq = v.last_seq + p_counts[array_position(p_ids, v.id)], active_at_ms = now_ms()
        where v.id = any (p_ids)
        returning v.id, v.last_seq - p_counts[array_position(p_ids, v.id)] as top, v.active_at_ms, v.retention_s,
                  v.guarded
    )
    select array_agg(id), array_agg(top), max(active_at_ms), array_agg(retention_s), count(retention_s), bool_or(guarded)
        into ids, tops, v_at, kept, v_kept, v_guarded from raised;
    if ids is distinct from p_ids then
        raise unique_violation using message = 'not all of these conversations exist';
    end if;
    if v_guarded then
        raise unique_violation using message = 'not everybody may write in all of these conversations';
    end if;
    if v_kept = 0 then
        insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text, content)
        select p_ids[i], tops[i] + o, 'message', a, k, key_hash(a, k),
               case when j is null then md5('message:' || x)::uuid else message_digest(x, j) end, v_at, nullif(x, ''), j
        from json_to_recordset(batch) as r(i integer, o integer, a uuid, k text, x text, j json)
        where (select true from span m where m.conversation = p_ids[i] and m.person = a and m.until is null limit 1);
    else
        insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text, content, detail)
        select p_ids[i], tops[i] + o, 'message', a, k, key_hash(a, k), message_digest(x, j), v_at, nullif(x, ''), j,
               case when kept[i] is not null then json_strip_nulls(json_build_object('expires_at_ms', v_at + kept[i] * 1000)) end
        from json_to_recordset(batch) as r(i integer, o integer, a uuid, k text, x text, j json)
        where (select true from span m where m.conversation = p_ids[i] and m.person = a and m.until is null limit 1);
    end if;
    get diagnostics stored = row_count;
    if stored <> json_array_length(batch) then
        raise unique_violation using message = 'not all of these authors are members';
    end if;
    if v_kept > 0 then
        perform expire_later(p_ids[i], tops[i] + 1, tops[i] + p_counts[i], v_at + kept[i] * 1000)
            from generate_subscripts(p_ids, 1) i where kept[i] is not null;
    end if;
    if tops is distinct from p_heads then
        select json_agg(entry_json(e.*) order by e.conversation, e.seq) into missed
        from generate_subscripts(p_ids, 1) i cross join lateral (
            select * from entry where conversation = p_ids[i] and seq > p_heads[i] and seq <= tops[i] order by seq limit 500) e
        where p_heads[i] < tops[i];
    end if;
    return json_build_object('tops', to_json(tops), 'at_ms', v_at, 'missed', coalesce(missed, '[]'),
                             'kept', case when v_kept > 0 then to_json(kept) end);
end $$;

-- As in 0002, and as append_new; an answer may be {"error": 'forbidden' or 'slow_mode', "retry_after_ms"}, and one to a new
-- message says when it ends.
create or replace function append_messages(batch json, heads json) returns json language plpgsql volatile
set enable_seqscan = off set plan_cache_mode = force_generic_plan
as $$
declare
    answer json;
    v_guarded uuid[];                                       -- of these conversations the guarded ones; null: none
begin
    select array_agg(id) filter (where guarded) into v_guarded from (
        select id, guarded from conversation where id = any (array(select c from json_to_recordset(batch) as x(c uuid)))
        order by id for no key update) locked;              -- wait here; the next statement has a new snapshot
    with i as materialized (
        select x.*, key_hash(x.a, x.k) as hash, message_digest(x.t, x.j) as digest
        from rows from (json_to_recordset(batch) as (c uuid, a uuid, k text, x text, j json)) with ordinality as x(c, a, k, t, j, n)
    ), old as materialized (                                -- the key first: a repeat is answered even after a removal
        select i.n, e.*
        from i cross join lateral (select seq, at_ms, digest from entry
                                   where entry.key_hash = i.hash and conversation = i.c limit 1) e
    ), wanted as materialized (                             -- the first of each key, if the author is a member now
        select distinct on (c, hash) * from i
        where n not in (select n from old)
          and (select true from span m where m.conversation = i.c and m.person = i.a and m.until is null)
        order by c, hash, n
    ), guard as materialized (                              -- from here to `refused`; empty where nothing is guarded
        select w.n, h.* from wanted w cross join lateral held_back(w.c, w.a) h where w.c = any (v_guarded)
    ), paced as materialized (
        select w.*, g.error, g.wait_ms, coalesce(g.slow_ms, 0) as slow_ms,
               row_number() over (partition by w.c, w.a order by w.n) as nth
        from wanted w left join guard g using (n)
    ), fresh as materialized (
        select * from paced where error is null and (slow_ms = 0 or nth = 1)
    ), refused as materialized (
        select c, hash, coalesce(error, 'slow_mode') as error, case when error is null then slow_ms else wait_ms end as wait_ms
        from paced where n not in (select n from fresh)
    ), numbered as materialized (
        select f.*, v.last_seq + row_number() over (partition by f.c order by f.n) as seq, now_ms() as at_ms,
               v.retention_s * 1000 as kept_ms
        from fresh f cross join lateral (select last_seq, retention_s from conversation where id = f.c limit 1) v
    ), top as materialized (
        select c, max(seq) as seq, max(at_ms) as at_ms from numbered group by c
    ), raised as (
        update conversation v set last_seq = top.seq, active_at_ms = top.at_ms
        from top where v.id = top.c and v.id = any (array(select c from top))
    ), noted as (
        insert into slowed (conversation, person, at_ms) select c, a, at_ms from numbered where slow_ms > 0
        on conflict (conversation, person) do update set at_ms = excluded.at_ms
    ), stored as (
        insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text, content, detail)
        select c, seq, 'message', a, k, hash, digest, at_ms, nullif(t, ''), j,
               case when kept_ms is not null then json_strip_nulls(json_build_object('expires_at_ms', at_ms + kept_ms)) end
        from numbered
        returning conversation, key_hash, seq, at_ms, digest, (detail ->> 'expires_at_ms')::bigint as expires_at_ms
    ), later as materialized (
        select expire_later(conversation, seq, seq, expires_at_ms) from stored where expires_at_ms is not null
    )
    select json_build_object(
        'missed', (select coalesce(json_agg(entry_json(e.*) order by e.conversation, e.seq), '[]')
                   from json_to_recordset(heads) as h(c uuid, h bigint)
                   cross join lateral (select from conversation v where v.id = h.c and v.last_seq > h.h limit 1) behind
                   cross join lateral (select * from entry where conversation = h.c and seq > h.h order by seq limit 500) e),
        'answers', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                        'seq', coalesce(o.seq, s.seq), 'at_ms', coalesce(o.at_ms, s.at_ms), 'new', f.n is not null,
                        'error', r.error, 'retry_after_ms', coalesce(r.wait_ms, 0),
                        'reused', coalesce(o.digest, s.digest) is distinct from i.digest
                                  and coalesce(o.seq, s.seq) is not null,
                        'expires_at_ms', s.expires_at_ms)) order by i.n), '[]')
                    from i left join old o using (n) left join fresh f using (n)
                    left join stored s on (s.key_hash, s.conversation) = (i.hash, i.c)
                    left join refused r on (r.c, r.hash) = (i.c, i.hash)),
        'later', (select count(*) from later))              -- asked for, or it would not be done
    into answer;
    return answer;
end $$;

-- As in 0002, for all kinds but direct ones. What a group without topic and tags is made of has the digest it always had.
drop function create_group(uuid, uuid, text, text, text, json, integer);
create function create_group(
    p_id uuid, p_author uuid, p_key text, p_title text, p_history text, p_members json, p_most integer,
    p_kind text default 'group', p_topic text default null, p_tags json default '[]', p_public boolean default false
) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    old creation;
    v_digest uuid := md5((case
        when p_kind = 'group' and p_topic is null and json_array_length(p_tags) = 0
            then json_build_array('group', p_title, p_history, p_members)
        else json_build_array(p_kind, p_title, p_history, p_members, p_topic, p_tags, p_public) end)::text)::uuid;
    v_at bigint;
    v_unknown uuid;
    v_count integer := json_array_length(p_members);
begin
    -- Whoever holds the author's row decides; a repeat that waited here sees what was made meanwhile. Everybody's row at
    -- once and in id order: two people who create groups with each other would deadlock, the author's row taken first.
    -- (An array: "in (select ...)" would read every account there is.)
    perform from account
        where id = any (p_author || array(select m.value::uuid from json_array_elements_text(p_members) m))
        order by id for no key update;
    if not exists (select from account where id = p_author) then
        return json_build_object('error', 'unknown_user', 'missing', p_author);
    end if;
    select * into old from creation where author = p_author and key = p_key;
    if found then
        if old.digest <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('conversation', old.conversation, 'new', false);
    end if;
    if v_count > p_most then return json_build_object('error', 'conversation_full'); end if;
    select m.value::uuid into v_unknown from json_array_elements_text(p_members) m
        where (select true from account where id = m.value::uuid limit 1) is null limit 1;
    if found then return json_build_object('error', 'unknown_user', 'missing', v_unknown); end if;

    v_at := now_ms();
    insert into conversation (id, kind, title, history, owner, last_seq, active_at_ms, member_count, topic, tags, public, guarded)
    values (p_id, p_kind, p_title, p_history, p_author, 1, v_at, v_count, p_topic,
            array(select json_array_elements_text(p_tags)), p_public, p_kind = 'channel');
    insert into creation (author, key, conversation, digest) values (p_author, p_key, p_id, v_digest);
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, detail)
    values (p_id, 1, 'created', p_author, p_key, key_hash(p_author, p_key), v_digest, v_at,
            case when p_topic is null and json_array_length(p_tags) = 0
                then json_build_object('title', p_title, 'members', p_members)
                else json_strip_nulls(json_build_object(
                    'title', p_title, 'members', p_members, 'topic', p_topic,
                    'tags', case when json_array_length(p_tags) > 0 then p_tags end)) end);
    perform raise_and_join(p_id, p_members);
    return json_build_object('conversation', p_id, 'new', true);
end $$;


-- As in 0002, but every account is found by its id.
create or replace function raise_and_join(p_conversation uuid, p_members json) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_people uuid[] := array(select value::uuid from json_array_elements_text(p_members));
begin
    perform from account where id = any (v_people) order by id for no key update;
    with raised as (
        update account set number = next_number(number) where id = any (v_people) returning id, number
    )
    insert into span (conversation, person, joined, since, place, number)
    select p_conversation, r.id, 1, 1, array_position(v_people, r.id), r.number from raised r;
end $$;


-- Join a public conversation by oneself: begin_action for somebody who is no member, then as an addition. One entry, and
-- as many rows whatever the number of members.
create function join_room(p_author uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := md5('join')::uuid;
    v conversation;
    v_hash uuid := key_hash(p_author, p_command ->> 'key');
    v_seq bigint;
    v_at bigint;
    v_stored uuid;
begin
    select * into v from conversation where id = (p_command ->> 'conversation')::uuid for no key update;
    if not found then return json_build_object('error', 'no_room'); end if;
    select seq, at_ms, digest into v_seq, v_at, v_stored from entry where key_hash = v_hash and conversation = v.id;
    if not found then
        select seq, at_ms, digest into v_seq, v_at, v_stored from settled where key_hash = v_hash and conversation = v.id;
    end if;
    if found then
        if v_stored <> v_digest then return json_build_object('error', 'key_reused'); end if;
        return json_build_object('seq', v_seq, 'at_ms', v_at);
    end if;
    if not v.public then return json_build_object('error', 'no_room'); end if;
    if exists (select from span where conversation = v.id and person = p_author and until is null) then
        return json_build_object('error', 'already_a_member');
    end if;
    if barred(v.id, p_author) then return json_build_object('error', 'banned'); end if;
    if v.member_count >= (p_rules ->> 'room_members')::integer then
        return json_build_object('error', 'conversation_full');
    end if;
    v_at := now_ms();
    perform begin_span(v, p_author, v.last_seq + 1, v_at);
    update conversation set member_count = member_count + 1 where id = v.id;
    return end_action_on(p_author, p_command, v_digest, (null, v.last_seq + 1, v_at)::begun, 'member.added', p_author,
                         json_strip_nulls(json_build_object('count', v.member_count + 1)));
end $$;

-- As in 0005; new: whoever may not write, or not yet, says nothing by an action either.
create or replace function begin_action(p_author uuid, p_command json, p_digest uuid) returns begun language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_hash uuid := key_hash(p_author, p_command ->> 'key');
    v_last bigint;
    v_seq bigint;                                             -- of what stands under this key, and so on; no record: what
    v_at bigint;                                              -- comes from two tables would have two types, and a plan one
    v_stored uuid;
    v_guarded boolean;
    h record;
begin
    select last_seq, guarded into v_last, v_guarded from conversation where id = v_conversation for no key update;
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
    -- What says something: a command of that name, or a scheduled message, which has none and was not sent in a hurry.
    if v_guarded and coalesce(p_command ->> 't', 'scheduled') in ('message.send', 'message.forward', 'poll.create', 'scheduled')
    then
        select * into h from held_back(v_conversation, p_author);
        if h.error = 'forbidden' or (h.error = 'slow_mode' and p_command ->> 't' is not null) then
            return (json_build_object('error', h.error, 'retry_after_ms', h.wait_ms), null, null)::begun;
        end if;
    end if;
    return (null, v_last + 1, now_ms())::begun;
end $$;

-- Store the action's entry (0005), which may have content (0007). A message may have an end (0008), however it is sent, and
-- counts for slow mode.
create function end_action(
    p_author uuid, p_command json, p_digest uuid, p_begun begun, p_kind text, p_text text, p_detail json, p_content json
) returns json language plpgsql volatile as $$
declare
    v_conversation uuid := p_command ->> 'conversation';
    v_key text := p_command ->> 'key';
    v_detail json := p_detail;
    v_ends bigint;
    v_guarded boolean;
    e entry;
begin
    if p_kind = 'message' then
        select p_begun.at_ms + retention_s * 1000 into v_ends from conversation where id = v_conversation;
        if v_ends is not null then
            v_detail := detail_with(v_detail, json_build_object('expires_at_ms', v_ends));
            perform expire_later(v_conversation, p_begun.seq, p_begun.seq, v_ends);
        end if;
    end if;
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, text, detail, content)
    values (v_conversation, p_begun.seq, p_kind, p_author, v_key, key_hash(p_author, v_key), p_digest, p_begun.at_ms,
            p_text, v_detail, p_content)
    returning * into e;
    update conversation set last_seq = e.seq, active_at_ms = e.at_ms where id = v_conversation
        returning guarded into v_guarded;
    if v_guarded and p_kind = 'message' and (select slow_ms from held_back(v_conversation, p_author)) > 0 then
        insert into slowed (conversation, person, at_ms) values (v_conversation, p_author, e.at_ms)
            on conflict (conversation, person) do update set at_ms = excluded.at_ms;
    end if;
    return json_build_object('seq', e.seq, 'at_ms', e.at_ms, 'entry', entry_json(e));
end $$;

-- The same without content.
create or replace function end_action(
    p_author uuid, p_command json, p_digest uuid, p_begun begun, p_kind text, p_text text, p_detail json
) returns json language sql volatile
return end_action(p_author, p_command, p_digest, p_begun, p_kind, p_text, p_detail, null::json);
