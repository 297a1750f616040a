-- People, and their sign-ins.

create table account (
  id            uuid   primary key,
  email         text   not null check (email <> '' and char_length(email) <= 254),  -- trimmed, spelt as the person spelt it
  name          text   not null check (name <> '' and char_length(name) <= 100),
  password_hash text   not null,  -- argon2id in its own encoding, parameters included
  created_at_ms bigint not null,
  number        bigint not null default 0 check (number >= 0)
) with (fillfactor = 70);

-- One account per address, whatever its case.
create unique index account_email on account (lower(email));

comment on column account.number is
  'The person''s number: every change of one of the person''s own rows raises it, under this row''s lock. '
  'Keep it unindexed, so that the change stays a heap-only update.';

-- One sign-in of one device: a family of refresh tokens, of which only the newest is good.
create table sign_in (
  id            uuid    primary key,  -- "sid" in access tokens
  account       uuid    not null references account (id),
  device        text    not null default '' check (char_length(device) <= 200),  -- a label for people, never a right
  basis         bytea   not null check (octet_length(basis) = 32),  -- this family's own half of the tokens' HMAC
  counter       integer not null default 0 check (counter >= 0),  -- rotations so far
  token_hash    bytea   not null,  -- SHA-256 of the newest refresh token
  previous_hash bytea,             -- of the one before, for the client that never got the answer
  created_at_ms bigint  not null,
  used_at_ms    bigint  not null,  -- the last rotation; idleness and the minute of grace count from here
  ended_at_ms   bigint,            -- null while it lives
  ended_by      text    check (ended_by in ('logout', 'reuse')),
  check ((ended_at_ms is null) = (ended_by is null))
) with (fillfactor = 70);

create index sign_in_account on sign_in (account);
