-- A hypertable of TimescaleDB gets chunks, which inherit from it, from the very transactions that write its rows: chunks are no
-- heirs that count, and that the first one writes the table's entry anew is no change of the table. Whether it is one is asked
-- where the extension is there.
create or replace function oncesink.catalog_stamp(names text[], deep boolean) returns text
language plpgsql stable as $$
declare
    stamp text := '';
    name  text;
    id    oid;
    cut   boolean;
begin
    foreach name in array names loop
        id := pg_catalog.to_regclass(name);
        cut := false;
        if pg_catalog.to_regclass('timescaledb_information.dimensions') is not null then
            cut := exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                             join timescaledb_information.dimensions d on d.hypertable_schema = n.nspname and d.hypertable_name = c.relname
                            where c.oid = id);
        end if;
        stamp := stamp || coalesce(id::text, '-') || ' '
            || coalesce((select case when cut then pg_catalog.concat_ws(',', 'cut', c.relname, c.relnamespace, c.relowner, c.relkind, c.relpersistence, c.relacl::text,
                                                                        c.relrowsecurity, c.relforcerowsecurity, c.relhasrules, c.relhastriggers, c.relchecks, c.relnatts)
                                when c.relhassubclass and c.relkind = 'r'
                                then c.xmin::text || '+' || (select count(*) from pg_catalog.pg_inherits h where h.inhparent = id)
                                else c.xmin::text end
                           from pg_catalog.pg_class c where c.oid = id), '') || ' '
            || coalesce((select string_agg(a.xmin::text, ',' order by a.attnum) from pg_catalog.pg_attribute a where a.attrelid = id and a.attnum > 0), '') || ' '
            || coalesce((select string_agg(i.xmin::text, ',' order by i.indexrelid) from pg_catalog.pg_index i where i.indrelid = id), '') || ';';
        continue when not deep or id is null;
        stamp := stamp
            || coalesce((select string_agg(k.xmin::text, ',' order by k.oid) from pg_catalog.pg_constraint k where k.conrelid = id), '') || ' '
            || coalesce((select string_agg(g.xmin::text, ',' order by g.oid) from pg_catalog.pg_trigger g where g.tgrelid = id), '') || ' '
            || coalesce((select string_agg(t.xmin::text, ',' order by t.oid) from pg_catalog.pg_type t
                          where t.oid in (select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = id and a.attnum > 0)), '') || ' '
            || case when cut then '' else (select count(*) from pg_catalog.pg_inherits h where h.inhparent = id)::text end || ';';
    end loop;
    return stamp;
end $$;
