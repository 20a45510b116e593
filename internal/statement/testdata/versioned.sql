-- copy
copy "public"."t" ("id", "version", "note", _oncesink_source, _oncesink_offset) from stdin with (format binary);

-- look
select string_agg(coalesce((select case when (t."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))) then '1' else '2' end
         from "public"."t" t where t."id" = e."id"), '0'), '' order by e._oncesink_n)
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) with ordinality as a(c1, c2, source, "offset", n)
) e;

-- upsert
insert into "public"."t" as t ("id", "version", "note", _oncesink_source, _oncesink_offset)
select e."id", e."version", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::integer[], $5::bigint[]) as a(c1, c2, c3, source, "offset")
) e
 where (select (t."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)))
         from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."version" is null or (excluded."version", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- upsert texts
insert into "public"."t" as t ("id", "version", "note", _oncesink_source, _oncesink_offset)
select e."id", e."version", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[]) as a(c1, c2, c3, source, "offset")
) e
 where (select (t."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)))
         from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."version" is null or (excluded."version", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- upsert winners
insert into "public"."t" as t ("id", "version", "note", _oncesink_source, _oncesink_offset)
select e."id", e."version", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::integer[], $5::bigint[]) as a(c1, c2, c3, source, "offset")
) e
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."version" is null or (excluded."version", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- update
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::integer[], $5::bigint[]) with ordinality as a(c1, c2, c3, source, "offset", n)
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "version" = e."version", "note" = e."note", _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (t."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- insert rest
insert into "public"."t" as t ("id", "version", "note", _oncesink_source, _oncesink_offset)
select e."id", e."version", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::integer[], $5::bigint[]) as a(c1, c2, c3, source, "offset")
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do update set "version" = excluded."version", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."version" is null or (excluded."version", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- require
select oncesink.withheld('')
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
 where not exists (select from "public"."t" t where t."id" = e."id");

-- update flagged
with e as materialized (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::bytea[], $5::integer[], $6::bigint[]) with ordinality as a(c1, c2, c3, has, source, "offset", n)
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "version" = e."version", "note" = case when get_bit(e._oncesink_has, 2) = 1 then e."note" else t."note" end, _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (t."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."version", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- insert rest flagged
insert into "public"."t" as t ("id", "version", "note", _oncesink_source, _oncesink_offset)
select e."id", e."version", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.c3::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::bytea[], $5::integer[], $6::bigint[]) as a(c1, c2, c3, has, source, "offset")
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do nothing;

