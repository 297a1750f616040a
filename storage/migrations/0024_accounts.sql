-- Accounts, whole: addresses that are proved by codes, mails that bring them, sign-ins that end for more reasons, and what
-- the operator does to an account.

-- Who signs up by a code has no password; password_hash null: nobody gets in by one.
alter table account
    alter column password_hash drop not null,
    add column email_verified_at_ms bigint;                   -- when the address was proved to be the person's; null: never

-- logout: by the person, here; reuse: of a refresh token; revoked: by the person, from another device; password, email: these
-- were changed; taken: who holds the address took over what somebody else had made; suspended, left: the account stands so.
alter table sign_in
    drop constraint sign_in_ended_by_check,
    add constraint sign_in_ended_by_check
        check (ended_by in ('logout', 'reuse', 'revoked', 'password', 'email', 'taken', 'suspended', 'left'));
create index sign_in_ended on sign_in (ended_at_ms, id) where ended_at_ms is not null;   -- what the sweep asks for


-- Codes of six digits. A row is an address and what the code is for, whether the address has an account or not: nothing here
-- says which. The code itself is nowhere: it is made when its mail goes out, and only its HMAC is kept.
create table one_time_code (
    address    text     not null check (address <> '' and length(address) <= 254),   -- in lower case, as account_email sees it
    purpose    text     not null check (purpose in ('enter', 'password', 'email_old', 'email_new')),
    person     uuid     references account,                   -- email_*: whose change of address it is
    subject    text,                                          -- email_old: the new address
    ticket     uuid     not null,                             -- of the newest request: an older one's mail is not sent
    salt       bytea,
    hash       bytea,                                         -- null: no mail went out yet, or the code was used
    tries      integer  not null default 0,
    ends_at_ms bigint   not null default 0,
    asked      integer  not null default 1,                   -- requests since since_ms
    since_ms   bigint   not null default now_ms(),
    primary key (address, purpose)
);
create index one_time_code_person on one_time_code (person) where person is not null;
create index one_time_code_age on one_time_code (since_ms);

-- Ask for a code: the one before is no good any more, and a job is made that sends the mail. The same work for every address.
--   p_mail what the job is given, less the ticket.
--   Returns 0, or in how many milliseconds a further code may be asked for.
create function ask_code(
    p_address text, p_purpose text, p_person uuid, p_subject text, p_ticket uuid, p_most integer, p_window_ms bigint,
    p_mail json
) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_address text := lower(p_address);
    v_now bigint := now_ms();
    v_row one_time_code;
begin
    insert into one_time_code (address, purpose, person, subject, ticket, asked)
    values (v_address, p_purpose, p_person, p_subject, p_ticket, 0) on conflict do nothing;
    select * into strict v_row from one_time_code where address = v_address and purpose = p_purpose for no key update;
    if v_row.since_ms <= v_now - p_window_ms then
        v_row.since_ms := v_now;
        v_row.asked := 0;
    end if;
    if v_row.asked >= p_most then return greatest(1, v_row.since_ms + p_window_ms - v_now); end if;
    update one_time_code set person = p_person, subject = p_subject, ticket = p_ticket, salt = null, hash = null, tries = 0,
        ends_at_ms = 0, asked = v_row.asked + 1, since_ms = v_row.since_ms
    where address = v_address and purpose = p_purpose;
    insert into job (kind, key, payload, due_at_ms)
    values ('mail', p_ticket::text, (p_mail::jsonb || jsonb_build_object('ticket', p_ticket))::json, v_now);
    return 0;
end $$;


-- The last mails of the driver `console`, for who tries Konnect: `konnect dev` shows them.
create table mail_tray (
    id        bigint generated always as identity primary key,
    recipient text   not null,
    subject   text   not null,
    body      text   not null,
    html      text   not null,
    at_ms     bigint not null default now_ms()
);


-- End sign-ins of a person: all but *p_but* (null: all). The account is locked by whoever calls.
create function end_sign_ins(p_person uuid, p_but uuid, p_by text) returns setof uuid language sql volatile
set enable_seqscan = off
as $$
    update sign_in set ended_at_ms = now_ms(), ended_by = p_by
    where account = p_person and ended_at_ms is null and id is distinct from p_but
    returning id
$$;

-- What the operator does to an account.
--   p_standing 'suspended', 'active' (restore) or 'leaving'.
--   Returns {"standing": as it stands now, "ended": sign-ins that ended}, or {"error": 'unknown_user' | 'deleted' |
--   'not_suspended'}.
create function stand_account(p_person uuid, p_standing text) returns json language plpgsql volatile
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
    if v_standing <> p_standing then
        if p_standing = 'leaving' and to_regprocedure('begin_leaving(uuid)') is not null then
            perform begin_leaving(p_person);
        end if;
        update account set standing = p_standing, standing_at_ms = now_ms()
        where id = p_person and standing <> p_standing;
    end if;
    if p_standing in ('suspended', 'leaving') then
        select coalesce(json_agg(id), '[]') into v_ended
        from end_sign_ins(p_person, null, case p_standing when 'suspended' then 'suspended' else 'left' end) id;
    end if;
    return json_build_object('standing', p_standing, 'ended', v_ended);
end $$;


-- For whoever erases a person: sign-ins, codes, and mails that wait, were sent lately, failed, or lie in the tray. To be
-- called before the account's address is blanked, with the account locked.
create function erase_account_extras(p_person uuid) returns void language plpgsql volatile as $$
declare
    v_address text;
begin
    select lower(email) into v_address from account where id = p_person;
    delete from one_time_code where person = p_person or address = v_address or lower(subject) = v_address;
    delete from job where kind = 'mail' and (payload ->> 'person' = p_person::text or lower(payload ->> 'to') = v_address);
    delete from mail_tray where lower(recipient) = v_address;
    delete from sign_in where account = p_person;
end $$;

-- What is a person's in these tables: the account, and its sign-ins.
create function export_accounts(p_person uuid) returns json language sql stable
set enable_seqscan = off
as $$
    select json_build_object(
        'id', a.id, 'name', a.name, 'email', a.email, 'email_verified_at_ms', a.email_verified_at_ms,
        'has_password', a.password_hash is not null, 'created_at_ms', a.created_at_ms, 'standing', a.standing,
        'standing_at_ms', a.standing_at_ms, 'role', a.role,
        'sign_ins', (
            select coalesce(json_agg(json_build_object('id', s.id, 'device', s.device, 'created_at_ms', s.created_at_ms,
                'used_at_ms', s.used_at_ms, 'ended_at_ms', s.ended_at_ms, 'ended_by', s.ended_by)
                order by s.created_at_ms, s.id), '[]')
            from sign_in s where s.account = p_person))
    from account a where a.id = p_person
$$;
