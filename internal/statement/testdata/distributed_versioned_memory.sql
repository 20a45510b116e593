-- copy
copy "public"."t" ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset) from stdin with (format binary);

-- look
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[]) with ordinality as a(c1, c2, c3, source, "offset", n)
), met as materialized (
  select e._oncesink_n, case when (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))) then '1' else '2' end as says
    from e join "public"."t" t on t."id" = e."id" and t."region" = e."region"
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
)
select string_agg(coalesce(case when held._oncesink_n is not null then '2' end, met.says, '0'), '' order by e._oncesink_n)
  from e left join met using (_oncesink_n) left join held using (_oncesink_n);

-- look into the memory
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::integer[], $4::bigint[]) with ordinality as a(c1, c2, source, "offset", n)
), met as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" t on t."id" = e."id" and t."region" = e."region"
)
select string_agg(case when met._oncesink_n is null then '0' else '1' end, '' order by e._oncesink_n)
  from e left join met using (_oncesink_n);

-- upsert
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, source, "offset", n)
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
)
select e."id", e."region", e."updated_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from e left join held using (_oncesink_n)
 where held._oncesink_n is null
 order by e._oncesink_n
    on conflict ("id", "region") do update set "updated_at" = excluded."updated_at", "amount" = excluded."amount", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."updated_at" is null or (excluded."updated_at", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- upsert winners
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, source, "offset", n)
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
)
select e."id", e."region", e."updated_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from e left join held using (_oncesink_n)
 where held._oncesink_n is null
 order by e._oncesink_n
    on conflict ("id", "region") do update set "updated_at" = excluded."updated_at", "amount" = excluded."amount", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."updated_at" is null or (excluded."updated_at", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- update
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, source, "offset", n)
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
), free as materialized (
  select e.*
  from e left join held using (_oncesink_n)
 where held._oncesink_n is null
)
update "public"."t" t set "updated_at" = e."updated_at", "amount" = e."amount", "note" = e."note", _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from free e
 where t."id" = e."id" and t."region" = e."region"
   and (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- insert rest
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, source, "offset", n)
), met as materialized (
  select e._oncesink_n
    from e join "public"."t" t on t."id" = e."id" and t."region" = e."region"
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
)
select e."id", e."region", e."updated_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from e left join met using (_oncesink_n) left join held using (_oncesink_n)
 where met._oncesink_n is null
   and held._oncesink_n is null
 order by e._oncesink_n
    on conflict ("id", "region") do update set "updated_at" = excluded."updated_at", "amount" = excluded."amount", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."updated_at" is null or (excluded."updated_at", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- require
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[]) with ordinality as a(c1, c2, c3, source, "offset", n)
), met as materialized (
  select e._oncesink_n
    from e join "public"."t" t on t."id" = e."id" and t."region" = e."region"
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
)
select oncesink.withheld('')
  from e left join met using (_oncesink_n) left join held using (_oncesink_n)
 where met._oncesink_n is null
   and held._oncesink_n is null;

-- update flagged
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::integer[], $8::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, has, source, "offset", n)
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
), free as materialized (
  select e.*
  from e left join held using (_oncesink_n)
 where held._oncesink_n is null
)
update "public"."t" t set "updated_at" = e."updated_at", "amount" = case when get_bit(e._oncesink_has, 3) = 1 then e."amount" else t."amount" end, "note" = case when get_bit(e._oncesink_has, 4) = 1 then e."note" else t."note" end, _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from free e
 where t."id" = e."id" and t."region" = e."region"
   and (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- insert rest flagged
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::integer[], $8::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, has, source, "offset", n)
), met as materialized (
  select e._oncesink_n
    from e join "public"."t" t on t."id" = e."id" and t."region" = e."region"
), held as materialized (
  select e._oncesink_n
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
   and ((m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)) is false
)
select e."id", e."region", e."updated_at", e."amount", case when get_bit(e._oncesink_has, 4) = 1 then e."note" else 'none'::text end, e._oncesink_source, e._oncesink_offset
  from e left join met using (_oncesink_n) left join held using (_oncesink_n)
 where met._oncesink_n is null
   and held._oncesink_n is null
 order by e._oncesink_n
    on conflict ("id", "region") do nothing;

-- remember
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::text[], $2::text[], $3::integer[], $4::bigint[]) with ordinality as a(c1, c2, source, "offset", n)
), met_t as materialized (
  select e._oncesink_n, t."id", t._oncesink_source, t._oncesink_offset, t."updated_at"
    from e join "public"."t" t on t."id" = e."id" and t."region" = e."region"
), met_m as materialized (
  select e._oncesink_n, m."id", m._oncesink_source, m._oncesink_offset, m."updated_at"
    from e join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
), s as materialized (
  select e.*, t."updated_at" as _oncesink_version,
         t."id" is null and m."id" is null as rowless,
         m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) as latest,
         t."id" is not null and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         and (m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) or e._oncesink_source = t._oncesink_source) as deletes
    from e left join met_t t using (_oncesink_n) left join met_m m using (_oncesink_n)
), d as (
  delete from "public"."t" t using s where s.deletes and t."id" = s."id" and t."region" = s."region"
), m as (
  insert into "oncesink"."public.t deletes" as m ("id", "region", "updated_at", _oncesink_source, _oncesink_offset)
  select s."id", s."region", case when s.deletes then s._oncesink_version end, s._oncesink_source, s._oncesink_offset
    from s where s.latest or s.deletes order by s._oncesink_n
      on conflict ("id", "region") do update set "updated_at" = greatest(m."updated_at", excluded."updated_at"),
       _oncesink_source = case when (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) then excluded._oncesink_source else m._oncesink_source end,
       _oncesink_offset = case when (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) then excluded._oncesink_offset else m._oncesink_offset end
)
select count(*), count(*) filter (where s.rowless) from s where s.latest or s.deletes;

-- lock
select pg_advisory_xact_lock_shared($1::integer, $2::integer);

-- lock alone
select pg_advisory_xact_lock($1::integer, $2::integer);

-- lock memory
lock table "oncesink"."public.t deletes" in row share mode;

-- lock memory alone
lock table "oncesink"."public.t deletes" in exclusive mode;

