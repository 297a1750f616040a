create table room (
    id text primary key,
    last_seq bigint not null default 0
);
create table member (
    account text not null,
    room text not null references room,
    primary key (account, room)
);
create table entry (
    room text not null references room,
    seq bigint not null,
    author text not null,
    key text not null,
    text text not null,
    at_ms bigint not null,
    primary key (room, seq),
    unique (room, author, key)
);
