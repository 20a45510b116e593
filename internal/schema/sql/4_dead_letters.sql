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
