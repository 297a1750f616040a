-- What is one's own: drafts, the settings of conversations, and whatever else concerns one person alone. Each is a row;
-- every change of one raises the person's number, and the row carries it. A client that comes back says by its cursor up to
-- which number it was told, and is told of the rows above (event `state`, docs/decisions/0014).
--
-- How to add a kind of row: storage/personal.py.

create table personal (
    person  uuid   not null references account,
    what    text   not null,
    subject text   collate "C" not null,                      -- of what it is: a conversation's id, or as its kind says
    value   json,                                             -- null: it is gone; never deleted, so that all are told
    number  bigint not null,                                  -- the person's number at the last change
    primary key (person, what, subject)
) with (fillfactor = 70);
create unique index personal_number on personal (person, number);   -- a number stands for one row: pages go by it

-- Set a row of a person's own; p_value null: it is gone. Takes the account's lock, after those of conversations and, of
-- several people, in id order. Nothing changes when it stands so already.
--   Returns the number up to which a device has to be told to know of it.
-- Whoever calls this lets the person's devices look (Registry.changed), for each person named; the sweep finds what is missed.
create function set_personal(p_person uuid, p_what text, p_subject text, p_value json) returns bigint language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_number bigint;
    v_old personal;
begin
    perform from account where id = p_person for no key update;   -- wait here; the next statement has a new snapshot
    select * into v_old from personal where person = p_person and what = p_what and subject = p_subject;
    if v_old.value::text is not distinct from p_value::text then
        return coalesce(v_old.number, 0);
    end if;
    update account set number = next_number(number) where id = p_person returning number into strict v_number;
    insert into personal (person, what, subject, value, number) values (p_person, p_what, p_subject, p_value, v_number)
    on conflict (person, what, subject) do update set value = p_value, number = v_number;
    return v_number;
end $$;

-- Keys of commands that change what is one's own, for ever: a repeat that comes late must not undo what was done since
-- (docs/hazards.md, A11).
create table personal_key (
    key_hash uuid   not null,                                 -- of person, scope and key
    person   uuid   not null references account,
    digest   uuid   not null,                                 -- of the command's content, to tell a repeat from a reuse
    number   bigint not null,                                 -- what the command was answered with
    primary key (key_hash, person)
);

-- What every such command begins with: the lock of the account, then the key, which belongs to its person and *p_scope* (a
-- conversation's id, or ''). Null: go on; else the answer, {"number"} or {"error"}. Each statement here and in the caller
-- has its own snapshot, so what follows sees all that was committed before the lock was had.
create function begin_personal(p_person uuid, p_scope text, p_key text, p_digest uuid) returns json language plpgsql volatile
set enable_seqscan = off
as $$
declare
    v_old personal_key;
begin
    perform from account where id = p_person for no key update;
    if not found then return json_build_object('error', 'unknown_user'); end if;
    select * into v_old from personal_key
        where key_hash = key_hash(p_person, p_scope || '/' || p_key) and person = p_person;
    if not found then return null; end if;
    if v_old.digest <> p_digest then return json_build_object('error', 'key_reused'); end if;
    return json_build_object('number', v_old.number);
end $$;

-- What it ends with: keep the key. *p_number*: what set_personal returned, the highest of several.
create function end_personal(p_person uuid, p_scope text, p_key text, p_digest uuid, p_number bigint)
returns json language plpgsql volatile as $$
begin
    insert into personal_key (key_hash, person, digest, number)
    values (key_hash(p_person, p_scope || '/' || p_key), p_person, p_digest, p_number);
    return json_build_object('number', p_number);
end $$;


-- Rows of one's own, in the order of their last change.
--   asks [{"q": asker, "p": person, "lo": above this number, "hi": up to this one, "g": whether those that are gone, too}, ...]
--   Returns [{"q", "rows": [{"number", "state"}, ...], "cut": true when more follow}, ...]; no row, no part.
create function personal_rows(asks json, p_limit integer, p_bytes integer) returns json language sql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off
as $$
    with sized as materialized (
        select a.q, r.number,
               json_strip_nulls(json_build_object('what', r.what, 'subject', r.subject, r.what, r.value)) as state,
               row_number() over page as nth,
               sum(coalesce(octet_length(r.value::text), 0) + octet_length(r.subject) + 100) over page as through
        from json_to_recordset(asks) as a(q integer, p uuid, lo bigint, hi bigint, g boolean)
        cross join lateral (
            select * from personal where person = a.p and number > a.lo and number <= a.hi and (a.g or value is not null)
            order by number limit p_limit + 1) r
        window page as (partition by a.q order by r.number)
    ), fitting as (
        select q, number, state, nth <= p_limit and (through <= p_bytes or nth = 1) as fits from sized
    )
    select coalesce(json_agg(page), '[]') from (
        select q, json_agg(json_build_object('number', number, 'state', state) order by number) filter (where fits) as rows,
               bool_or(not fits) as cut
        from fitting group by q) page
$$;


-- As before, and beside it the newest of one's own rows, if it is above what the asker was told; else 0, at no cost.
--   asks [{"p": person, "l": lineage or null, "n": number}, ...]
create or replace function standings(asks json) returns json language sql stable
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
    select coalesce(json_agg(json_build_object(
        'number', h.number,
        'rows', case when h.number > a.n then
            coalesce((select number from personal where person = a.p and number > a.n order by number desc limit 1), 0)
            else 0 end,
        'at_ms', now_ms(),
        'known', a.l is null or exists (select from lineage where id = a.l),
        'spans', (select coalesce(json_agg(json_strip_nulls(json_build_object(
                      'conversation', s.conversation, 'joined', s.joined, 'since', s.since, 'until', s.until, 'number', s.number,
                      'last_seq', v.last_seq,
                      'partner', case when v.kind = 'direct' then
                          (select case when d.low = a.p then d.high else d.low end from direct d where d.conversation = v.id) end))
                      order by s.conversation, s.joined), '[]')
                  from span s join conversation v on v.id = s.conversation where s.person = a.p)) order by a.n_th), '[]')
    from rows from (json_to_recordset(asks) as (p uuid, l uuid, n bigint)) with ordinality as a(p, l, n, n_th)
    left join lateral (select number from account where id = a.p limit 1) h on true
$$;
