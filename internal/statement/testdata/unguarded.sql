-- copy
copy "public"."t" ("id", "version", "note") from stdin with (format binary);

-- look
select string_agg(coalesce((select case when (t."version" is null or e."version" >= t."version") then '1' else '2' end
         from "public"."t" t where t."id" = e."id"), '0'), '' order by e._oncesink_n)
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[]) with ordinality as a(c1, c2, n)
) e;

-- upsert
insert into "public"."t" as t ("id", "version", "note")
select e."id", e."version", e."note"
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note"
  from unnest($1::bigint[], $2::integer[], $3::text[]) as a(c1, c2, c3)
) e
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note"
 where (t."version" is null or excluded."version" >= t."version");

-- upsert texts
insert into "public"."t" as t ("id", "version", "note")
select e."id", e."version", e."note"
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note"
  from unnest($1::text[], $2::text[], $3::text[]) as a(c1, c2, c3)
) e
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note"
 where (t."version" is null or excluded."version" >= t."version");

-- upsert winners
insert into "public"."t" as t ("id", "version", "note")
select e."id", e."version", e."note"
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note"
  from unnest($1::bigint[], $2::integer[], $3::text[]) as a(c1, c2, c3)
) e
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note"
 where (t."version" is null or excluded."version" >= t."version");

-- update
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::text[]) with ordinality as a(c1, c2, c3, n)
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "version" = e."version", "note" = e."note"
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (t."version" is null or e."version" >= t."version");

-- insert rest
insert into "public"."t" as t ("id", "version", "note")
select e."id", e."version", e."note"
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note"
  from unnest($1::bigint[], $2::integer[], $3::text[]) as a(c1, c2, c3)
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note"
 where (t."version" is null or excluded."version" >= t."version");

-- require
select oncesink.withheld('')
  from (
  select a.c1::bigint as "id", a.c2::integer as "version"
  from unnest($1::bigint[], $2::integer[]) as a(c1, c2)
) e
 where not exists (select from "public"."t" t where t."id" = e."id");

-- update flagged
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.has as _oncesink_has, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::bytea[]) with ordinality as a(c1, c2, c3, has, n)
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "version" = e."version", "note" = case when get_bit(e._oncesink_has, 2) = 1 then e."note" else t."note" end
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (t."version" is null or e."version" >= t."version");

-- insert rest flagged
insert into "public"."t" as t ("id", "version", "note")
select e."id", e."version", e."note"
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.has as _oncesink_has
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::bytea[]) as a(c1, c2, c3, has)
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do nothing;

-- delete
with e as materialized (
  select a.c1::bigint as "id", a.n as _oncesink_n
  from unnest($1::bigint[]) with ordinality as a(c1, n)
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
delete from "public"."t" t
 using e join locked using (_oncesink_n)
 where t."id" = e."id";

