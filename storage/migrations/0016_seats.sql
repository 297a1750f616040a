-- Who is seated where is written by one at a time for each process: two that wrote the same people in other orders met
-- (a process that only slept, and does not know that its call was sent again). Whoever writes seats locks the process's row
-- first, then the people's in id order.

create or replace function take_seats(p_node uuid, p_came uuid[], p_went json) returns void language plpgsql volatile
set enable_seqscan = off
as $$
begin
    perform from node where id = p_node for no key update;
    if found then                                            -- else another process took it for dead, and cleared it away
        insert into seat (node, person) select p_node, p from unnest(p_came) p order by p on conflict do nothing;
        delete from seat where node = p_node and person = any (array(select p from json_to_recordset(p_went) as w(p uuid)));
    end if;
    insert into last_seen as l (person, at_ms)
        select p, whole_minute(now_ms() - max(ago)) from json_to_recordset(p_went) as w(p uuid, ago bigint)
        where exists (select from account where id = p) group by p order by p
        on conflict (person) do update set at_ms = excluded.at_ms where excluded.at_ms > l.at_ms;
end $$;

create or replace function leave_node(p_node uuid) returns void language plpgsql volatile as $$
begin
    perform from node where id = p_node for update;
    if clear_seats(p_node, now_ms(), 5000) then
        update node set beat = now() - interval '16 seconds' where id = p_node;
    else
        delete from node where id = p_node;
    end if;
end $$;
