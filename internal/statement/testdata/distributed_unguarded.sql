-- copy
copy "public"."t" ("id", "version", "note") from stdin with (format binary);

-- look
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.n as _oncesink_n
  from unnest($1::text[], $2::text[]) with ordinality as a(c1, c2, n)
), met as materialized (
  select e._oncesink_n, case when (t."version" is null or e."version" >= t."version") then '1' else '2' end as says
    from e join "public"."t" t on t."id" = e."id"
)
select string_agg(coalesce(met.says, '0'), '' order by e._oncesink_n)
  from e left join met using (_oncesink_n);

-- upsert
insert into "public"."t" as t ("id", "version", "note")
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality as a(c1, c2, c3, n)
)
select e."id", e."version", e."note"
  from e
 order by e._oncesink_n
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note"
 where (t."version" is null or excluded."version" >= t."version");

-- upsert winners
insert into "public"."t" as t ("id", "version", "note")
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality as a(c1, c2, c3, n)
)
select e."id", e."version", e."note"
  from e
 order by e._oncesink_n
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note"
 where (t."version" is null or excluded."version" >= t."version");

-- update
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality as a(c1, c2, c3, n)
)
update "public"."t" t set "version" = e."version", "note" = e."note"
  from e
 where t."id" = e."id"
   and (t."version" is null or e."version" >= t."version");

-- insert rest
insert into "public"."t" as t ("id", "version", "note")
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[]) with ordinality as a(c1, c2, c3, n)
), met as materialized (
  select e._oncesink_n
    from e join "public"."t" t on t."id" = e."id"
)
select e."id", e."version", e."note"
  from e left join met using (_oncesink_n)
 where met._oncesink_n is null
 order by e._oncesink_n
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note"
 where (t."version" is null or excluded."version" >= t."version");

-- require
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.n as _oncesink_n
  from unnest($1::text[], $2::text[]) with ordinality as a(c1, c2, n)
), met as materialized (
  select e._oncesink_n
    from e join "public"."t" t on t."id" = e."id"
)
select oncesink.withheld('')
  from e left join met using (_oncesink_n)
 where met._oncesink_n is null;

-- update flagged
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.has as _oncesink_has, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) with ordinality as a(c1, c2, c3, has, n)
)
update "public"."t" t set "version" = e."version", "note" = case when get_bit(e._oncesink_has, 2) = 1 then e."note" else t."note" end
  from e
 where t."id" = e."id"
   and (t."version" is null or e."version" >= t."version");

-- insert rest flagged
insert into "public"."t" as t ("id", "version", "note")
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.has as _oncesink_has, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) with ordinality as a(c1, c2, c3, has, n)
), met as materialized (
  select e._oncesink_n
    from e join "public"."t" t on t."id" = e."id"
)
select e."id", e."version", e."note"
  from e left join met using (_oncesink_n)
 where met._oncesink_n is null
 order by e._oncesink_n
    on conflict ("id") do nothing;

-- delete
with e as materialized (
  select a.c1::bigint as "id", a.n as _oncesink_n
  from unnest($1::text[]) with ordinality as a(c1, n)
)
delete from "public"."t" t
 using e
 where t."id" = e."id";

