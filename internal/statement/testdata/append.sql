-- copy
copy "public"."t" ("placed_at", "amount", "note", _oncesink_source, _oncesink_offset) from stdin with (encoding 'UTF8');

-- look
select string_agg(coalesce((select case when false then '1' else '2' end
         from "public"."t" t where t._oncesink_source = e._oncesink_source and t._oncesink_offset = e._oncesink_offset), '0'), '' order by e._oncesink_n)
  from (
  select a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::integer[], $2::bigint[]) with ordinality as a(source, "offset", n)
) e;

-- append
insert into "public"."t" as t ("placed_at", "amount", "note", _oncesink_source, _oncesink_offset)
select e."placed_at", e."amount", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::timestamp with time zone as "placed_at", a.c2::money as "amount", a.c3::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::timestamp with time zone[], $2::text[], $3::text[], $4::integer[], $5::bigint[]) as a(c1, c2, c3, source, "offset")
) e
    on conflict ("_oncesink_source", "_oncesink_offset") do nothing;

-- append flagged
insert into "public"."t" as t ("placed_at", "amount", "note", _oncesink_source, _oncesink_offset)
select e."placed_at", e."amount", case when get_bit(e._oncesink_has, 2) = 1 then e."note" else 'none'::text end, e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::timestamp with time zone as "placed_at", a.c2::money as "amount", a.c3::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::timestamp with time zone[], $2::text[], $3::text[], $4::bytea[], $5::integer[], $6::bigint[]) as a(c1, c2, c3, has, source, "offset")
) e
    on conflict ("_oncesink_source", "_oncesink_offset") do nothing;

