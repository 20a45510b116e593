-- copy
copy "public"."t" ("a", "b") from stdin with (format binary);

-- look
select string_agg(coalesce((select case when true then '1' else '2' end
         from "public"."t" t where t."a" = e."a" and t."b" = e."b"), '0'), '' order by e._oncesink_n)
  from (
  select a.c1::integer as "a", a.c2::integer as "b", a.n as _oncesink_n
  from unnest($1::integer[], $2::integer[]) with ordinality as a(c1, c2, n)
) e;

-- upsert
insert into "public"."t" as t ("a", "b")
select e."a", e."b"
  from (
  select a.c1::integer as "a", a.c2::integer as "b"
  from unnest($1::integer[], $2::integer[]) as a(c1, c2)
) e
    on conflict ("a", "b") do nothing;

-- upsert texts
insert into "public"."t" as t ("a", "b")
select e."a", e."b"
  from (
  select a.c1::integer as "a", a.c2::integer as "b"
  from unnest($1::text[], $2::text[]) as a(c1, c2)
) e
    on conflict ("a", "b") do nothing;

-- upsert winners
insert into "public"."t" as t ("a", "b")
select e."a", e."b"
  from (
  select a.c1::integer as "a", a.c2::integer as "b"
  from unnest($1::integer[], $2::integer[]) as a(c1, c2)
) e
    on conflict ("a", "b") do nothing;

-- insert rest
insert into "public"."t" as t ("a", "b")
select e."a", e."b"
  from (
  select a.c1::integer as "a", a.c2::integer as "b"
  from unnest($1::integer[], $2::integer[]) as a(c1, c2)
) e
 where (select false from "public"."t" t where t."a" = e."a" and t."b" = e."b") is not false
    on conflict ("a", "b") do nothing;

-- require
select oncesink.withheld('')
  from (
  select a.c1::integer as "a", a.c2::integer as "b"
  from unnest($1::integer[], $2::integer[]) as a(c1, c2)
) e
 where not exists (select from "public"."t" t where t."a" = e."a" and t."b" = e."b");

-- insert rest flagged
insert into "public"."t" as t ("a", "b")
select e."a", e."b"
  from (
  select a.c1::integer as "a", a.c2::integer as "b", a.has as _oncesink_has
  from unnest($1::integer[], $2::integer[], $3::bytea[]) as a(c1, c2, has)
) e
 where (select false from "public"."t" t where t."a" = e."a" and t."b" = e."b") is not false
    on conflict ("a", "b") do nothing;

