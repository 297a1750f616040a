-- What everything about people stands on: how an account stands, who is what to whom, who may see whom, and how somebody is
-- told of something that no conversation says.
--
-- 0017 to 0026 came together; a function may name what a later one makes, for PL/pgSQL looks that up when it runs.

-- How an account stands. active; paused: by the person, who meets nobody new until it is over; suspended: by the operator,
-- nobody signs in; leaving: the person left and may return until the day of erasure; deleted: erased, the row stays for those
-- whose conversations name it.
alter table account
    add column standing       text   not null default 'active'
        check (standing in ('active', 'paused', 'suspended', 'leaving', 'deleted')),
    add column standing_at_ms bigint not null default 0,      -- since when
    add column role           text   not null default 'person' check (role in ('person', 'moderator', 'admin'));

-- Who blocked whom. It works both ways, wherever people are shown to each other: may_see.
create table block (
    person  uuid   not null references account,               -- who did it
    blocked uuid   not null references account,
    at_ms   bigint not null default now_ms(),
    primary key (person, blocked),
    check (person <> blocked)
);
create index block_blocked on block (blocked, person);

-- Who is whose contact: two rows for each two people, one in the direction of each.
create table contact (
    person uuid   not null references account,
    other  uuid   not null references account,
    at_ms  bigint not null default now_ms(),
    primary key (person, other),
    check (person <> other)
);
create index contact_recent on contact (person, at_ms desc, other);

-- Who matched: a row for each time, at most one of which stands for two people.
create table matched (
    id           uuid   primary key,
    low          uuid   not null references account,
    high         uuid   not null references account,
    conversation uuid   not null references conversation,
    at_ms        bigint not null default now_ms(),
    ended_at_ms  bigint,                                      -- null: it stands
    ended_by     uuid   references account,
    check (low < high),
    check ((ended_at_ms is null) = (ended_by is null))
);
create unique index matched_standing on matched (low, high) where ended_at_ms is null;
create index matched_low on matched (low, id desc);
create index matched_high on matched (high, id desc);

-- Whether one of the two blocked the other.
create function blocked(p_one uuid, p_other uuid) returns boolean language sql stable
return exists (select from block where person = p_one and blocked = p_other)
    or exists (select from block where person = p_other and blocked = p_one);

-- Whether *p_person* may see *p_other* at all: profile, presence, posts, and whatever else says that somebody is there. What
-- shows people to people asks this, and nothing beside it decides. One sees oneself, however one stands.
create function may_see(p_person uuid, p_other uuid) returns boolean language sql stable
return p_person = p_other
    or exists (select from account where id = p_other and standing in ('active', 'paused')) and not blocked(p_person, p_other);

-- What *p_other* is to *p_person*: 'self'; 'contact', a contact or a match that stands; 'stranger'.
create function relation(p_person uuid, p_other uuid) returns text language sql stable
return case
    when p_person = p_other then 'self'
    when exists (select from contact where person = p_person and other = p_other)
        or exists (select from matched where low = least(p_person, p_other) and high = greatest(p_person, p_other)
                   and ended_at_ms is null) then 'contact'
    else 'stranger' end;


-- Tell somebody of something, in the app and by push: a notification (protocol/frames/states.py) and the jobs that push it.
-- Nothing is told of *p_from* (null: of nobody) to who may not see them. The same id tells once. Call it in the transaction
-- of what it tells, after the locks of all accounts concerned, taken in id order.
--   Returns whether the person's own rows changed: then Registry.changed(person), and Office.there_is_a_job().
create function tell_person(
    p_person uuid, p_from uuid, p_id uuid, p_value json, p_kept integer default 200, p_devices integer default 100
) returns boolean language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from account where id = p_person for no key update;
    if not found or p_from is not null and not may_see(p_person, p_from) then return false; end if;
    if not add_notification(p_person, p_id::text, p_value, p_kept) then return false; end if;
    with chunk as (
        select device, (row_number() over (order by device) - 1) / p_devices as nth from device where account = p_person
    )
    insert into job (kind, key, payload, due_at_ms)
    select 'told.push', p_id || ':' || p_person || ':' || nth, json_build_object('notification', p_id, 'devices',
           json_agg(json_build_array(p_person, device) order by device)), now_ms()
    from chunk group by nth on conflict do nothing;
    return true;
end $$;

-- What devices are to be told of a notification now; those that are not are left out.
--   p_devices [[account, device], ...]
--   Returns [{"account", "device", "token", "platform", "wait": its socket is open, "said": the notification,
--             "name": of who did it, "badge", "hide"}, ...].
create function told_contents(
    p_notification uuid, p_devices json, p_patience_ms bigint, p_stale_ms bigint, p_unread integer
) returns json language sql stable
set enable_seqscan = off
as $$
    with due as materialized (
        select d.account, d.device, d.token, d.platform, m.value as said, is_connected(d.node) as wait,
               (m.value ->> 'user')::uuid as by
        from json_array_elements(p_devices) x
        join device d on d.account = (x ->> 0)::uuid and d.device = x ->> 1
        join personal m on m.person = d.account and m.what = 'notification' and m.subject = p_notification::text
        where not coalesce((m.value ->> 'read')::boolean, m.value is null)
            and (m.value ->> 'at_ms')::bigint >= now_ms() - p_stale_ms
            and wants_push(d.account, null, false)
    ), badge as materialized (
        select account, push_badge(account, p_unread) as unread from (select distinct account from due where not wait) a
    )
    select coalesce(json_agg(json_strip_nulls(json_build_object(
        'account', d.account, 'device', d.device, 'token', d.token, 'platform', d.platform, 'wait', d.wait,
        'said', d.said, 'name', a.name, 'badge', b.unread,
        'hide', coalesce((o.value ->> 'hide_content')::boolean, false))) order by d.account, d.device), '[]')
    from due d
    left join account a on a.id = d.by
    left join badge b on b.account = d.account
    left join personal o on o.person = d.account and o.what = 'notifying' and o.subject = ''
    where (not d.wait or (d.said ->> 'at_ms')::bigint >= now_ms() - p_patience_ms)
        and (d.by is null or may_see(d.account, d.by))
$$;
