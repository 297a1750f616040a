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

-- As in 0005; new: what this migration's entries tell (their block comes last).
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
        'reactions', e.detail -> 'reactions', 'changed', e.detail -> 'changed',
        -- 0009
        'role', e.detail -> 'role', 'owner', e.detail -> 'owner', 'reason', e.detail -> 'reason',
        'until_ms', e.detail -> 'until_ms'))
end;

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


-- As in 0002; new: rights by `may`, nobody removes the owner, who is banned is not added, and an owner who leaves hands
-- over, which the entry tells ("owner" in the answer, too).
create or replace function change_member(
    p_change text, p_conversation uuid, p_author uuid, p_key text, p_user uuid, p_most integer
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
        if v.member_count >= p_most then return json_build_object('error', 'conversation_full'); end if;
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
    insert into entry (conversation, seq, kind, author, key, key_hash, digest, at_ms, subject, detail)
    values (v.id, v_seq, case p_change when 'add' then 'member.added' else 'member.removed' end,
            p_author, p_key, key_hash(p_author, p_key), v_digest, v_at, p_user,
            case when v_heir is not null then json_strip_nulls(json_build_object('owner', v_heir)) end);
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
    return json_strip_nulls(json_build_object('seq', v_seq, 'at_ms', v_at, 'new', true, 'owner', v_heir));
end $$;

-- A person becomes a member by entry *p_seq*. The conversation's row is locked; the person's number rises.
create function begin_span(v conversation, p_person uuid, p_seq bigint, p_at bigint) returns void language plpgsql volatile
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
        update conversation set member_count = member_count - 1 where id = v_conversation;
    end if;
    insert into ban (conversation, person, seq, author, reason, at_ms, until_ms)
    values (v_conversation, v_user, b.seq, p_author, v_reason, b.at_ms, v_until)
    on conflict (conversation, person) do update set
        seq = excluded.seq, author = excluded.author, reason = excluded.reason, at_ms = excluded.at_ms,
        until_ms = excluded.until_ms;
    return end_action_on(p_author, p_command, v_digest, b, 'member.banned', v_user,
                         nullif(json_strip_nulls(json_build_object('reason', v_reason, 'until_ms', v_until))::text,
                                '{}')::json);
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


-- As in 0005; new: whoever `may` delete others' messages, in place of the owner alone.
create or replace function delete_message(p_author uuid, p_command json, p_rules json) returns json
language plpgsql volatile
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
    if m.author <> p_author and not may(v_conversation, p_author, 'delete') then   -- 0009
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


-- As in 0002; new are the lines marked 0009.
create or replace function conversation_states(asks json, p_named integer, p_unread integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    select coalesce(json_agg(json_build_object('q', i.q, 'state', json_strip_nulls(json_build_object(
        'conversation', v.id, 'kind', v.kind, 'title', v.title, 'history', v.history, 'owner', v.owner,
        'head', coalesce(m.until, v.last_seq), 'first_seq', m.since, 'joined', m.joined, 'until', m.until,
        'read', coalesce(mine.read, 0), 'delivered', coalesce(mine.delivered, 0), 'active_at_ms', v.active_at_ms,
        'members', case when m.until is null then
            (select json_agg(s.person order by s.joined, s.place) from span s where s.conversation = v.id and s.until is null) end,
        'names', case when m.until is null and v.member_count <= p_named then
            (select json_object_agg(a.id, a.name) from span s join account a on a.id = s.person
             where s.conversation = v.id and s.until is null) end,
        'receipts', case when m.until is null and v.member_count <= p_named then
            (select json_agg(json_build_object('user', r.person, 'delivered', r.delivered, 'read', r.read) order by r.person)
             from receipt r join span s on s.conversation = v.id and s.person = r.person and s.until is null
             where r.conversation = v.id and r.person <> i.p) end,
        'admins', case when m.until is null then           -- 0009
            (select json_agg(s.person order by s.person) from span s
             where s.conversation = v.id and s.until is null and s.role = 'admin') end,
        'unread', (select count(*) filter (where e.kind = 'message' and e.author <> i.p) from
                   (select kind, author from entry where conversation = v.id
                        and seq > greatest(mine.read, m.since - 1) and seq <= coalesce(m.until, 9223372036854775807)
                    order by seq limit p_unread) e),
        'recent', (select json_agg(entry_json(e.*) order by e.seq) from
                   (select e.* from span s cross join lateral (
                        select * from entry where conversation = s.conversation
                            and seq >= s.since and seq <= coalesce(s.until, 9223372036854775807)
                        order by seq desc limit i.r) e
                    where s.conversation = v.id and s.person = i.p order by e.seq desc limit i.r) e)))) order by i.n), '[]')
    from rows from (json_to_recordset(asks) as (q integer, p uuid, c uuid, r integer)) with ordinality as i(q, p, c, r, n)
    cross join lateral (select * from conversation where id = i.c limit 1) v
    cross join lateral (select * from span where conversation = v.id and person = i.p order by joined desc limit 1) m
    left join lateral (select * from receipt where conversation = v.id and person = i.p limit 1) mine on true
$$;
