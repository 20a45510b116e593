-- copy
copy "public"."t" ("day") from stdin with (format binary);

-- append
insert into "public"."t" as t ("day")
select e."day"
  from (
  select a.c1::date as "day"
  from unnest($1::date[]) as a(c1)
) e;

-- append flagged
insert into "public"."t" as t ("day")
select e."day"
  from (
  select a.c1::date as "day", a.has as _oncesink_has
  from unnest($1::date[], $2::bytea[]) as a(c1, has)
) e;

