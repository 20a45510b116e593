
-- rollup daily sales
set local search_path = public;
do $init$ begin if not exists (select from oncesink.rollups where name = '"public"."daily sales"') then
execute 'lock table "public"."orders" in share row exclusive mode';
execute 'create table "oncesink"."public.daily sales rollup 1" with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05) as
select g1, g2, count(*) as rows, case when (sum(x2))::numeric - (sum(x2))::numeric <> 0 then oncesink.finite((sum(x2))::numeric, ''revenue'') else (sum(x2))::numeric end as m2, case when (sum(x3))::numeric - (sum(x3))::numeric <> 0 then oncesink.finite((sum(x3))::numeric, ''pieces'') else (sum(x3))::numeric end as m3, count(x4) as m4, min(x5) as m5, max(x6) as m6
  from (select ((placed_at at time zone ''Europe/Berlin'')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''cancelled'')) v
 group by g1, g2
  with no data';
execute 'create unique index on "oncesink"."public.daily sales rollup 1" (g1, g2) nulls not distinct';
execute 'alter table "oncesink"."public.daily sales rollup 1" alter column rows set not null';
execute 'create function "oncesink"."public.daily sales rollup 1"() returns trigger language plpgsql security definer set search_path = public, pg_temp as ''
begin
  if current_setting(''''transaction_isolation'''') <> ''''read committed'''' then
    raise exception ''''rows of % can be changed in isolation level read committed only'''', tg_relid::regclass
      using errcode = ''''0A000'''', hint = ''''Its rollup "public"."daily sales" is recomputed from what other transactions have committed by then.'''';
  end if;
  if tg_op = ''''INSERT'''' then
    if exists (select from new_rows where (status is distinct from ''''cancelled'''')) then
      perform pg_advisory_xact_lock(1919904876, 1791683179);
      insert into "oncesink"."public.daily sales rollup 1" as t (g1, g2, rows, m2, m3, m4, m5, m6)
      with touched as materialized (select g1, g2 from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from new_rows where (status is distinct from ''''cancelled'''')) t group by g1, g2)
      select g1, g2, count(*) filter (where real), case when (sum(x2) filter (where real))::numeric - (sum(x2) filter (where real))::numeric <> 0 then oncesink.finite((sum(x2) filter (where real))::numeric, ''''revenue'''') else (sum(x2) filter (where real))::numeric end, case when (sum(x3) filter (where real))::numeric - (sum(x3) filter (where real))::numeric <> 0 then oncesink.finite((sum(x3) filter (where real))::numeric, ''''pieces'''') else (sum(x3) filter (where real))::numeric end, count(x4) filter (where real), min(x5) filter (where real), max(x6) filter (where real)
        from (select s.g1, s.g2, s.x2, s.x3, s.x4, s.x5, s.x6, true as real from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''''cancelled'''')) s
               where exists (select from touched where touched.g1 = s.g1 and touched.g2 = s.g2)
              union all
              select s.g1, s.g2, s.x2, s.x3, s.x4, s.x5, s.x6, true from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''''cancelled'''')) s
               where (select bool_or(g1 is null or g2 is null) from touched) and (s.g1 is null or s.g2 is null) and exists (select from touched where touched.g1 is not distinct from s.g1 and touched.g2 is not distinct from s.g2)
              union all
              select g1, g2, null as x2, null as x3, null as x4, null as x5, null as x6, false from touched) v
       group by g1, g2
          on conflict (g1, g2) do update set rows = excluded.rows, m2 = excluded.m2, m3 = excluded.m3, m4 = excluded.m4, m5 = excluded.m5, m6 = excluded.m6
       where t.rows is distinct from excluded.rows or t.m2 is distinct from excluded.m2 or t.m3 is distinct from excluded.m3 or t.m4 is distinct from excluded.m4 or t.m5 is distinct from excluded.m5 or t.m6 is distinct from excluded.m6;
    end if;
  elsif tg_op = ''''UPDATE'''' then
    if exists (select from new_rows where (status is distinct from ''''cancelled'''')) or exists (select from old_rows where (status is distinct from ''''cancelled'''')) then
      perform pg_advisory_xact_lock(1919904876, 1791683179);
      insert into "oncesink"."public.daily sales rollup 1" as t (g1, g2, rows, m2, m3, m4, m5, m6)
      with touched as materialized (select g1, g2 from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from old_rows where (status is distinct from ''''cancelled'''') union all select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from new_rows where (status is distinct from ''''cancelled'''')) t group by g1, g2)
      select g1, g2, count(*) filter (where real), case when (sum(x2) filter (where real))::numeric - (sum(x2) filter (where real))::numeric <> 0 then oncesink.finite((sum(x2) filter (where real))::numeric, ''''revenue'''') else (sum(x2) filter (where real))::numeric end, case when (sum(x3) filter (where real))::numeric - (sum(x3) filter (where real))::numeric <> 0 then oncesink.finite((sum(x3) filter (where real))::numeric, ''''pieces'''') else (sum(x3) filter (where real))::numeric end, count(x4) filter (where real), min(x5) filter (where real), max(x6) filter (where real)
        from (select s.g1, s.g2, s.x2, s.x3, s.x4, s.x5, s.x6, true as real from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''''cancelled'''')) s
               where exists (select from touched where touched.g1 = s.g1 and touched.g2 = s.g2)
              union all
              select s.g1, s.g2, s.x2, s.x3, s.x4, s.x5, s.x6, true from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''''cancelled'''')) s
               where (select bool_or(g1 is null or g2 is null) from touched) and (s.g1 is null or s.g2 is null) and exists (select from touched where touched.g1 is not distinct from s.g1 and touched.g2 is not distinct from s.g2)
              union all
              select g1, g2, null as x2, null as x3, null as x4, null as x5, null as x6, false from touched) v
       group by g1, g2
          on conflict (g1, g2) do update set rows = excluded.rows, m2 = excluded.m2, m3 = excluded.m3, m4 = excluded.m4, m5 = excluded.m5, m6 = excluded.m6
       where t.rows is distinct from excluded.rows or t.m2 is distinct from excluded.m2 or t.m3 is distinct from excluded.m3 or t.m4 is distinct from excluded.m4 or t.m5 is distinct from excluded.m5 or t.m6 is distinct from excluded.m6;
    end if;
  elsif tg_op = ''''DELETE'''' then
    if exists (select from old_rows where (status is distinct from ''''cancelled'''')) then
      perform pg_advisory_xact_lock(1919904876, 1791683179);
      insert into "oncesink"."public.daily sales rollup 1" as t (g1, g2, rows, m2, m3, m4, m5, m6)
      with touched as materialized (select g1, g2 from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from old_rows where (status is distinct from ''''cancelled'''')) t group by g1, g2)
      select g1, g2, count(*) filter (where real), case when (sum(x2) filter (where real))::numeric - (sum(x2) filter (where real))::numeric <> 0 then oncesink.finite((sum(x2) filter (where real))::numeric, ''''revenue'''') else (sum(x2) filter (where real))::numeric end, case when (sum(x3) filter (where real))::numeric - (sum(x3) filter (where real))::numeric <> 0 then oncesink.finite((sum(x3) filter (where real))::numeric, ''''pieces'''') else (sum(x3) filter (where real))::numeric end, count(x4) filter (where real), min(x5) filter (where real), max(x6) filter (where real)
        from (select s.g1, s.g2, s.x2, s.x3, s.x4, s.x5, s.x6, true as real from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''''cancelled'''')) s
               where exists (select from touched where touched.g1 = s.g1 and touched.g2 = s.g2)
              union all
              select s.g1, s.g2, s.x2, s.x3, s.x4, s.x5, s.x6, true from (select ((placed_at at time zone ''''Europe/Berlin'''')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''''cancelled'''')) s
               where (select bool_or(g1 is null or g2 is null) from touched) and (s.g1 is null or s.g2 is null) and exists (select from touched where touched.g1 is not distinct from s.g1 and touched.g2 is not distinct from s.g2)
              union all
              select g1, g2, null as x2, null as x3, null as x4, null as x5, null as x6, false from touched) v
       group by g1, g2
          on conflict (g1, g2) do update set rows = excluded.rows, m2 = excluded.m2, m3 = excluded.m3, m4 = excluded.m4, m5 = excluded.m5, m6 = excluded.m6
       where t.rows is distinct from excluded.rows or t.m2 is distinct from excluded.m2 or t.m3 is distinct from excluded.m3 or t.m4 is distinct from excluded.m4 or t.m5 is distinct from excluded.m5 or t.m6 is distinct from excluded.m6;
    end if;
  else
    perform pg_advisory_xact_lock(1919904876, 1791683179);
    delete from "oncesink"."public.daily sales rollup 1";
  end if;
  return null;
end ''';
execute 'create trigger "oncesink public.daily sales 1 insert" after insert on "public"."orders" referencing new table as new_rows for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'create trigger "oncesink public.daily sales 1 update" after update on "public"."orders" referencing old table as old_rows new table as new_rows for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'create trigger "oncesink public.daily sales 1 delete" after delete on "public"."orders" referencing old table as old_rows for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'create trigger "oncesink public.daily sales 1 truncate" after truncate on "public"."orders" for each statement execute function "oncesink"."public.daily sales rollup 1"()';
execute 'insert into "oncesink"."public.daily sales rollup 1" (g1, g2, rows, m2, m3, m4, m5, m6)
select g1, g2, count(*), case when (sum(x2))::numeric - (sum(x2))::numeric <> 0 then oncesink.finite((sum(x2))::numeric, ''revenue'') else (sum(x2))::numeric end, case when (sum(x3))::numeric - (sum(x3))::numeric <> 0 then oncesink.finite((sum(x3))::numeric, ''pieces'') else (sum(x3))::numeric end, count(x4), min(x5), max(x6)
  from (select ((placed_at at time zone ''Europe/Berlin'')::date) as g1, (status) as g2, (amount) as x2, (quantity) as x3, (amount) as x4, (amount) as x5, (placed_at) as x6 from "public"."orders" where (status is distinct from ''cancelled'')) v
 group by g1, g2';
execute 'create view "public"."daily sales" as
select g1 as "day", g2 as "status", rows as "it''s ""so""", m2 as "revenue", m3 as "pieces", m4 as "priced", m5 as "cheapest", m6 as "last"
  from "oncesink"."public.daily sales rollup 1"
 where rows <> 0';
insert into oncesink.rollups (name, target, mode, fingerprint, build) values ('"public"."daily sales"', '"public"."orders"', 'recompute', 'fb65eff908e6fef069013c406135cc56', 1);
end if; end $init$;
