-- copy
copy "public"."T x" ("ID", "a""b", _oncesink_source, _oncesink_offset) from stdin with (format binary);

-- look
select string_agg(coalesce((select case when (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)) then '1' else '2' end
         from "public"."T x" t where t."ID" = e."ID"), '0'), '' order by e._oncesink_n)
  from (
  select a.c1::bigint as "ID", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) with ordinality as a(c1, source, "offset", n)
) e;

-- upsert
insert into "public"."T x" as t ("ID", "a""b", _oncesink_source, _oncesink_offset)
overriding system value
select e."ID", e."a""b", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "ID", a.c2::bpchar as "a""b", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
 where (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         from "public"."T x" t where t."ID" = e."ID") is not false
    on conflict ("ID") do update set "a""b" = excluded."a""b", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- upsert texts
insert into "public"."T x" as t ("ID", "a""b", _oncesink_source, _oncesink_offset)
overriding system value
select e."ID", e."a""b", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "ID", a.c2::bpchar as "a""b", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::text[], $2::text[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
 where (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         from "public"."T x" t where t."ID" = e."ID") is not false
    on conflict ("ID") do update set "a""b" = excluded."a""b", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- upsert winners
insert into "public"."T x" as t ("ID", "a""b", _oncesink_source, _oncesink_offset)
overriding system value
select e."ID", e."a""b", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "ID", a.c2::bpchar as "a""b", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
    on conflict ("ID") do update set "a""b" = excluded."a""b", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- update
with e as materialized (
  select a.c1::bigint as "ID", a.c2::bpchar as "a""b", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) with ordinality as a(c1, c2, source, "offset", n)
), locked as materialized (
  select e._oncesink_n from e join "public"."T x" t on t."ID" = e."ID"
   order by e._oncesink_n for update of t
)
update "public"."T x" t set "a""b" = e."a""b", _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."ID" = e."ID"
   and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- insert rest
insert into "public"."T x" as t ("ID", "a""b", _oncesink_source, _oncesink_offset)
overriding system value
select e."ID", e."a""b", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "ID", a.c2::bpchar as "a""b", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
 where (select false from "public"."T x" t where t."ID" = e."ID") is not false
    on conflict ("ID") do update set "a""b" = excluded."a""b", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- require
select oncesink.withheld('')
  from (
  select a.c1::bigint as "ID", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) as a(c1, source, "offset")
) e
 where not exists (select from "public"."T x" t where t."ID" = e."ID");

-- update flagged
with e as materialized (
  select a.c1::bigint as "ID", a.c2::bpchar as "a""b", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::text[], $3::bytea[], $4::integer[], $5::bigint[]) with ordinality as a(c1, c2, has, source, "offset", n)
), locked as materialized (
  select e._oncesink_n from e join "public"."T x" t on t."ID" = e."ID"
   order by e._oncesink_n for update of t
)
update "public"."T x" t set "a""b" = case when get_bit(e._oncesink_has, 1) = 1 then e."a""b" else t."a""b" end, _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."ID" = e."ID"
   and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- insert rest flagged
insert into "public"."T x" as t ("ID", "a""b", _oncesink_source, _oncesink_offset)
overriding system value
select e."ID", e."a""b", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "ID", a.c2::bpchar as "a""b", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::bytea[], $4::integer[], $5::bigint[]) as a(c1, c2, has, source, "offset")
) e
 where (select false from "public"."T x" t where t."ID" = e."ID") is not false
    on conflict ("ID") do nothing;

