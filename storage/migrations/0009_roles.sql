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
