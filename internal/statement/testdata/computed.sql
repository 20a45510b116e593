-- upsert
insert into "public"."t" as t ("id", "sample", "n", _oncesink_source, _oncesink_offset)
select e."id", e."sample", e."n", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (case when id % 2 = 0 then 'A' else 'B' end)::text as "sample"
  from (
  select a.c1::bigint as "id", a.c3::integer as "n", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) as a(c1, c3, source, "offset")
) v
) e
 where (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do update set "sample" = excluded."sample", "n" = excluded."n", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- upsert texts
insert into "public"."t" as t ("id", "sample", "n", _oncesink_source, _oncesink_offset)
select e."id", e."sample", e."n", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (case when id % 2 = 0 then 'A' else 'B' end)::text as "sample"
  from (
  select a.c1::bigint as "id", a.c3::integer as "n", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::text[], $2::text[], $3::integer[], $4::bigint[]) as a(c1, c3, source, "offset")
) v
) e
 where (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do update set "sample" = excluded."sample", "n" = excluded."n", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- upsert winners
insert into "public"."t" as t ("id", "sample", "n", _oncesink_source, _oncesink_offset)
select e."id", e."sample", e."n", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (case when id % 2 = 0 then 'A' else 'B' end)::text as "sample"
  from (
  select a.c1::bigint as "id", a.c3::integer as "n", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) as a(c1, c3, source, "offset")
) v
) e
    on conflict ("id") do update set "sample" = excluded."sample", "n" = excluded."n", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- update
with e as materialized (
  select v.*, (case when id % 2 = 0 then 'A' else 'B' end)::text as "sample"
  from (
  select a.c1::bigint as "id", a.c3::integer as "n", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) with ordinality as a(c1, c3, source, "offset", n)
) v
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "sample" = e."sample", "n" = e."n", _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- insert rest
insert into "public"."t" as t ("id", "sample", "n", _oncesink_source, _oncesink_offset)
select e."id", e."sample", e."n", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (case when id % 2 = 0 then 'A' else 'B' end)::text as "sample"
  from (
  select a.c1::bigint as "id", a.c3::integer as "n", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) as a(c1, c3, source, "offset")
) v
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do update set "sample" = excluded."sample", "n" = excluded."n", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- require
select oncesink.withheld('')
  from (
  select a.c1::bigint as "id", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) as a(c1, source, "offset")
) e
 where not exists (select from "public"."t" t where t."id" = e."id");

-- update flagged
with e as materialized (
  select v.*, (case when id % 2 = 0 then 'A' else 'B' end)::text as "sample"
  from (
  select a.c1::bigint as "id", a.c3::integer as "n", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bytea[], $4::integer[], $5::bigint[]) with ordinality as a(c1, c3, has, source, "offset", n)
) v
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "sample" = case when get_bit(e._oncesink_has, 1) = 1 then e."sample" else t."sample" end, "n" = case when get_bit(e._oncesink_has, 2) = 1 then e."n" else t."n" end, _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- insert rest flagged
insert into "public"."t" as t ("id", "sample", "n", _oncesink_source, _oncesink_offset)
select e."id", e."sample", e."n", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (case when id % 2 = 0 then 'A' else 'B' end)::text as "sample"
  from (
  select a.c1::bigint as "id", a.c3::integer as "n", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bytea[], $4::integer[], $5::bigint[]) as a(c1, c3, has, source, "offset")
) v
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
    on conflict ("id") do nothing;

