-- copy
copy "public"."t" ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset) from stdin with (format binary);

-- look
select string_agg(case when (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false
       then coalesce((select case when (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))) then '1' else '2' end
         from "public"."t" t where t."id" = e."id" and t."region" = e."region"), '0') else '2' end, '' order by e._oncesink_n)
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::integer[], $5::bigint[]) with ordinality as a(c1, c2, c3, source, "offset", n)
) e;

-- look into the memory
select string_agg(case when exists (select from "oncesink"."public.t deletes" t where t."id" = e."id" and t."region" = e."region") then '1' else '0' end, '' order by e._oncesink_n)
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) with ordinality as a(c1, c2, source, "offset", n)
) e;

-- upsert
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
select e."id", e."region", e."updated_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) as a(c1, c2, c3, c4, c5, source, "offset")
) e
 where (select (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)))
         from "public"."t" t where t."id" = e."id" and t."region" = e."region") is not false
   and (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false
    on conflict ("id", "region") do update set "updated_at" = excluded."updated_at", "amount" = excluded."amount", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."updated_at" is null or (excluded."updated_at", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- upsert texts
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
select e."id", e."region", e."updated_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) as a(c1, c2, c3, c4, c5, source, "offset")
) e
 where (select (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)))
         from "public"."t" t where t."id" = e."id" and t."region" = e."region") is not false
   and (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false
    on conflict ("id", "region") do update set "updated_at" = excluded."updated_at", "amount" = excluded."amount", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."updated_at" is null or (excluded."updated_at", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- upsert winners
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
select e."id", e."region", e."updated_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) as a(c1, c2, c3, c4, c5, source, "offset")
) e
 where (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false
    on conflict ("id", "region") do update set "updated_at" = excluded."updated_at", "amount" = excluded."amount", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."updated_at" is null or (excluded."updated_at", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- update
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, source, "offset", n)
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id" and t."region" = e."region"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "updated_at" = e."updated_at", "amount" = e."amount", "note" = e."note", _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id" and t."region" = e."region"
   and (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)))
   and (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false;

-- insert rest
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
select e."id", e."region", e."updated_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::text[], $5::text[], $6::integer[], $7::bigint[]) as a(c1, c2, c3, c4, c5, source, "offset")
) e
 where (select false from "public"."t" t where t."id" = e."id" and t."region" = e."region") is not false
   and (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false
    on conflict ("id", "region") do update set "updated_at" = excluded."updated_at", "amount" = excluded."amount", "note" = excluded."note", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (t."updated_at" is null or (excluded."updated_at", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)));

-- require
select oncesink.withheld('')
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::integer[], $5::bigint[]) as a(c1, c2, c3, source, "offset")
) e
 where not exists (select from "public"."t" t where t."id" = e."id" and t."region" = e."region")
   and (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false;

-- update flagged
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::text[], $5::text[], $6::bytea[], $7::integer[], $8::bigint[]) with ordinality as a(c1, c2, c3, c4, c5, has, source, "offset", n)
), locked as materialized (
  select e._oncesink_n from e join "public"."t" t on t."id" = e."id" and t."region" = e."region"
   order by e._oncesink_n for update of t
)
update "public"."t" t set "updated_at" = e."updated_at", "amount" = case when get_bit(e._oncesink_has, 3) = 1 then e."amount" else t."amount" end, "note" = case when get_bit(e._oncesink_has, 4) = 1 then e."note" else t."note" end, _oncesink_source = e._oncesink_source, _oncesink_offset = e._oncesink_offset
  from e join locked using (_oncesink_n)
 where t."id" = e."id" and t."region" = e."region"
   and (t."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (t."updated_at", coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1)))
   and (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false;

-- insert rest flagged
insert into "public"."t" as t ("id", "region", "updated_at", "amount", "note", _oncesink_source, _oncesink_offset)
select e."id", e."region", e."updated_at", e."amount", case when get_bit(e._oncesink_has, 4) = 1 then e."note" else 'none'::text end, e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.c3::timestamp(3) without time zone as "updated_at", a.c4::numeric as "amount", a.c5::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::timestamp without time zone[], $4::text[], $5::text[], $6::bytea[], $7::integer[], $8::bigint[]) as a(c1, c2, c3, c4, c5, has, source, "offset")
) e
 where (select false from "public"."t" t where t."id" = e."id" and t."region" = e."region") is not false
   and (select (m."updated_at" is null or (e."updated_at", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."updated_at", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.t deletes" m where m."id" = e."id" and m."region" = e."region") is not false
    on conflict ("id", "region") do nothing;

-- remember
with e as materialized (
  select a.c1::bigint as "id", a.c2::character varying as "region", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) with ordinality as a(c1, c2, source, "offset", n)
), s as materialized (
  select e.*, t."updated_at" as _oncesink_version,
         t."id" is null and m."id" is null as rowless,
         m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) as latest,
         t."id" is not null and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         and (m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) or e._oncesink_source = t._oncesink_source) as deletes
    from e left join "public"."t" t on t."id" = e."id" and t."region" = e."region" left join "oncesink"."public.t deletes" m on m."id" = e."id" and m."region" = e."region"
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

