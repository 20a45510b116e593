-- orders: remember
with e as materialized (
  select a.c1::bigint as "id", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) with ordinality as a(c1, source, "offset", n)
), s as materialized (
  select e.*, t."version" as _oncesink_version,
         t."id" is null and m."id" is null as rowless,
         m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) as latest,
         t."id" is not null and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(t._oncesink_source >> 20, -1), coalesce(t._oncesink_offset, -1), coalesce(t._oncesink_source, -1))
         and (m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) or e._oncesink_source = t._oncesink_source) as deletes,
         s1."id" is not null and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(s1._oncesink_source >> 20, -1), coalesce(s1._oncesink_offset, -1), coalesce(s1._oncesink_source, -1))
         and (m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) or e._oncesink_source = s1._oncesink_source) as deletes_s1,
         s2."id" is not null and (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(s2._oncesink_source >> 20, -1), coalesce(s2._oncesink_offset, -1), coalesce(s2._oncesink_source, -1))
         and (m."id" is null or (e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) or e._oncesink_source = s2._oncesink_source) as deletes_s2
    from e left join "public"."orders" t on t."id" = e."id" left join "oncesink"."public.orders deletes" m on m."id" = e."id"
    left join "oncesink"."public.items sets" s1 on s1."id" = e."id"
    left join "oncesink"."public.tags sets" s2 on s2."id" = e."id"
), d1 as (
  delete from "public"."items" c using s where (s.deletes or s.deletes_s1) and c."order_id" = s."id"
), s1 as (
  delete from "oncesink"."public.items sets" m using s where (s.deletes or s.deletes_s1) and m."id" = s."id"
), d2 as (
  delete from "public"."tags" c using s where (s.deletes or s.deletes_s2) and c."order_id" = s."id"
), s2 as (
  delete from "oncesink"."public.tags sets" m using s where (s.deletes or s.deletes_s2) and m."id" = s."id"
), d as (
  delete from "public"."orders" t using s where s.deletes and t."id" = s."id"
), m as (
  insert into "oncesink"."public.orders deletes" as m ("id", "version", _oncesink_source, _oncesink_offset)
  select s."id", case when s.deletes then s._oncesink_version end, s._oncesink_source, s._oncesink_offset
    from s where s.latest or s.deletes order by s._oncesink_n
      on conflict ("id") do update set "version" = greatest(m."version", excluded."version"),
       _oncesink_source = case when (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) then excluded._oncesink_source else m._oncesink_source end,
       _oncesink_offset = case when (excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)) then excluded._oncesink_offset else m._oncesink_offset end
)
select count(*), count(*) filter (where s.rowless) from s where s.latest or s.deletes;

-- items: claim children
insert into "oncesink"."public.items sets" as m ("id", "version", _oncesink_source, _oncesink_offset)
select e."id", e."version", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
 where (select true from "public"."orders" t where t."id" = e."id")
   and (select (m."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."version", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)))
         from "oncesink"."public.items sets" m where m."id" = e."id") is not false
   and (select (m."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."version", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.orders deletes" m where m."id" = e."id") is not false
    on conflict ("id") do update set "version" = excluded."version", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (m."version" is null or (excluded."version", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (m."version", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)));

-- items: delete children
with e as materialized (
  select a.c1::bigint as "id", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) with ordinality as a(c1, source, "offset", n)
), m as materialized (
  select m.* from e join "oncesink"."public.items sets" m on m."id" = e."id" and m._oncesink_source = e._oncesink_source and m._oncesink_offset = e._oncesink_offset
   where exists (select from "public"."items" c where c."order_id" = m."id" and (c._oncesink_source, c._oncesink_offset) is distinct from (m._oncesink_source, m._oncesink_offset))
   order by e._oncesink_n for share of m
)
delete from "public"."items" c using m
 where c."order_id" = m."id" and (c._oncesink_source, c._oncesink_offset) is distinct from (m._oncesink_source, m._oncesink_offset);

-- items: insert children
insert into "public"."items" as t ("order_id", "sku", "pieces", "line", "shop", _oncesink_source, _oncesink_offset)
select e."order_id", e."sku", e."pieces", e."line", e."shop", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "order_id", a.c2::text as "sku", a.c3::integer as "pieces", a.c4::integer as "line", a.c5::text as "shop", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::integer[], $5::text[], $6::integer[], $7::bigint[]) as a(c1, c2, c3, c4, c5, source, "offset")
) e join "oncesink"."public.items sets" m on e."order_id" = m."id" and m._oncesink_source = e._oncesink_source and m._oncesink_offset = e._oncesink_offset
 where not exists (select from "public"."items" c where c."order_id" = e."order_id" and c."sku" = e."sku" and c._oncesink_source = e._oncesink_source and c._oncesink_offset = e._oncesink_offset)
   for share of m
    on conflict ("order_id", "sku") do nothing;

-- items: insert children flagged
insert into "public"."items" as t ("order_id", "sku", "pieces", "line", "shop", _oncesink_source, _oncesink_offset)
select e."order_id", e."sku", case when get_bit(e._oncesink_has, 2) = 1 then e."pieces" else 1 end, e."line", e."shop", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "order_id", a.c2::text as "sku", a.c3::integer as "pieces", a.c4::integer as "line", a.c5::text as "shop", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::integer[], $5::text[], $6::bytea[], $7::integer[], $8::bigint[]) as a(c1, c2, c3, c4, c5, has, source, "offset")
) e join "oncesink"."public.items sets" m on e."order_id" = m."id" and m._oncesink_source = e._oncesink_source and m._oncesink_offset = e._oncesink_offset
 where not exists (select from "public"."items" c where c."order_id" = e."order_id" and c."sku" = e."sku" and c._oncesink_source = e._oncesink_source and c._oncesink_offset = e._oncesink_offset)
   for share of m
    on conflict ("order_id", "sku") do nothing;

-- tags: claim children
insert into "oncesink"."public.tags sets" as m ("id", "version", _oncesink_source, _oncesink_offset)
select e."id", e."version", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "id", a.c2::integer as "version", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
 where (select true from "public"."orders" t where t."id" = e."id")
   and (select (m."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."version", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)))
         from "oncesink"."public.tags sets" m where m."id" = e."id") is not false
   and (select (m."version" is null or (e."version", e._oncesink_source >> 20, e._oncesink_offset, e._oncesink_source) > (m."version", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1))) and (e._oncesink_source <> m._oncesink_source or e._oncesink_offset > m._oncesink_offset)
         from "oncesink"."public.orders deletes" m where m."id" = e."id") is not false
    on conflict ("id") do update set "version" = excluded."version", _oncesink_source = excluded._oncesink_source, _oncesink_offset = excluded._oncesink_offset
 where (m."version" is null or (excluded."version", excluded._oncesink_source >> 20, excluded._oncesink_offset, excluded._oncesink_source) > (m."version", coalesce(m._oncesink_source >> 20, -1), coalesce(m._oncesink_offset, -1), coalesce(m._oncesink_source, -1)));

-- tags: delete children
with e as materialized (
  select a.c1::bigint as "id", a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::bigint[], $2::integer[], $3::bigint[]) with ordinality as a(c1, source, "offset", n)
), m as materialized (
  select m.* from e join "oncesink"."public.tags sets" m on m."id" = e."id" and m._oncesink_source = e._oncesink_source and m._oncesink_offset = e._oncesink_offset
   where exists (select from "public"."tags" c where c."order_id" = m."id" and (c._oncesink_source, c._oncesink_offset) is distinct from (m._oncesink_source, m._oncesink_offset))
   order by e._oncesink_n for share of m
)
delete from "public"."tags" c using m
 where c."order_id" = m."id" and (c._oncesink_source, c._oncesink_offset) is distinct from (m._oncesink_source, m._oncesink_offset);

-- tags: insert children
insert into "public"."tags" as t ("order_id", "tag", _oncesink_source, _oncesink_offset)
select e."order_id", e."tag", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "order_id", a.c2::text as "tag", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e join "oncesink"."public.tags sets" m on e."order_id" = m."id" and m._oncesink_source = e._oncesink_source and m._oncesink_offset = e._oncesink_offset
 where not exists (select from "public"."tags" c where c."order_id" = e."order_id" and c."tag" = e."tag" and c._oncesink_source = e._oncesink_source and c._oncesink_offset = e._oncesink_offset)
   for share of m
    on conflict ("order_id", "tag") do nothing;

-- tags: insert children flagged
insert into "public"."tags" as t ("order_id", "tag", _oncesink_source, _oncesink_offset)
select e."order_id", e."tag", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::bigint as "order_id", a.c2::text as "tag", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::bigint[], $2::text[], $3::bytea[], $4::integer[], $5::bigint[]) as a(c1, c2, has, source, "offset")
) e join "oncesink"."public.tags sets" m on e."order_id" = m."id" and m._oncesink_source = e._oncesink_source and m._oncesink_offset = e._oncesink_offset
 where not exists (select from "public"."tags" c where c."order_id" = e."order_id" and c."tag" = e."tag" and c._oncesink_source = e._oncesink_source and c._oncesink_offset = e._oncesink_offset)
   for share of m
    on conflict ("order_id", "tag") do nothing;

