
-- rollup daily sales
set local search_path = public;
do $init$ begin if not exists (select from oncesink.rollups where name = '"public"."daily sales"') then
execute 'lock table "public"."orders" in share row exclusive mode';
execute 'create table "oncesink"."public.daily sales rollup 1" with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05) as
select g1, g2, 0 as shard, count(*) as rows, case when coalesce(sum(x2), 0)::numeric - coalesce(sum(x2), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x2), 0)::numeric, ''revenue'') else coalesce(sum(x2), 0)::numeric end as m2, count(x2) as n2, case when coalesce(sum(x3), 0)::numeric - coalesce(sum(x3), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x3), 0)::numeric, ''pieces'') else coalesce(sum(x3), 0)::numeric end as m3, count(x3) as n3, count(x4) as m4
  from (select ((placed_at at time zone ''Europe/Berlin'')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4 from "public"."orders" where (status is distinct from ''cancelled'')) v
 group by g1, g2
  with no data';
execute 'create unique index on "oncesink"."public.daily sales rollup 1" (g1, g2, shard) nulls not distinct';
execute 'alter table "oncesink"."public.daily sales rollup 1" alter column rows set not null';
execute 'alter table "oncesink"."public.daily sales rollup 1" alter column m2 set not null';
execute 'alter table "oncesink"."public.daily sales rollup 1" alter column n2 set not null';
execute 'alter table "oncesink"."public.daily sales rollup 1" alter column m3 set not null';
execute 'alter table "oncesink"."public.daily sales rollup 1" alter column n3 set not null';
execute 'alter table "oncesink"."public.daily sales rollup 1" alter column m4 set not null';
execute 'create function "oncesink"."public.daily sales rollup 1"() returns trigger language plpgsql security definer set search_path = public, pg_temp as ''
declare
  writing constant boolean := coalesce(current_setting(''''oncesink.writer'''', true), '''''''') = ''''on'''';
begin
  if tg_op = ''''INSERT'''' then
    insert into "oncesink"."public.daily sales rollup 1" as t (g1, g2, shard, rows, m2, n2, m3, n3, m4)
    select d.g1, d.g2, case when writing then coalesce((select min(_oncesink_source) from new_rows), 0) else -1 end, d.rows, d.m2, d.n2, d.m3, d.n3, d.m4
      from (select g1, g2, count(*) as rows, case when coalesce(sum(x2), 0)::numeric - coalesce(sum(x2), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x2), 0)::numeric, ''''revenue'''') else coalesce(sum(x2), 0)::numeric end as m2, count(x2) as n2, case when coalesce(sum(x3), 0)::numeric - coalesce(sum(x3), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x3), 0)::numeric, ''''pieces'''') else coalesce(sum(x3), 0)::numeric end as m3, count(x3) as n3, count(x4) as m4
              from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4 from new_rows where (status is distinct from ''''cancelled'''')) v
             group by g1, g2) d
     where d.rows <> 0 or d.m2 <> 0 or d.n2 <> 0 or d.m3 <> 0 or d.n3 <> 0 or d.m4 <> 0
     order by d.g1, d.g2
        on conflict (g1, g2, shard) do update set rows = t.rows + excluded.rows, m2 = t.m2 + excluded.m2, n2 = t.n2 + excluded.n2, m3 = t.m3 + excluded.m3, n3 = t.n3 + excluded.n3, m4 = t.m4 + excluded.m4;
  elsif tg_op = ''''UPDATE'''' then
    insert into "oncesink"."public.daily sales rollup 1" as t (g1, g2, shard, rows, m2, n2, m3, n3, m4)
    select d.g1, d.g2, case when writing then coalesce((select min(_oncesink_source) from new_rows), 0) else -1 end, d.rows, d.m2, d.n2, d.m3, d.n3, d.m4
      from (select g1, g2, count(*) filter (where added) - count(*) filter (where not added) as rows, case when coalesce(sum(x2) filter (where added), 0)::numeric - coalesce(sum(x2) filter (where added), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x2) filter (where added), 0)::numeric, ''''revenue'''') else coalesce(sum(x2) filter (where added), 0)::numeric end - case when coalesce(sum(x2) filter (where not added), 0)::numeric - coalesce(sum(x2) filter (where not added), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x2) filter (where not added), 0)::numeric, ''''revenue'''') else coalesce(sum(x2) filter (where not added), 0)::numeric end as m2, count(x2) filter (where added) - count(x2) filter (where not added) as n2, case when coalesce(sum(x3) filter (where added), 0)::numeric - coalesce(sum(x3) filter (where added), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x3) filter (where added), 0)::numeric, ''''pieces'''') else coalesce(sum(x3) filter (where added), 0)::numeric end - case when coalesce(sum(x3) filter (where not added), 0)::numeric - coalesce(sum(x3) filter (where not added), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x3) filter (where not added), 0)::numeric, ''''pieces'''') else coalesce(sum(x3) filter (where not added), 0)::numeric end as m3, count(x3) filter (where added) - count(x3) filter (where not added) as n3, count(x4) filter (where added) - count(x4) filter (where not added) as m4
              from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, true as added from new_rows where (status is distinct from ''''cancelled'''')
                    union all select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, false as added from old_rows where (status is distinct from ''''cancelled'''')) v
             group by g1, g2) d
     where d.rows <> 0 or d.m2 <> 0 or d.n2 <> 0 or d.m3 <> 0 or d.n3 <> 0 or d.m4 <> 0
     order by d.g1, d.g2
        on conflict (g1, g2, shard) do update set rows = t.rows + excluded.rows, m2 = t.m2 + excluded.m2, n2 = t.n2 + excluded.n2, m3 = t.m3 + excluded.m3, n3 = t.n3 + excluded.n3, m4 = t.m4 + excluded.m4;
  elsif tg_op = ''''DELETE'''' then
    insert into "oncesink"."public.daily sales rollup 1" as t (g1, g2, shard, rows, m2, n2, m3, n3, m4)
    select d.g1, d.g2, case when writing then coalesce((select min(_oncesink_source) from old_rows), 0) else -1 end, d.rows, d.m2, d.n2, d.m3, d.n3, d.m4
      from (select g1, g2, - count(*) as rows, - case when coalesce(sum(x2), 0)::numeric - coalesce(sum(x2), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x2), 0)::numeric, ''''revenue'''') else coalesce(sum(x2), 0)::numeric end as m2, - count(x2) as n2, - case when coalesce(sum(x3), 0)::numeric - coalesce(sum(x3), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x3), 0)::numeric, ''''pieces'''') else coalesce(sum(x3), 0)::numeric end as m3, - count(x3) as n3, - count(x4) as m4
              from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4 from old_rows where (status is distinct from ''''cancelled'''')) v
             group by g1, g2) d
     where d.rows <> 0 or d.m2 <> 0 or d.n2 <> 0 or d.m3 <> 0 or d.n3 <> 0 or d.m4 <> 0
     order by d.g1, d.g2
        on conflict (g1, g2, shard) do update set rows = t.rows + excluded.rows, m2 = t.m2 + excluded.m2, n2 = t.n2 + excluded.n2, m3 = t.m3 + excluded.m3, n3 = t.n3 + excluded.n3, m4 = t.m4 + excluded.m4;
  else
    delete from "oncesink"."public.daily sales rollup 1";
  end if;
  return null;
end ''';
execute 'create trigger "oncesink public.daily sales 1 insert" after insert on "public"."orders" referencing new table as new_rows for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'create trigger "oncesink public.daily sales 1 update" after update on "public"."orders" referencing old table as old_rows new table as new_rows for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'create trigger "oncesink public.daily sales 1 delete" after delete on "public"."orders" referencing old table as old_rows for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'create trigger "oncesink public.daily sales 1 truncate" after truncate on "public"."orders" for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'insert into "oncesink"."public.daily sales rollup 1" (g1, g2, shard, rows, m2, n2, m3, n3, m4)
select g1, g2, -2, count(*), case when coalesce(sum(x2), 0)::numeric - coalesce(sum(x2), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x2), 0)::numeric, ''revenue'') else coalesce(sum(x2), 0)::numeric end, count(x2), case when coalesce(sum(x3), 0)::numeric - coalesce(sum(x3), 0)::numeric <> 0 then oncesink.finite(coalesce(sum(x3), 0)::numeric, ''pieces'') else coalesce(sum(x3), 0)::numeric end, count(x3), count(x4)
  from (select ((placed_at at time zone ''Europe/Berlin'')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4 from "public"."orders" where (status is distinct from ''cancelled'')) v
 group by g1, g2';
execute 'create view "public"."daily sales" as
select g1 as "day", g2 as "status", sum(rows)::bigint as "it''s ""so""", case when sum(n2) <> 0 then sum(m2) end as "revenue", case when sum(n3) <> 0 then sum(m3) end as "pieces", sum(m4)::bigint as "priced"
  from "oncesink"."public.daily sales rollup 1"
 group by g1, g2 having sum(rows) <> 0';
insert into oncesink.rollups (name, target, mode, fingerprint, build) values ('"public"."daily sales"', '"public"."orders"', 'incremental', '0f14d344a7192a8a051dfad038639abd', 1);
end if; end $init$;
