-- copy
copy "public"."t" ("day", "note", _oncesink_source, _oncesink_offset) from stdin with (format binary);

-- look
select string_agg(coalesce((select case when false then '1' else '2' end
         from "public"."t" t where t._oncesink_source = e._oncesink_source and t._oncesink_offset = e._oncesink_offset), '0'), '' order by e._oncesink_n)
  from (
  select a.source as _oncesink_source, a."offset" as _oncesink_offset, a.n as _oncesink_n
  from unnest($1::integer[], $2::bigint[]) with ordinality as a(source, "offset", n)
) e;

-- append
insert into "public"."t" as t ("day", "note", _oncesink_source, _oncesink_offset)
select e."day", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::date as "day", a.c2::text as "note", a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::date[], $2::text[], $3::integer[], $4::bigint[]) as a(c1, c2, source, "offset")
) e
    on conflict ("_oncesink_source", "_oncesink_offset", "day") do nothing;

-- append flagged
insert into "public"."t" as t ("day", "note", _oncesink_source, _oncesink_offset)
select e."day", e."note", e._oncesink_source, e._oncesink_offset
  from (
  select a.c1::date as "day", a.c2::text as "note", a.has as _oncesink_has, a.source as _oncesink_source, a."offset" as _oncesink_offset
  from unnest($1::date[], $2::text[], $3::bytea[], $4::integer[], $5::bigint[]) as a(c1, c2, has, source, "offset")
) e
    on conflict ("_oncesink_source", "_oncesink_offset", "day") do nothing;

