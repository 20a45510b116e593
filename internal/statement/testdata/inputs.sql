-- upsert
insert into "public"."t" as t ("id", "at", "day", _oncesink_source, _oncesink_offset)
select e."id", e."at", e."day", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (to_timestamp(ms / 1000.0))::timestamp with time zone as "at", (date '2000-01-01' + days)::date as "day"
  from (
  select a.c1::bigint as "id", a.c4::integer as "days", a.c5::bigint as "ms", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[]) as a(c1, c4, c5, source, "offset")
) v
) e
 where (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         from "public"."t" t where t."id" = e."id") is not false
   and (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false
    on conflict ("id") do update set "at" = excluded."at", "day" = excluded."day", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- upsert texts
insert into "public"."t" as t ("id", "at", "day", _oncesink_source, _oncesink_offset)
select e."id", e."at", e."day", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (to_timestamp(ms / 1000.0))::timestamp with time zone as "at", (date '2000-01-01' + days)::date as "day"
  from (
  select a.c1::bigint as "id", a.c4::integer as "days", a.c5::bigint as "ms", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[]) as a(c1, c4, c5, source, "offset")
) v
) e
 where (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         from "public"."t" t where t."id" = e."id") is not false
   and (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false
    on conflict ("id") do update set "at" = excluded."at", "day" = excluded."day", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- upsert winners
insert into "public"."t" as t ("id", "at", "day", _oncesink_source, _oncesink_offset)
select e."id", e."at", e."day", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (to_timestamp(ms / 1000.0))::timestamp with time zone as "at", (date '2000-01-01' + days)::date as "day"
  from (
  select a.c1::bigint as "id", a.c4::integer as "days", a.c5::bigint as "ms", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[]) as a(c1, c4, c5, source, "offset")
) v
) e
 where (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false
    on conflict ("id") do update set "at" = excluded."at", "day" = excluded."day", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- update
with e as materialized (
  select v.*, (to_timestamp(ms / 1000.0))::timestamp with time zone as "at", (date '2000-01-01' + days)::date as "day"
  from (
  select a.c1::bigint as "id", a.c4::integer as "days", a.c5::bigint as "ms", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[]) with ordinality as a(c1, c4, c5, source, "offset", n)
) v
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "at" = e."at", "day" = e."day", _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
   and (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false;

-- insert rest
insert into "public"."t" as t ("id", "at", "day", _oncesink_source, _oncesink_offset)
select e."id", e."at", e."day", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (to_timestamp(ms / 1000.0))::timestamp with time zone as "at", (date '2000-01-01' + days)::date as "day"
  from (
  select a.c1::bigint as "id", a.c4::integer as "days", a.c5::bigint as "ms", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[], $5::bigint[]) as a(c1, c4, c5, source, "offset")
) v
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
   and (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false
    on conflict ("id") do update set "at" = excluded."at", "day" = excluded."day", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1));

-- require
select oncesink.withheld('')
  from (
  select a.c1::bigint as "id", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) as a(c1, source, "offset")
) e
 where not exists (select from "public"."t" t where t."id" = e."id")
   and (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false;

-- update flagged
with e as materialized (
  select v.*, (to_timestamp(ms / 1000.0))::timestamp with time zone as "at", (date '2000-01-01' + days)::date as "day"
  from (
  select a.c1::bigint as "id", a.c4::integer as "days", a.c5::bigint as "ms", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bytea[], $5::integer[], $6::bigint[]) with ordinality as a(c1, c4, c5, has, source, "offset", n)
) v
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "at" = case when get_bit(e._oncesink_has, 1) = 1 then e."at" else t."at" end, "day" = case when get_bit(e._oncesink_has, 2) = 1 then e."day" else t."day" end, _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id"
   and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
   and (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false;

-- insert rest flagged
insert into "public"."t" as t ("id", "at", "day", _oncesink_source, _oncesink_offset)
select e."id", e."at", e."day", e._oncesink_source, e._oncesink_offset
  from (
  select v.*, (to_timestamp(ms / 1000.0))::timestamp with time zone as "at", (date '2000-01-01' + days)::date as "day"
  from (
  select a.c1::bigint as "id", a.c4::integer as "days", a.c5::bigint as "ms", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bytea[], $5::integer[], $6::bigint[]) as a(c1, c4, c5, has, source, "offset")
) v
) e
 where (select false from "public"."t" t where t."id" = e."id") is not false
   and (select (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id") is not false
    on conflict ("id") do nothing;

-- remember
with e as materialized (
  select a.c1::bigint as "id", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) with ordinality as a(c1, source, "offset", n)
), s as materialized (
  select e.*, t."id" is null and m."id" is null as rowless,
         m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) as latest,
         t."id" is not null and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         and (m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) or e._oncesink_source = t._oncesink_source) as deletes
    from e left join "public"."t" t on t."id" = e."id" left join "oncesink"."public.t deletes" m on m."id" = e."id"
), d as (
  delete from "public"."t" t using s where s.deletes and t."id" = s."id"
), m as (
  insert into "oncesink"."public.t deletes" as m ("id", _oncesink_source, _oncesink_offset)
  select s."id", s._oncesink_source, s._oncesink_offset
    from s where s.latest or s.deletes order by s._oncesink_n
      on conflict ("id") do update set _oncesink_source = case when (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) then excluded._oncesink_source else m._oncesink_source end,
       _oncesink_offset = case when (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) then excluded._oncesink_offset else m._oncesink_offset end
)
select count(*), count(*) filter (where s.rowless) from s where s.latest or s.deletes;

-- lock
select pg_advisory_xact_lock_shared($1::integer, $2::integer);

-- lock alone
select pg_advisory_xact_lock($1::integer, $2::integer);

