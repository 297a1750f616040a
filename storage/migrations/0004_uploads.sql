-- Media: what was announced, what has arrived and was checked, and where it is used.
--
-- The bytes lie elsewhere (storage/blobs.py) under names that follow from these rows, so that whoever deletes a row knows
-- what to delete before it. Locks: an upload's row after conversations and accounts (0002).

create table upload (
    id                uuid    primary key,
    owner             uuid    not null references account,
    kind              text    not null check (kind in ('profile_photo', 'photo', 'voice', 'video', 'file')),
    state             text    not null default 'pending' check (state in ('pending', 'ready', 'doomed')),
    size_bytes        bigint  not null check (size_bytes >= 1),
    content_type      text    not null check (length(content_type) between 3 and 127),
    sha256            bytea   not null check (octet_length(sha256) = 32),
    name              text    not null default '' check (length(name) <= 200),  -- a file's, for who saves it
    tries             integer not null default 0 check (tries >= 0),  -- checks begun; each looks at a copy of its own
    kept              integer check (kept between 1 and tries),       -- the copy that was found good
    created_at_ms     bigint  not null,
    incoming_until_ms bigint,           -- something may arrive at the upload's address until then; null: cleared since
    due_at_ms         bigint  not null, -- from then on the sweep may take it, unless it is used
    used_at_ms        bigint,           -- null: nothing names it
    check (state <> 'ready' or kept is not null),
    check (state <> 'pending' or kept is null),
    check (state = 'ready' or used_at_ms is null)
);
create index upload_owner on upload (owner);
create index upload_due on upload (due_at_ms) where used_at_ms is null;
create index upload_incoming on upload (incoming_until_ms) where state = 'ready' and incoming_until_ms is not null;

-- Where a medium is named: by the entry of a conversation, or, without one, by its owner's profile.
create table upload_use (
    upload       uuid   not null references upload,
    conversation uuid   references conversation,
    seq          bigint check (seq >= 1),
    check ((conversation is null) = (seq is null)),
    unique nulls not distinct (upload, conversation, seq)
);
create index upload_use_conversation on upload_use (conversation, seq);

-- Name a medium, in the transaction of what names it. Repeating it does no harm.
--   Returns 'ok', or why not: 'unknown_medium', 'not_ready', 'wrong_use'.
create function upload_attach(p_upload uuid, p_owner uuid, p_conversation uuid, p_seq bigint) returns text
language plpgsql volatile
as $$
declare
    v_state text;
    v_kind  text;
begin
    -- Waits for nobody who waits for the network: the sweep dooms first, and deletes when it holds no lock.
    select state, kind into v_state, v_kind from upload
    where id = p_upload and owner = p_owner and state <> 'doomed' for no key update;
    if not found then
        return 'unknown_medium';
    elsif v_state <> 'ready' then
        return 'not_ready';
    elsif (v_kind = 'profile_photo') <> (p_conversation is null) then
        return 'wrong_use';
    end if;
    insert into upload_use (upload, conversation, seq) values (p_upload, p_conversation, p_seq) on conflict do nothing;
    update upload set used_at_ms = now_ms() where id = p_upload and used_at_ms is null;
    return 'ok';
end $$;

-- Take a name back; with the last one the medium is an orphan again, for p_unused_ms.
create function upload_detach(p_upload uuid, p_conversation uuid, p_seq bigint, p_unused_ms bigint) returns void
language plpgsql volatile
as $$
begin
    perform from upload where id = p_upload for no key update;
    delete from upload_use
    where upload = p_upload and conversation is not distinct from p_conversation and seq is not distinct from p_seq;
    update upload set used_at_ms = null, due_at_ms = greatest(now_ms() + p_unused_ms, coalesce(incoming_until_ms, 0))
    where id = p_upload and used_at_ms is not null and not exists (select from upload_use where upload = p_upload);
end $$;
