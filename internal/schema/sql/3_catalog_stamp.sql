-- What the catalog says of tables: which transactions last wrote the entries that a mapping is
-- compiled from. In plpgsql for the plans that this keeps, and one table at a time, by index: a tenth of
-- what a join of the catalog takes.
create function oncesink.catalog_stamp(names text[], deep boolean) returns text
language plpgsql stable as $$
declare
    stamp text := '';
    name  text;
    id    oid;
begin
    foreach name in array names loop
        id := pg_catalog.to_regclass(name);
        stamp := stamp || coalesce(id::text, '-') || ' '
            || coalesce((select c.xmin::text || case when c.relhassubclass and c.relkind = 'r'
                                then '+' || (select count(*) from pg_catalog.pg_inherits h where h.inhparent = id) else '' end
                           from pg_catalog.pg_class c where c.oid = id), '') || ' '
            || coalesce((select string_agg(a.xmin::text, ',' order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = id and a.attnum > 0), '') || ' '
            || coalesce((select string_agg(i.xmin::text, ',' order by i.indexrelid) from pg_catalog.pg_index i where i.indrelid = id), '') || ';';
        continue when not deep or id is null;
        stamp := stamp
            || coalesce((select string_agg(k.xmin::text, ',' order by k.oid) from pg_catalog.pg_constraint k where k.conrelid = id), '') || ' '
            || coalesce((select string_agg(g.xmin::text, ',' order by g.oid) from pg_catalog.pg_trigger g where g.tgrelid = id), '') || ' '
            || coalesce((select string_agg(t.xmin::text, ',' order by t.oid) from pg_catalog.pg_type t
                          where t.oid in (select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = id and a.attnum > 0)), '') || ' '
            || (select count(*) from pg_catalog.pg_inherits h where h.inhparent = id) || ';';
    end loop;
    return stamp;
end $$;
