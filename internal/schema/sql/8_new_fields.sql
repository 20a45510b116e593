-- Fields of rows that no column takes, as tables that do not ignore them have met them (new_fields: warn, hold or add).
create table oncesink.new_fields (
    target text collate "C" not null,   -- SCHEMA.TABLE
    field text collate "C" not null,
    topic text collate "C" not null,    -- where it was met first
    remedy text not null,               -- the statement that adds a column for it, or what has to be decided
    ignored boolean not null default false,
    first_seen timestamptz not null default now(),
    primary key (target, field)
);

-- Has a field of a table's events go without a column: what waits for one goes on.
create function oncesink.ignore_field(target text, field text) returns void
language plpgsql as $$
declare
    title text := (select format('%s.%s', n.nspname, c.relname) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                    where c.oid = pg_catalog.to_regclass(ignore_field.target));
begin
    if title is null then
        raise exception 'there is no table %', ignore_field.target using errcode = 'undefined_table';
    end if;
    insert into oncesink.new_fields as f (target, field, topic, remedy, ignored) values (title, ignore_field.field, '', '', true)
        on conflict on constraint new_fields_pkey do update set ignored = true;
end $$;

comment on table oncesink.new_fields is 'fields of events that no column takes, of tables that do not ignore them';
comment on function oncesink.ignore_field(text, text) is 'For operators: has a field of a table''s events go without a column; what waits for one goes on.';
