-- Dead letters and target tables of oncesink. Run it after the ledger's script, as the owner of the
-- target tables: psql -v ON_ERROR_STOP=1 -f THIS

begin;

set local lock_timeout = '10s'; set local synchronous_commit = on;
do $oncesink$ begin perform pg_advisory_xact_lock(8029464473027309163); end $oncesink$;
do $oncesink$ begin
if to_regnamespace('oncesink') is null then
    create schema oncesink;
end if;
if to_regclass('oncesink.schema_version') is null then
    create table oncesink.schema_version (
        component text primary key,
        version   int  not null
    );
end if;
end $oncesink$;

-- sink, version 1
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 1) then
execute $migration$
create table oncesink.dead_letters (
	sink_group text collate "C" not null,
	topic_id uuid not null,
	topic text collate "C" not null,
	generation integer not null,
	partition integer not null,
	"offset" bigint not null,
	recorded timestamptz,            -- the record's timestamp
	key bytea,
	value bytea,                     -- null: a tombstone
	headers jsonb not null,          -- [[name, value in base64], ...]
	code text,                       -- SQLSTATE, or ONS.. for what the decoder found
	message text not null,
	target text,                     -- table
	column_name text,
	constraint_name text,
	status text not null default 'new',
	recorded_at timestamptz not null default now(),
	primary key (sink_group, topic_id, partition, "offset")
);
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 1)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 2
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 2) then
execute $migration$
-- What a person can read of a record's bytes: UTF-8 text, or hexadecimal digits after
-- \x where they are none. For looking at dead letters: it never fails on a value.
create function oncesink.text_of(bytes bytea) returns text
language plpgsql immutable strict as $$
begin
    return convert_from(bytes, 'UTF8');
exception when character_not_in_repertoire or untranslatable_character then
    return '\x' || encode(bytes, 'hex');
end $$;
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 2)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 3
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 3) then
execute $migration$
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
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 3)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 4
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 4) then
execute $migration$
-- What becomes of a dead letter. Its status is
--   new        it waits for a person
--   retry      a person asks for another attempt; the partition's owner makes it
--   resolved   its record was written after all: by a retry, a replay or a rebuild
--   discarded  a person wants nothing more of it
alter table oncesink.dead_letters
    add column attempts   integer not null default 1,      -- how often it was refused: at first, when asked to be tried again, or for another reason
    add column tried_at   timestamptz not null default now(), -- when that was last
    add column late       boolean not null default false,  -- retry: write it, whatever came after it
    add column settled_at timestamptz,                     -- when it was resolved or discarded
    add column settled_by text;                            -- retry, replay, rebuild, or who discarded it

update oncesink.dead_letters set tried_at = recorded_at;
update oncesink.dead_letters set status = 'resolved', settled_at = now(), settled_by = 'rebuild' where status = 'rebuilt';

create index dead_letters_open on oncesink.dead_letters (sink_group, topic, partition, "offset") where status in ('new', 'retry');
create index dead_letters_requested on oncesink.dead_letters (sink_group, topic, partition, "offset") where status = 'retry';

-- The letters of a group that the filters pick, and their records: a filter that is null picks all.
-- Partition and "offset" want what names them better. since and until bound recorded_at, until is not among them.
create function oncesink.pick_dead_letters(
    group_name text, in_status text[], topic_name text, partition_number int, at_offset bigint,
    error_code text, target_table text, since timestamptz, until timestamptz
) returns setof oncesink.dead_letters
language sql stable as $$
    select * from oncesink.dead_letters d
     where d.sink_group = group_name and d.status = any (in_status)
       and (topic_name is null or d.topic = topic_name)
       and (partition_number is null or d.partition = partition_number)
       and (at_offset is null or d."offset" = at_offset)
       and (error_code is null or d.code = error_code)
       and (target_table is null or d.target = target_table)
       and (since is null or d.recorded_at >= since)
       and (until is null or d.recorded_at < until)
$$;

-- Asks for another attempt at writing the letters' records. The owner of each partition makes it
-- within a second or so, oldest first, under its fence. late: also where later records may have been
-- written, and the order of their versions does not decide (see docs/dead-letters.md). Returns how many.
create function oncesink.retry_dead_letters(
    group_name text, topic text default null, partition int default null, "offset" bigint default null,
    code text default null, target text default null, since timestamptz default null, until timestamptz default null,
    late boolean default false
) returns bigint
language plpgsql set lock_timeout = '10s' as $$
declare
    n bigint;
begin
    perform oncesink.durable();
    with picked as (
        select d.topic_id, d.partition, d."offset" from oncesink.dead_letters d
         where d.sink_group = $1 and d.status in ('new', 'retry') -- as pick_dead_letters does, whose rows can't be locked
           and ($2 is null or d.topic = $2) and ($3 is null or d.partition = $3) and ($4 is null or d."offset" = $4)
           and ($5 is null or d.code = $5) and ($6 is null or d.target = $6)
           and ($7 is null or d.recorded_at >= $7) and ($8 is null or d.recorded_at < $8)
         order by d.topic_id, d.partition, d."offset"
           for update of d
    )
    update oncesink.dead_letters d set status = 'retry', late = $9
      from picked p
     where d.sink_group = $1 and d.topic_id = p.topic_id and d.partition = p.partition and d."offset" = p."offset";
    get diagnostics n = row_count;
    return n;
end $$;

-- Says that nobody wants the letters' records written any more. They stay in the table. With undo, those that
-- were discarded are new again. Returns how many.
create function oncesink.discard_dead_letters(
    group_name text, topic text default null, partition int default null, "offset" bigint default null,
    code text default null, target text default null, since timestamptz default null, until timestamptz default null,
    undo boolean default false
) returns bigint
language plpgsql set lock_timeout = '10s' as $$
declare
    n bigint;
    from_status text[] := case when $9 then '{discarded}' else '{new,retry}' end;
begin
    perform oncesink.durable();
    with picked as (
        select d.topic_id, d.partition, d."offset" from oncesink.dead_letters d
         where d.sink_group = $1 and d.status = any (from_status) -- as pick_dead_letters does, whose rows can't be locked
           and ($2 is null or d.topic = $2) and ($3 is null or d.partition = $3) and ($4 is null or d."offset" = $4)
           and ($5 is null or d.code = $5) and ($6 is null or d.target = $6)
           and ($7 is null or d.recorded_at >= $7) and ($8 is null or d.recorded_at < $8)
         order by d.topic_id, d.partition, d."offset"
           for update of d
    )
    update oncesink.dead_letters d
       set status = case when $9 then 'new' else 'discarded' end, late = false,
           settled_at = case when not $9 then now() end, settled_by = case when not $9 then session_user end
      from picked p
     where d.sink_group = $1 and d.topic_id = p.topic_id and d.partition = p.partition and d."offset" = p."offset";
    get diagnostics n = row_count;
    return n;
end $$;

-- How many letters there are of each kind.
create view oncesink.dead_letter_stats as
select sink_group, topic, code, target, column_name, status, count(*) as letters, max(attempts) as most_attempts,
       min(recorded_at) as first_recorded, max(tried_at) as last_tried
  from oncesink.dead_letters
 group by sink_group, topic, code, target, column_name, status
 order by sink_group, topic, status, letters desc;

comment on function oncesink.retry_dead_letters is 'have dead letters tried again by the owners of their partitions';
comment on function oncesink.discard_dead_letters is 'nobody wants these dead letters written any more';
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 4)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 5
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 5) then
execute $migration$
-- As of the ledger's functions.
comment on function oncesink.discard_dead_letters is 'For operators: nobody wants these dead letters written any more; undo makes them new again.';
comment on function oncesink.retry_dead_letters is 'For operators: has dead letters tried again by the owners of their partitions. Arguments that are null pick all.';
comment on function oncesink.text_of is 'For operators: bytes as text, or in hex where they are no text.';
comment on function oncesink.catalog_stamp is 'Internal: changes when one of the tables does.';
comment on function oncesink.pick_dead_letters is 'Internal: the letters that filters pick.';
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 5)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 6
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 6) then
execute $migration$
-- withheld raises what a record is refused for that needs a row: its source withheld the values of these columns.
create function oncesink.withheld(columns text) returns boolean language plpgsql as $$ begin
	raise exception 'the source withheld the value of %, and there is no row of the event''s key', columns using errcode = 'ONS30', column = split_part(columns, ', ', 1);
end $$;
comment on function oncesink.withheld is 'Internal: refuses an event whose source withheld values, where there is no row.';
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 6)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 7
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 7) then
execute $migration$
-- Schemas that a registry handed out, and that records were read with. One means the same for ever: so records can be read again when
-- the registry is away, or has lost it.
create table oncesink.schemas (
    registry text collate "C" not null, -- a URL of it, and the context
    space text collate "C" not null,    -- id or guid
    id text collate "C" not null,
    type text not null,                 -- AVRO, PROTOBUF or JSON
    text text not null,
    refs jsonb not null,                -- [{"Name": ..., "Schema": {"Type": ..., "Text": ..., "References": [...]}}, ...]
    fetched_at timestamptz not null default now(),
    primary key (registry, space, id)
);

-- The topics whose records were read with them.
create table oncesink.schema_uses (
    registry text collate "C" not null,
    space text collate "C" not null,
    id text collate "C" not null,
    topic text collate "C" not null,
    of_key boolean not null,            -- by their keys
    first_used timestamptz not null default now(),
    primary key (topic, of_key, registry, space, id)
);

comment on table oncesink.schemas is 'schemas that a registry handed out';
comment on table oncesink.schema_uses is 'the topics whose records were read with oncesink.schemas';
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 7)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 8
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 8) then
execute $migration$
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
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 8)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- sink, version 9
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'sink' and version >= 9) then
execute $migration$
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
$migration$;
insert into oncesink.schema_version (component, version) values ('sink', 9)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

grant usage on schema oncesink to "nobody";
grant select, insert, update on oncesink.dead_letters to "nobody";
grant select on oncesink.dead_letter_stats to "nobody";
set local search_path = public;

-- public.orders
do $init$ begin if to_regclass('"public"."orders"') is null then execute 'create table orders (id int, region varchar(8), updated_at timestamp(3) not null, note text, primary key (id, region))'; end if; end $init$;
alter table "public"."orders" add column if not exists _oncesink_source integer, add column if not exists _oncesink_offset bigint;
do $init$ begin
	if to_regclass('"oncesink"."public.orders deletes"') is null then
		create table "oncesink"."public.orders deletes" as select "id", "region", "updated_at", _oncesink_source, _oncesink_offset from "public"."orders" with no data;
		alter table "oncesink"."public.orders deletes" add primary key ("id", "region"), alter column _oncesink_source set not null, alter column _oncesink_offset set not null;
	end if;
end $init$;
do $init$ declare place text; begin
	if to_regclass('pg_catalog.pg_dist_partition') is not null then
		execute $citus$ select case when t.repmodel = 't' then format('select create_reference_table(%L)', $1)
		                            else format('select create_distributed_table(%L, %L, colocate_with => %L)', $1,
		                                        case when t.partmethod <> 'n' then column_to_column_name(t.logicalrelid, t.partkey) end, $2) end
		                  from pg_dist_partition t
		                 where t.logicalrelid = $2::regclass and (t.partmethod <> 'n' or t.colocationid <> 0)
		                   and not exists (select from pg_dist_partition m where m.logicalrelid = $1::regclass) $citus$
		   into place using '"oncesink"."public.orders deletes"'::text, '"public"."orders"'::text;
		if place is not null then
			execute place;
		end if;
	end if;
end $init$;
do $init$ declare m regclass = '"oncesink"."public.orders deletes"'; o regclass = '"public"."orders"'; c record; begin
	for c in select quote_ident(t.attname) as name, a.attname is null as missing,
	                format_type(t.atttypid, t.atttypmod) as typ, coalesce(' collate ' || l.oid::regcollation, '') as collation
	           from pg_attribute t left join pg_attribute a on a.attrelid = m and a.attname = t.attname and not a.attisdropped
	           left join pg_collation l on l.oid = t.attcollation
	          where t.attrelid = o and t.attname in ('id', 'region', 'updated_at')
	            and (a.atttypid, a.atttypmod, a.attcollation) is distinct from (t.atttypid, t.atttypmod, t.attcollation)
	loop
		execute format(case when c.missing then 'alter table %s add column %s %s%s' else 'alter table %s alter column %s type %s%s using %2$s::%3$s' end,
		               m, c.name, c.typ, c.collation);
	end loop;
end $init$;
grant select, insert, update, delete on "public"."orders" to "nobody";
grant select, insert, update on "oncesink"."public.orders deletes" to "nobody";

-- sales.Big Table
do $init$ begin if to_regclass('"sales"."Big Table"') is null then execute 'create schema if not exists sales; create table sales."Big Table" ("ID" uuid primary key, "it''s" text)'; end if; end $init$;
alter table "sales"."Big Table" add column if not exists _oncesink_source integer, add column if not exists _oncesink_offset bigint;
do $init$ begin
	if to_regclass('"oncesink"."sales.Big Table deletes"') is null then
		create table "oncesink"."sales.Big Table deletes" as select "ID", _oncesink_source, _oncesink_offset from "sales"."Big Table" with no data;
		alter table "oncesink"."sales.Big Table deletes" add primary key ("ID"), alter column _oncesink_source set not null, alter column _oncesink_offset set not null;
	end if;
end $init$;
do $init$ declare place text; begin
	if to_regclass('pg_catalog.pg_dist_partition') is not null then
		execute $citus$ select case when t.repmodel = 't' then format('select create_reference_table(%L)', $1)
		                            else format('select create_distributed_table(%L, %L, colocate_with => %L)', $1,
		                                        case when t.partmethod <> 'n' then column_to_column_name(t.logicalrelid, t.partkey) end, $2) end
		                  from pg_dist_partition t
		                 where t.logicalrelid = $2::regclass and (t.partmethod <> 'n' or t.colocationid <> 0)
		                   and not exists (select from pg_dist_partition m where m.logicalrelid = $1::regclass) $citus$
		   into place using '"oncesink"."sales.Big Table deletes"'::text, '"sales"."Big Table"'::text;
		if place is not null then
			execute place;
		end if;
	end if;
end $init$;
do $init$ declare m regclass = '"oncesink"."sales.Big Table deletes"'; o regclass = '"sales"."Big Table"'; c record; begin
	for c in select quote_ident(t.attname) as name, a.attname is null as missing,
	                format_type(t.atttypid, t.atttypmod) as typ, coalesce(' collate ' || l.oid::regcollation, '') as collation
	           from pg_attribute t left join pg_attribute a on a.attrelid = m and a.attname = t.attname and not a.attisdropped
	           left join pg_collation l on l.oid = t.attcollation
	          where t.attrelid = o and t.attname in ('ID')
	            and (a.atttypid, a.atttypmod, a.attcollation) is distinct from (t.atttypid, t.atttypmod, t.attcollation)
	loop
		execute format(case when c.missing then 'alter table %s add column %s %s%s' else 'alter table %s alter column %s type %s%s using %2$s::%3$s' end,
		               m, c.name, c.typ, c.collation);
	end loop;
end $init$;
grant usage on schema "sales" to "nobody";
grant select, insert, update, delete on "sales"."Big Table" to "nobody";
grant select, insert, update on "oncesink"."sales.Big Table deletes" to "nobody";

-- public.long_name_long_name_long_name_long_name_long_name_long_name_
do $init$ begin if to_regclass('"public"."long_name_long_name_long_name_long_name_long_name_long_name_"') is null then execute 'create table long_name_long_name_long_name_long_name_long_name_long_name_ (id int primary key)'; end if; end $init$;
alter table "public"."long_name_long_name_long_name_long_name_long_name_long_name_" add column if not exists _oncesink_source integer, add column if not exists _oncesink_offset bigint;
do $init$ begin
	if to_regclass('"oncesink"."public.long_name_long_name_long_name_long_ 0b2dbf3a7194 deletes"') is null then
		create table "oncesink"."public.long_name_long_name_long_name_long_ 0b2dbf3a7194 deletes" as select "id", _oncesink_source, _oncesink_offset from "public"."long_name_long_name_long_name_long_name_long_name_long_name_" with no data;
		alter table "oncesink"."public.long_name_long_name_long_name_long_ 0b2dbf3a7194 deletes" add primary key ("id"), alter column _oncesink_source set not null, alter column _oncesink_offset set not null;
	end if;
end $init$;
do $init$ declare place text; begin
	if to_regclass('pg_catalog.pg_dist_partition') is not null then
		execute $citus$ select case when t.repmodel = 't' then format('select create_reference_table(%L)', $1)
		                            else format('select create_distributed_table(%L, %L, colocate_with => %L)', $1,
		                                        case when t.partmethod <> 'n' then column_to_column_name(t.logicalrelid, t.partkey) end, $2) end
		                  from pg_dist_partition t
		                 where t.logicalrelid = $2::regclass and (t.partmethod <> 'n' or t.colocationid <> 0)
		                   and not exists (select from pg_dist_partition m where m.logicalrelid = $1::regclass) $citus$
		   into place using '"oncesink"."public.long_name_long_name_long_name_long_ 0b2dbf3a7194 deletes"'::text, '"public"."long_name_long_name_long_name_long_name_long_name_long_name_"'::text;
		if place is not null then
			execute place;
		end if;
	end if;
end $init$;
do $init$ declare m regclass = '"oncesink"."public.long_name_long_name_long_name_long_ 0b2dbf3a7194 deletes"'; o regclass = '"public"."long_name_long_name_long_name_long_name_long_name_long_name_"'; c record; begin
	for c in select quote_ident(t.attname) as name, a.attname is null as missing,
	                format_type(t.atttypid, t.atttypmod) as typ, coalesce(' collate ' || l.oid::regcollation, '') as collation
	           from pg_attribute t left join pg_attribute a on a.attrelid = m and a.attname = t.attname and not a.attisdropped
	           left join pg_collation l on l.oid = t.attcollation
	          where t.attrelid = o and t.attname in ('id')
	            and (a.atttypid, a.atttypmod, a.attcollation) is distinct from (t.atttypid, t.atttypmod, t.attcollation)
	loop
		execute format(case when c.missing then 'alter table %s add column %s %s%s' else 'alter table %s alter column %s type %s%s using %2$s::%3$s' end,
		               m, c.name, c.typ, c.collation);
	end loop;
end $init$;
grant select, insert, update, delete on "public"."long_name_long_name_long_name_long_name_long_name_long_name_" to "nobody";
grant select, insert, update on "oncesink"."public.long_name_long_name_long_name_long_ 0b2dbf3a7194 deletes" to "nobody";

-- public.log
do $init$ begin if to_regclass('"public"."log"') is null then execute 'create table log (day date, n int) partition by range (day)'; end if; end $init$;
alter table "public"."log" add column if not exists _oncesink_source integer, add column if not exists _oncesink_offset bigint;
do $init$ declare t regclass = '"public"."log"'; parts name[]; more name[]; open boolean; begin
	-- The columns by which the table is kept in parts.
	parts := array(select a.attname from pg_partitioned_table p, unnest(p.partattrs::int2[]) with ordinality as k(attnum, n), pg_attribute a
	                where p.partrelid = t and a.attrelid = t and a.attnum = k.attnum order by k.n);
	if to_regclass('timescaledb_information.dimensions') is not null then
		parts := parts || array(select d.column_name from timescaledb_information.dimensions d, pg_class c join pg_namespace n on n.oid = c.relnamespace
		                         where c.oid = t and d.hypertable_schema = n.nspname and d.hypertable_name = c.relname order by d.dimension_number);
	end if;
	open := exists (select from pg_attribute a where a.attrelid = t and a.attname = any (parts) and a.attname not in ('_oncesink_source', '_oncesink_offset') and not a.attnotnull);
	if to_regclass('pg_catalog.pg_dist_partition') is not null then -- Citus, which refuses a row without its column
		execute 'select array_agg(column_to_column_name(logicalrelid, partkey)) from pg_dist_partition where partmethod <> ''n'' and logicalrelid = $1' into more using t;
	end if;
	parts := array(select p from unnest(parts || more) with ordinality as x(p, n) where p not in ('_oncesink_source', '_oncesink_offset') order by n);
	if not exists (
		select from pg_index i
		  join lateral (select array_agg(a.attname) as names, bool_or(a.attname = any (parts) and a.attname <> all (coalesce(more, '{}')) and not a.attnotnull) as open
		                  from unnest(i.indkey::int2[]) with ordinality as k(attnum, n) join pg_attribute a on a.attrelid = t and a.attnum = k.attnum
		                 where k.n <= i.indnkeyatts) has on true
		 where i.indrelid = t and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
		   and has.names @> array['_oncesink_source', '_oncesink_offset']::name[] and has.names <@ (array['_oncesink_source', '_oncesink_offset']::name[] || parts)
		   and (not has.open or coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false))
	) then
		execute format('create unique index %I on %s (_oncesink_source, _oncesink_offset%s)%s', 'log_oncesink_key', t,
		               (select string_agg(', ' || quote_ident(p), '' order by n) from unnest(parts) with ordinality as x(p, n)),
		               case when open then ' nulls not distinct' end);
	end if;
end $init$;
grant select, insert on "public"."log" to "nobody";

-- public.plain_log
do $init$ begin if to_regclass('"public"."plain_log"') is null then execute 'create table plain_log (n int)'; end if; end $init$;
alter table "public"."plain_log" add column if not exists _oncesink_source integer, add column if not exists _oncesink_offset bigint;
do $init$ declare t regclass = '"public"."plain_log"'; parts name[]; more name[]; open boolean; begin
	-- The columns by which the table is kept in parts.
	parts := array(select a.attname from pg_partitioned_table p, unnest(p.partattrs::int2[]) with ordinality as k(attnum, n), pg_attribute a
	                where p.partrelid = t and a.attrelid = t and a.attnum = k.attnum order by k.n);
	if to_regclass('timescaledb_information.dimensions') is not null then
		parts := parts || array(select d.column_name from timescaledb_information.dimensions d, pg_class c join pg_namespace n on n.oid = c.relnamespace
		                         where c.oid = t and d.hypertable_schema = n.nspname and d.hypertable_name = c.relname order by d.dimension_number);
	end if;
	open := exists (select from pg_attribute a where a.attrelid = t and a.attname = any (parts) and a.attname not in ('_oncesink_source', '_oncesink_offset') and not a.attnotnull);
	if to_regclass('pg_catalog.pg_dist_partition') is not null then -- Citus, which refuses a row without its column
		execute 'select array_agg(column_to_column_name(logicalrelid, partkey)) from pg_dist_partition where partmethod <> ''n'' and logicalrelid = $1' into more using t;
	end if;
	parts := array(select p from unnest(parts || more) with ordinality as x(p, n) where p not in ('_oncesink_source', '_oncesink_offset') order by n);
	if not exists (
		select from pg_index i
		  join lateral (select array_agg(a.attname) as names, bool_or(a.attname = any (parts) and a.attname <> all (coalesce(more, '{}')) and not a.attnotnull) as open
		                  from unnest(i.indkey::int2[]) with ordinality as k(attnum, n) join pg_attribute a on a.attrelid = t and a.attnum = k.attnum
		                 where k.n <= i.indnkeyatts) has on true
		 where i.indrelid = t and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
		   and has.names @> array['_oncesink_source', '_oncesink_offset']::name[] and has.names <@ (array['_oncesink_source', '_oncesink_offset']::name[] || parts)
		   and (not has.open or coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false))
	) then
		execute format('create unique index %I on %s (_oncesink_source, _oncesink_offset%s)%s', 'plain_log_oncesink_key', t,
		               (select string_agg(', ' || quote_ident(p), '' order by n) from unnest(parts) with ordinality as x(p, n)),
		               case when open then ' nulls not distinct' end);
	end if;
end $init$;
grant select, insert on "public"."plain_log" to "nobody";

-- public.bare
do $init$ begin if to_regclass('"public"."bare"') is null then execute 'create table bare (id int primary key)'; end if; end $init$;
grant select, insert, update, delete on "public"."bare" to "nobody";

-- public.upserted
do $init$ begin if to_regclass('"public"."upserted"') is null then execute 'create table upserted (id int primary key)'; end if; end $init$;
alter table "public"."upserted" add column if not exists _oncesink_source integer, add column if not exists _oncesink_offset bigint;
grant select, insert, update on "public"."upserted" to "nobody";

commit;
