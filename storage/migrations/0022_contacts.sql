-- Contacts: who asked whom, who answered how; and who follows whom. Table contact stands in 0017.
--
-- Every function that changes something between two people locks what is between them first (lock_pair, 0018), then looks its
-- key up, then its rights. It returns {"number", "new", "changed": whose rows changed, "jobs", "grown": what settle_direct
-- said}, or {"error": code}.

-- A request that waits. One that is ignored waits on, as far as its author is told; and so it does, withdrawn, to stay ignored
-- when the same person asks again.
create table contact_request (
    person     uuid    not null references account,           -- who asks
    other      uuid    not null references account,
    id         uuid    not null unique,                       -- of its notification, too; later ones have higher ones
    note       text    not null default '' check (length(note) <= 500),
    interested boolean not null default false,
    ignored    boolean not null default false,
    withdrawn  boolean not null default false,
    at_ms      bigint  not null default now_ms(),
    primary key (person, other),
    check (person <> other),
    check (ignored or not withdrawn)
);
create index contact_request_received on contact_request (other, id desc) where not ignored;
create index contact_request_sent on contact_request (person, id desc) where not withdrawn;
create index contact_request_other on contact_request (other);

-- When somebody asked, for a day: what counts against the limit, whatever became of it.
create table contact_asked (
    person uuid   not null references account,
    id     uuid   not null,
    at_ms  bigint not null default now_ms(),
    primary key (person, id)
);

create table follow (
    person   uuid   not null references account,              -- who follows
    followed uuid   not null references account,
    id       uuid   not null,                                 -- by which lists are ordered: later ones have higher ones
    at_ms    bigint not null default now_ms(),
    primary key (person, followed),
    check (person <> followed)
);
create index follow_following on follow (person, id desc);
create index follow_followers on follow (followed, id desc);

-- Who was told once that somebody follows: whoever stops and begins again tells nothing.
create table follow_told (
    followed uuid not null references account,
    person   uuid not null references account,
    primary key (followed, person)
);
create index follow_told_person on follow_told (person);

-- What an id was made for a key of one's own (0006), so that a repeat finds it, whatever became of it; gone with the key.
create table made (
    key_hash uuid not null,
    person   uuid not null,
    id       uuid not null,
    primary key (key_hash, person),
    foreign key (key_hash, person) references personal_key on delete cascade
);


-- --- Requests ---

-- A request is over: 'accepted' or 'withdrawn'; or 'ignored', which only who got it sees. Of what the other was told, nothing
-- waits any more.
create function end_contact_request(p_from uuid, p_to uuid, p_end text) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
declare
    r contact_request;
    v_value jsonb;
    v_number bigint;
begin
    select * into r from contact_request where person = p_from and other = p_to for update;
    if not found then return 0; end if;
    if p_end = 'ignored' then
        update contact_request set ignored = true where person = p_from and other = p_to;
    elsif p_end = 'withdrawn' and r.ignored then
        update contact_request set withdrawn = true where person = p_from and other = p_to;
        return 0;                                             -- nothing is told to who has seen the last of it
    else
        delete from contact_request where person = p_from and other = p_to;
    end if;
    v_number := set_personal(p_to, 'contact_request', p_from::text, null);
    select value::jsonb into v_value from personal where person = p_to and what = 'notification' and subject = r.id::text;
    if v_value is null then return v_number; end if;
    return greatest(v_number, set_personal(p_to, 'notification', r.id::text, case p_end
        when 'withdrawn' then null
        when 'accepted' then (v_value || '{"read": true, "answer": "accepted"}')::json
        else (v_value || '{"read": true, "answer": "declined"}')::json end));
end $$;

-- The two are contacts from now on, and nothing waits between them. *p_person* did what made them so, which the other is told,
-- under the id *p_id*. Call it with both locked.
--   Returns {"number", "changed", "jobs", "grown"} or {"error"}.
create function become_contacts(p_person uuid, p_other uuid, p_id uuid, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_most integer := p_rules ->> 'contacts';
    v_at bigint := now_ms();
    v_told boolean;
begin
    if (select count(*) from contact where person = p_person) >= v_most
       or (select count(*) from contact where person = p_other) >= v_most then
        return json_build_object('error', 'too_many');
    end if;
    insert into contact (person, other, at_ms) values (p_person, p_other, v_at), (p_other, p_person, v_at);
    perform end_contact_request(p_person, p_other, 'accepted');
    perform end_contact_request(p_other, p_person, 'accepted');
    perform set_personal(p_other, 'contact', p_person::text, json_build_object('at_ms', v_at));
    perform set_personal(p_person, 'contact', p_other::text, json_build_object('at_ms', v_at));
    v_told := tell_person(p_other, p_person, p_id, json_build_object(
        'kind', 'contact_accepted', 'at_ms', v_at, 'user', p_person));
    return json_build_object('number', (select number from account where id = p_person), 'jobs', v_told,
                             'changed', json_build_array(p_person, p_other), 'grown', settle_direct(p_person, p_other));
end $$;

-- Ask somebody to be one's contact; of two who ask each other, the later makes them contacts. Asking again while it waits
-- changes nothing.
--   {"contact": whether they are contacts now}, and as above.
create function request_contact(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_other uuid := p_command ->> 'user';
    v_day bigint := 86400000;
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_at bigint;
    v_oldest bigint;
    v_answer json;
    v_done json;
    v_told boolean;
    r contact_request;
begin
    perform lock_pair(p_person, v_other);
    v_answer := begin_personal(p_person, 'contact', v_key, v_digest);
    if v_answer is not null then
        return (v_answer::jsonb || jsonb_build_object(
            'contact', exists (select from contact where person = p_person and other = v_other)))::json;
    end if;
    if v_other = p_person then return json_build_object('error', 'oneself'); end if;
    if not may_see(p_person, v_other) then return json_build_object('error', 'unknown_user'); end if;
    if exists (select from contact where person = p_person and other = v_other) then
        perform end_personal(p_person, 'contact', v_key, v_digest, 0);
        return json_build_object('number', 0, 'new', false, 'contact', true);
    end if;
    if exists (select from contact_request where person = v_other and other = p_person and not withdrawn) then
        v_done := become_contacts(p_person, v_other, p_id, p_rules);
        if v_done ->> 'error' is not null then return v_done; end if;
        perform end_personal(p_person, 'contact', v_key, v_digest, (v_done ->> 'number')::bigint);
        return (v_done::jsonb || '{"new": true, "contact": true}')::json;
    end if;
    select * into r from contact_request where person = p_person and other = v_other;
    if found and not r.withdrawn then
        perform end_personal(p_person, 'contact', v_key, v_digest, 0);
        return json_build_object('number', 0, 'new', false, 'contact', false);
    end if;
    v_at := now_ms();
    delete from contact_asked where person = p_person and at_ms <= v_at - v_day;
    select at_ms into v_oldest from contact_asked where person = p_person order by at_ms desc
        offset (p_rules ->> 'requests_a_day')::integer - 1 limit 1;
    if found then
        return json_build_object('error', 'rate_limited', 'retry_after_ms', greatest(1, v_oldest + v_day - v_at));
    end if;
    if (select count(*) from contact_request where person = p_person and not withdrawn) >= (p_rules ->> 'requests_waiting')::integer
       or (select count(*) from contact where person = p_person) >= (p_rules ->> 'contacts')::integer then
        return json_build_object('error', 'too_many');
    end if;
    if r.person is null and (select count(*) from contact_request where other = v_other and not ignored)
                            >= (p_rules ->> 'received')::integer then
        return json_build_object('error', 'too_many_requests');
    end if;
    insert into contact_asked (person, id, at_ms) values (p_person, p_id, v_at);
    insert into contact_request as o (person, other, id, note, interested, at_ms)
    values (p_person, v_other, p_id, p_command ->> 'note', (p_command ->> 'interested')::boolean, v_at)
    on conflict (person, other) do update set id = excluded.id, note = excluded.note, interested = excluded.interested,
        at_ms = excluded.at_ms, withdrawn = false;
    if r.person is null then                                  -- else it was ignored before, and is
        perform set_personal(v_other, 'contact_request', p_person::text, json_strip_nulls(json_build_object(
            'at_ms', v_at, 'note', nullif(p_command ->> 'note', ''), 'interested', nullif((p_command ->> 'interested')::boolean, false))));
        v_told := tell_person(v_other, p_person, p_id, json_build_object(
            'kind', 'contact_request', 'at_ms', v_at, 'user', p_person));
    end if;
    perform end_personal(p_person, 'contact', v_key, v_digest, 0);
    return json_build_object('number', 0, 'new', true, 'contact', false, 'jobs', coalesce(v_told, false),
                             'changed', case when r.person is null then json_build_array(v_other) else '[]'::json end);
end $$;

-- Accept a request, also one that was ignored, or ignore it.
create function answer_contact(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_other uuid := p_command ->> 'user';
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_answer json;
    v_done json;
begin
    perform lock_pair(p_person, v_other);
    v_answer := begin_personal(p_person, 'contact', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    if not exists (select from contact_request where person = v_other and other = p_person and not withdrawn)
       or not may_see(p_person, v_other) then
        return json_build_object('error', 'unknown_request');
    end if;
    if (p_command ->> 'accept')::boolean then
        v_done := become_contacts(p_person, v_other, p_id, p_rules);
        if v_done ->> 'error' is not null then return v_done; end if;
    else
        v_done := json_build_object('number', end_contact_request(v_other, p_person, 'ignored'),
                                    'changed', json_build_array(p_person));
    end if;
    perform end_personal(p_person, 'contact', v_key, v_digest, (v_done ->> 'number')::bigint);
    return (v_done::jsonb || '{"new": true}')::json;
end $$;

-- Take one's own request back: the other's list knows nothing of it any more, nor do the notifications.
create function withdraw_contact(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_other uuid := p_command ->> 'user';
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_answer json;
begin
    perform lock_pair(p_person, v_other);
    v_answer := begin_personal(p_person, 'contact', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    if not exists (select from contact_request where person = p_person and other = v_other and not withdrawn) then
        return json_build_object('error', 'unknown_request');
    end if;
    perform end_contact_request(p_person, v_other, 'withdrawn');
    perform end_personal(p_person, 'contact', v_key, v_digest, 0);
    return json_build_object('number', 0, 'new', true, 'changed', json_build_array(v_other));
end $$;

-- The two are contacts no more; who are none stay so.
create function remove_contact(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_other uuid := p_command ->> 'user';
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_answer json;
    v_number bigint;
    v_grown json;
begin
    perform lock_pair(p_person, v_other);
    v_answer := begin_personal(p_person, 'contact', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    if not exists (select from contact where person = p_person and other = v_other) then
        return end_personal(p_person, 'contact', v_key, v_digest, 0);
    end if;
    delete from contact where person = p_person and other = v_other or person = v_other and other = p_person;
    perform set_personal(v_other, 'contact', p_person::text, null);
    v_number := set_personal(p_person, 'contact', v_other::text, null);
    v_grown := settle_direct(p_person, v_other);
    perform end_personal(p_person, 'contact', v_key, v_digest, v_number);
    return json_build_object('number', v_number, 'new', true, 'changed', json_build_array(p_person, v_other), 'grown', v_grown);
end $$;

-- What is between two people ends: that they are contacts, requests and follows, either way. Call it with both accounts locked.
create function part_ways(p_one uuid, p_other uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    delete from contact where person = p_one and other = p_other or person = p_other and other = p_one;
    perform set_personal(p_one, 'contact', p_other::text, null);
    perform set_personal(p_other, 'contact', p_one::text, null);
    perform end_contact_request(p_one, p_other, 'withdrawn');
    perform end_contact_request(p_other, p_one, 'withdrawn');
    delete from contact_request where person = p_one and other = p_other or person = p_other and other = p_one;
    delete from follow where person = p_one and followed = p_other or person = p_other and followed = p_one;
end $$;

-- One's contacts whom one may see, the newest first, after a place. A contact sees as of a contact when one was there last,
-- unless one of the two shows it to nobody.
--   Returns {"contacts": [{"user", "at_ms", "seen": whether presence is shown, "last_seen_ms"}, ...], "more", "count"}.
create function contact_page(p_person uuid, p_at bigint, p_other uuid, p_limit integer) returns json language sql stable
set enable_seqscan = off
as $$
    with page as materialized (
        select c.other, c.at_ms, row_number() over (order by c.at_ms desc, c.other) as nth from (
            select other, at_ms from contact
            where person = p_person and at_ms <= p_at and (at_ms < p_at or other > p_other) and may_see(p_person, other)
            order by at_ms desc, other limit p_limit + 1) c
    ), shown as (
        select p.*, coalesce((select last_seen from privacy where person = p_person), 'everyone') <> 'nobody'
                    and coalesce((select last_seen from privacy where person = p.other), 'everyone') <> 'nobody' as seen
        from page p where nth <= p_limit
    )
    select json_build_object(
        'contacts', (select coalesce(json_agg(json_strip_nulls(json_build_object(
            'user', other, 'at_ms', at_ms, 'seen', seen,
            'last_seen_ms', case when seen then (select at_ms from last_seen where person = other) end)) order by nth), '[]')
            from shown),
        'more', exists (select from page where nth > p_limit),
        'count', (select count(*) from contact where person = p_person and may_see(p_person, other)))
$$;

-- Requests that wait, received or sent, the newest first, below an id.
--   Returns {"requests": [{"id", "user", "at_ms", "note", "interested"}, ...], "more", "count"}.
create function contact_request_page(p_person uuid, p_sent boolean, p_below uuid, p_limit integer) returns json language sql stable
set enable_seqscan = off
as $$
    with page as materialized (
        select r.*, row_number() over (order by r.id desc) as nth from (
            (select r.id, r.other as who, r.at_ms, r.note, r.interested from contact_request r
             where p_sent and r.person = p_person and not r.withdrawn and r.id < p_below and may_see(p_person, r.other)
             order by r.id desc limit p_limit + 1)
            union all
            (select r.id, r.person, r.at_ms, r.note, r.interested from contact_request r
             where not p_sent and r.other = p_person and not r.ignored and r.id < p_below and may_see(p_person, r.person)
             order by r.id desc limit p_limit + 1)) r
    )
    select json_build_object(
        'requests', (select coalesce(json_agg(json_strip_nulls(json_build_object(
            'id', id, 'user', who, 'at_ms', at_ms, 'note', nullif(note, ''), 'interested', nullif(interested, false)))
            order by nth), '[]') from page where nth <= p_limit),
        'more', exists (select from page where nth > p_limit),
        'count', case when p_sent
            then (select count(*) from contact_request where person = p_person and not withdrawn and may_see(p_person, other))
            else (select count(*) from contact_request where other = p_person and not ignored and may_see(p_person, person)) end)
$$;


-- --- Following ---

create function begin_follow(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_other uuid := p_command ->> 'user';
    v_digest uuid := personal_digest(p_command);
    v_key text := p_command ->> 'key';
    v_at bigint;
    v_answer json;
    v_told boolean := false;
begin
    perform from account where id in (p_person, v_other) order by id for no key update;
    v_answer := begin_personal(p_person, 'follow', v_key, v_digest);
    if v_answer is not null then return v_answer; end if;
    if v_other = p_person then return json_build_object('error', 'oneself'); end if;
    if not may_see(p_person, v_other) then return json_build_object('error', 'unknown_user'); end if;
    if not exists (select from follow where person = p_person and followed = v_other) then
        if (select count(*) from follow where person = p_person) >= (p_rules ->> 'following')::integer then
            return json_build_object('error', 'too_many');
        end if;
        v_at := now_ms();
        insert into follow (person, followed, id, at_ms) values (p_person, v_other, p_id, v_at);
        insert into follow_told (followed, person) values (v_other, p_person) on conflict do nothing;
        if found then
            v_told := tell_person(v_other, p_person, p_id, json_build_object('kind', 'follow', 'at_ms', v_at, 'user', p_person));
        end if;
    end if;
    perform end_personal(p_person, 'follow', v_key, v_digest, 0);
    return json_build_object('number', 0, 'new', true, 'jobs', v_told,
                             'changed', case when v_told then json_build_array(v_other) else '[]'::json end);
end $$;

create function end_follow(p_person uuid, p_id uuid, p_command json, p_rules json) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_digest uuid := personal_digest(p_command);
    v_answer json;
begin
    v_answer := begin_personal(p_person, 'follow', p_command ->> 'key', v_digest);
    if v_answer is not null then return v_answer; end if;
    delete from follow where person = p_person and followed = (p_command ->> 'user')::uuid;
    return end_personal(p_person, 'follow', p_command ->> 'key', v_digest, 0);
end $$;

-- Who follows *p_user*, or whom *p_user* follows, as far as *p_person* may see them, the newest first, below an id. Counted
-- among the newest p_counted.
--   Returns {"people": [{"id", "user", "at_ms"}, ...], "more", "count"} or {"error"}.
create function follow_page(p_person uuid, p_user uuid, p_followers boolean, p_below uuid, p_limit integer, p_counted integer)
returns json language plpgsql stable
set enable_seqscan = off
as $$
begin
    if not may_see(p_person, p_user) then return json_build_object('error', 'unknown_user'); end if;
    if p_followers then
        return (
            with page as materialized (
                select f.id, f.person as who, f.at_ms, row_number() over (order by f.id desc) as nth from (
                    select * from follow where followed = p_user and id < p_below and may_see(p_person, person)
                    order by id desc limit p_limit + 1) f
            )
            select json_build_object(
                'people', (select coalesce(json_agg(json_build_object('id', id, 'user', who, 'at_ms', at_ms) order by nth), '[]')
                           from page where nth <= p_limit),
                'more', exists (select from page where nth > p_limit),
                'count', (select count(*) from (select person from follow where followed = p_user order by id desc limit p_counted) n
                          where may_see(p_person, n.person))));
    end if;
    return (
        with page as materialized (
            select f.id, f.followed as who, f.at_ms, row_number() over (order by f.id desc) as nth from (
                select * from follow where person = p_user and id < p_below and may_see(p_person, followed)
                order by id desc limit p_limit + 1) f
        )
        select json_build_object(
            'people', (select coalesce(json_agg(json_build_object('id', id, 'user', who, 'at_ms', at_ms) order by nth), '[]')
                       from page where nth <= p_limit),
            'more', exists (select from page where nth > p_limit),
            'count', (select count(*) from (select followed from follow where person = p_user order by id desc limit p_counted) n
                      where may_see(p_person, n.followed))));
end $$;


-- --- Leaving ---

-- Everything about somebody's contacts, requests and follows goes, with the rows that others hold of them. It locks all
-- accounts concerned, in id order: call it before another account is locked.
create function erase_contacts(p_person uuid) returns void language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_one uuid;
begin
    perform from account where id = p_person or id = any (array(
        select other from contact where person = p_person
        union select other from contact_request where person = p_person
        union select person from contact_request where other = p_person)) order by id for no key update;
    for v_one in select other from contact where person = p_person
                 union select other from contact_request where person = p_person
                 union select person from contact_request where other = p_person order by 1 loop
        delete from contact where person = p_person and other = v_one or person = v_one and other = p_person;
        perform set_personal(v_one, 'contact', p_person::text, null);
        perform end_contact_request(p_person, v_one, 'withdrawn');
        perform end_contact_request(v_one, p_person, 'withdrawn');
    end loop;
    delete from contact_request where person = p_person or other = p_person;
    delete from contact_asked where person = p_person;
    delete from follow where person = p_person;
    delete from follow where followed = p_person;
    delete from follow_told where person = p_person;
    delete from follow_told where followed = p_person;
    delete from made where person = p_person;
end $$;

-- Somebody's contacts, requests and follows. Who ignored a request is told to nobody.
create function export_contacts(p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'contacts', (select coalesce(json_agg(json_build_object('user', other, 'at_ms', at_ms) order by at_ms, other), '[]')
                     from contact where person = p_person),
        'requests_sent', (select coalesce(json_agg(json_build_object(
                'user', other, 'note', note, 'interested', interested, 'at_ms', at_ms) order by id), '[]')
            from contact_request where person = p_person and not withdrawn),
        'requests_received', (select coalesce(json_agg(json_build_object(
                'user', person, 'note', note, 'interested', interested, 'ignored', ignored, 'at_ms', at_ms) order by id), '[]')
            from contact_request where other = p_person and not withdrawn),
        'following', (select coalesce(json_agg(json_build_object('user', followed, 'at_ms', at_ms) order by id), '[]')
                      from follow where person = p_person),
        'followers', (select coalesce(json_agg(json_build_object('user', person, 'at_ms', at_ms) order by id), '[]')
                      from follow where followed = p_person))
$$;
