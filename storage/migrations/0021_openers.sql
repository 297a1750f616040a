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
