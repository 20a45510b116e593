-- The ledger of oncesink. Run it in the database of the target tables, as a role that may
-- create a schema, or that owns this one: psql -v ON_ERROR_STOP=1 -f THIS. It can be run again.

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

-- ledger, version 1
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'ledger' and version >= 1) then
execute $migration$
-- One row per partition that a sink group reads. No index but the primary key:
-- every update must stay HOT, so no indexed column ever changes.
create table oncesink.offsets (
    sink_group     text    collate "C" not null,
    topic          text    collate "C" not null,
    partition      int     not null,
    next_offset    bigint  not null check (next_offset >= 0),
    first_offset   bigint  not null,               -- the lowest position it ever had
    leader_epoch   int     not null default -1,    -- of the last applied record
    topic_id       uuid,                           -- the broker's
    cluster_id     text,
    generation     int     not null default 0,     -- how often the topic was recreated and adopted
    source         int,                            -- see oncesink.sources
    fence          uuid    not null default gen_random_uuid(),
    fence_count    bigint  not null default 0,     -- for people; the fence is the random token
    claim          uuid,
    owner          text,                           -- host, pid, instance
    instance       text,
    paused         boolean not null default false,
    halted         text,
    replay_refused text,
    last_timestamp timestamptz,                    -- of the last applied record
    moved_at       timestamptz,
    primary key (sink_group, topic, partition)
) with (fillfactor = 50);

-- What the guard columns of target tables call a source: generation << 20 | serial.
create table oncesink.sources (
    source     int  primary key,
    topic      text collate "C" not null,
    topic_id   uuid not null,
    partition  int  not null,
    generation int  not null check (generation between 0 and 2047),
    unique (topic, topic_id, partition, generation)
);
create sequence oncesink.source_serial as int minvalue 0 maxvalue 1048575;

-- Which table is fed from which partition, with which mapping, since which position.
create table oncesink.mappings (
    sink_group  text   collate "C" not null,
    topic       text   collate "C" not null,
    partition   int    not null,
    target      text   collate "C" not null,
    fingerprint text   not null,
    since       bigint not null,
    primary key (sink_group, topic, partition, target)
);

create view oncesink.status as
select sink_group, topic, partition, next_offset, owner, paused, halted, last_timestamp, moved_at
  from oncesink.offsets
 order by sink_group, topic, partition;

-- Makes the running transaction's commit durable, whatever the session chose.
-- It sets the value for the transaction: a SET clause on the function would be
-- undone at the function's end, before the commit.
create function oncesink.durable() returns void
language plpgsql as $$
begin
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
end $$;

-- The number of a source, drawn at first sight.
create function oncesink.source_of(topic_name text, id uuid, partition_number int, topic_generation int) returns int
language plpgsql as $$
declare
    number int;
begin
    for attempt in 1..2 loop
        select s.source into number from oncesink.sources s
         where s.topic = topic_name and s.topic_id = id
           and s.partition = partition_number and s.generation = topic_generation;
        if number is null then
            insert into oncesink.sources (source, topic, topic_id, partition, generation)
            values (topic_generation << 20 | nextval('oncesink.source_serial')::int,
                    topic_name, id, partition_number, topic_generation)
            on conflict (topic, topic_id, partition, generation) do nothing
            returning source into number;
        end if;
        exit when number is not null;
    end loop;
    return number;
end $$;

-- The generation, at least this one, that a topic of this name and id has: the
-- one it is known under, else one above all that were seen of that name.
create function oncesink.generation_of(topic_name text, id uuid, least_generation int) returns int
language sql stable as $$
    select coalesce(
        (select max(s.generation) from oncesink.sources s
          where s.topic = topic_name and s.topic_id = coalesce(id, s.topic_id) and s.generation >= least_generation),
        (select greatest(max(s.generation) + 1, least_generation) from oncesink.sources s
          where s.topic = topic_name),
        least_generation)
$$;

-- Moves each partition from exactly the expected position, under exactly the
-- given fence, or raises OS001 with the others as JSON in DETAIL. The statement
-- raises, so whatever was sent after it in the same pipeline does not run.
create function oncesink.advance(
    group_name text, topics text[], partitions int[], fences uuid[], expected bigint[],
    targets bigint[], epochs int[], timestamps timestamptz[]
) returns void
language plpgsql set lock_timeout = '3s' as $$
declare
    lost jsonb;
begin
    -- One lock order for every writer of the ledger. The update below is a new
    -- statement with a new snapshot: it sees what the lock waited for.
    perform from oncesink.offsets o
       join unnest(topics, partitions) s(topic, partition) on o.topic = s.topic and o.partition = s.partition
      where o.sink_group = group_name
      order by o.topic, o.partition
        for update of o;

    with step as (
        select * from unnest(topics, partitions, fences, expected, targets, epochs, timestamps)
            s(topic, partition, fence, expected, target, epoch, at)
    ), moved as (
        update oncesink.offsets o
           set next_offset = step.target, leader_epoch = step.epoch,
               last_timestamp = coalesce(step.at, o.last_timestamp), moved_at = clock_timestamp()
          from step
         where o.sink_group = group_name and o.topic = step.topic and o.partition = step.partition
           and o.fence = step.fence and o.next_offset = step.expected
           and step.target > step.expected
     returning o.topic, o.partition
    )
    select jsonb_agg(jsonb_build_object('topic', step.topic, 'partition', step.partition) order by step.topic, step.partition)
      into lost
      from step
     where not exists (select from moved where moved.topic = step.topic and moved.partition = step.partition);

    if lost is not null then
        raise exception using errcode = 'OS001', detail = lost::text,
            message = 'oncesink: fenced: the partitions in DETAIL do not stand where the transaction expects them';
    end if;
end $$;

-- Inserts the rows that are missing and have a start.
create function oncesink.first_positions(
    group_name text, cluster text, topics text[], partitions int[], topic_ids uuid[], starts bigint[], epochs int[]
) returns void
language plpgsql set lock_timeout = '3s' as $$
begin
    perform oncesink.durable();
    insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset, leader_epoch, topic_id, cluster_id, generation)
    select group_name, w.topic, w.partition, w.start, w.start, w.epoch, w.id, nullif(cluster, ''), oncesink.generation_of(w.topic, w.id, 0)
      from unnest(topics, partitions, topic_ids, starts, epochs) w(topic, partition, id, start, epoch)
     where w.start is not null
       and not exists (select from oncesink.offsets o
                        where o.sink_group = group_name and o.topic = w.topic and o.partition = w.partition)
     order by w.topic, w.partition
        on conflict do nothing;
end $$;

-- Takes the partitions, in one transaction. wait_ms = 0 leaves out ("held") the
-- rows that are locked; otherwise they are waited for, each that long.
create function oncesink.claim(
    group_name text, cluster text, owner_name text, instance_name text, refuse_replay text,
    topics text[], partitions int[], topic_ids uuid[], starts bigint[], epochs int[],
    map_topics text[], map_targets text[], map_fingerprints text[], wait_ms int
) returns table (
    topic text, partition int, outcome text, detail text,
    next_offset bigint, leader_epoch int, last_timestamp timestamptz,
    claim uuid, fence uuid, topic_id uuid, generation int, source int, paused boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
    locked oncesink.offsets[];
    r      record;
    m      record;
begin
    perform oncesink.durable();
    perform set_config('lock_timeout', greatest(wait_ms, 1000)::text, true);

    -- Somebody's uncommitted insert of the same row makes this wait; after the
    -- timeout, what is missing counts as held.
    begin
        perform oncesink.first_positions(group_name, cluster, topics, partitions, topic_ids, starts, epochs);
    exception when lock_not_available then
        null;
    end;

    execute 'select array(
        select o from oncesink.offsets o
          join unnest($2, $3) w(topic, partition) on o.topic = w.topic and o.partition = w.partition
         where o.sink_group = $1
         order by o.topic, o.partition
           for update of o ' || case when wait_ms = 0 then 'skip locked' else '' end || ')'
       into locked using group_name, topics, partitions;

    for r in
        select o.*, w.id
          from unnest(locked) o
          join unnest(topics, partitions, topic_ids) w(topic, partition, id) on o.topic = w.topic and o.partition = w.partition
         order by o.topic, o.partition
    loop
        topic := r.topic; partition := r.partition; detail := null;
        next_offset := r.next_offset; leader_epoch := r.leader_epoch; last_timestamp := r.last_timestamp;
        claim := null; fence := null; topic_id := r.topic_id; generation := r.generation; source := r.source; paused := r.paused;

        if r.cluster_id <> nullif(cluster, '') then
            outcome := 'cluster'; detail := r.cluster_id;
            return next; continue;
        end if;
        if r.topic_id <> r.id then
            outcome := 'topic';
            return next; continue;
        end if;
        -- A table that this configuration writes otherwise, or not at all. One
        -- that only the configuration has is new: fed from here on.
        select f.target, c.fingerprint is null as dropped into m
          from oncesink.mappings f
          left join unnest(map_topics, map_targets, map_fingerprints) c(topic, target, fingerprint)
            on c.topic = f.topic and c.target = f.target
         where f.sink_group = group_name and f.topic = r.topic and f.partition = r.partition
           and c.fingerprint is distinct from f.fingerprint
         order by f.target limit 1;
        if found then
            outcome := case when m.dropped then 'dropped' else 'mapping' end; detail := m.target;
            return next; continue;
        end if;
        insert into oncesink.mappings (sink_group, topic, partition, target, fingerprint, since)
        select group_name, r.topic, r.partition, c.target, c.fingerprint, r.next_offset
          from unnest(map_topics, map_targets, map_fingerprints) c(topic, target, fingerprint)
         where c.topic = r.topic
            on conflict do nothing;

        outcome := 'claimed';
        update oncesink.offsets o
           set claim = gen_random_uuid(), fence = gen_random_uuid(), fence_count = o.fence_count + 1,
               owner = owner_name, instance = instance_name, halted = null, replay_refused = nullif(refuse_replay, ''),
               cluster_id = coalesce(nullif(cluster, ''), o.cluster_id), topic_id = coalesce(o.topic_id, r.id),
               source = oncesink.source_of(o.topic, coalesce(o.topic_id, r.id, '00000000-0000-0000-0000-000000000000'),
                                           o.partition, o.generation)
         where o.sink_group = group_name and o.topic = r.topic and o.partition = r.partition
     returning o.claim, o.fence, o.topic_id, o.source into claim, fence, topic_id, source;
        return next;
    end loop;

    -- The rest: locked by somebody (their last committed position), or not there.
    return query
        select w.topic, w.partition,
               case when o.topic is null and w.start is null then 'missing' else 'held' end, null::text,
               coalesce(o.next_offset, w.start, 0), coalesce(o.leader_epoch, w.epoch, -1), o.last_timestamp,
               null::uuid, null::uuid, o.topic_id, coalesce(o.generation, 0), coalesce(o.source, 0), coalesce(o.paused, false)
          from unnest(topics, partitions, starts, epochs) w(topic, partition, start, epoch)
          left join oncesink.offsets o on o.sink_group = group_name and o.topic = w.topic and o.partition = w.partition
         where not exists (select from unnest(locked) l where l.topic = w.topic and l.partition = w.partition);
end $$;

-- Locks the rows, which waits until a transaction in doubt is gone, and draws
-- new fences where a row still names the claim. was_fence is the fence before.
create function oncesink.resolve(group_name text, topics text[], partitions int[], claims uuid[], wait_ms int)
returns table (
    topic text, partition int, ours boolean, was_fence uuid, fence uuid,
    next_offset bigint, leader_epoch int, last_timestamp timestamptz,
    topic_id uuid, generation int, source int, paused boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
    locked oncesink.offsets[];
begin
    perform oncesink.durable();
    perform set_config('lock_timeout', greatest(wait_ms, 1)::text, true);
    locked := array(
        select o from oncesink.offsets o
          join unnest(topics, partitions) s(topic, partition) on o.topic = s.topic and o.partition = s.partition
         where o.sink_group = group_name
         order by o.topic, o.partition
           for update of o);
    update oncesink.offsets o
       set fence = gen_random_uuid(), fence_count = o.fence_count + 1
      from unnest(topics, partitions, claims) s(topic, partition, claim)
     where o.sink_group = group_name and o.topic = s.topic and o.partition = s.partition and o.claim = s.claim;
    return query
        select o.topic, o.partition, coalesce(o.claim = s.claim, false), l.fence, o.fence,
               o.next_offset, o.leader_epoch, o.last_timestamp, o.topic_id, o.generation, o.source, o.paused
          from unnest(locked) l
          join unnest(topics, partitions, claims) s(topic, partition, claim) on s.topic = l.topic and s.partition = l.partition
          join oncesink.offsets o on o.sink_group = group_name and o.topic = l.topic and o.partition = l.partition
         order by o.topic, o.partition;
end $$;

-- Says why the owner stopped the partition, if the row still names its claim.
create function oncesink.halt(group_name text, topic_name text, partition_number int, claim_id uuid, reason text) returns void
language sql set lock_timeout = '3s' as $$
    update oncesink.offsets o set halted = nullif(reason, '')
     where o.sink_group = group_name and o.topic = topic_name and o.partition = partition_number and o.claim = claim_id
$$;

-- The rows of a topic (of one partition, or of all: null), locked in order; the
-- operator commands below begin with it. The commit will be durable.
create function oncesink.lock_rows(group_name text, topic_name text, partition_number int) returns setof oncesink.offsets
language plpgsql set lock_timeout = '3s' as $$
begin
    perform oncesink.durable();
    begin
        return query
            select * from oncesink.offsets o
             where o.sink_group = group_name and o.topic = topic_name
               and o.partition = coalesce(partition_number, o.partition)
             order by o.topic, o.partition
               for update;
    exception when lock_not_available then
        raise exception using errcode = 'lock_not_available',
            message = format('oncesink: a row of group %s, topic %s is locked by another session', group_name, topic_name),
            hint = 'Run it again. If it stays locked, look for the holder: select pid, application_name, state, xact_start'
                || ' from pg_stat_activity where xact_start < now() - interval ''3 s'';'
                || ' a session named oncesink that is stuck may be ended with pg_terminate_backend(pid).';
    end;
    if found then
        return;
    end if;
    raise exception using errcode = 'no_data_found', message =
        case when not exists (select from oncesink.offsets o where o.sink_group = group_name)
             then format('oncesink: there is no group %s', group_name)
             when not exists (select from oncesink.offsets o where o.sink_group = group_name and o.topic = topic_name)
             then format('oncesink: group %s has no topic %s', group_name, topic_name)
             else format('oncesink: group %s has no partition %s/%s', group_name, topic_name, partition_number) end,
        hint = 'select * from oncesink.status';
end $$;

-- rewind: read again from an earlier offset. partition null: all of the topic.
create function oncesink.rewind(group_name text, topic_name text, partition_number int, to_offset bigint) returns setof text
language plpgsql as $$
declare
    r oncesink.offsets;
begin
    if to_offset is null or to_offset < 0 then
        raise exception using errcode = 'invalid_parameter_value', message = 'oncesink: rewind needs an offset, 0 or more';
    end if;
    for r in select * from oncesink.lock_rows(group_name, topic_name, partition_number) loop
        if r.replay_refused is not null then
            raise exception using errcode = 'object_not_in_prerequisite_state',
                message = format('oncesink: group %s must not be rewound: %s', r.sink_group, r.replay_refused);
        end if;
        if to_offset > r.next_offset then
            raise exception using errcode = 'invalid_parameter_value',
                message = format('oncesink: %s/%s stands at %s: a rewind never moves forward', r.topic, r.partition, r.next_offset),
                hint = format('To skip records on purpose: select oncesink.accept_gap(%L, %L, %s, %s)',
                              r.sink_group, r.topic, r.partition, to_offset);
        end if;
        update oncesink.offsets o
           set next_offset = to_offset, first_offset = least(o.first_offset, to_offset), leader_epoch = -1, last_timestamp = null,
               moved_at = clock_timestamp(), fence = gen_random_uuid(), fence_count = o.fence_count + 1
         where o.sink_group = r.sink_group and o.topic = r.topic and o.partition = r.partition;
        update oncesink.mappings m set since = to_offset
         where m.sink_group = r.sink_group and m.topic = r.topic and m.partition = r.partition and m.since > to_offset;
        return next format('%s/%s: %s -> %s', r.topic, r.partition, r.next_offset, to_offset);
    end loop;
end $$;

-- accept_gap: go on at a later offset; what lies between is never applied.
create function oncesink.accept_gap(group_name text, topic_name text, partition_number int, to_offset bigint) returns text
language plpgsql as $$
declare
    r oncesink.offsets;
begin
    if partition_number is null or to_offset is null then
        raise exception using errcode = 'invalid_parameter_value', message = 'oncesink: accept_gap needs a partition and an offset';
    end if;
    select * into r from oncesink.lock_rows(group_name, topic_name, partition_number);
    if to_offset <= r.next_offset then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('oncesink: %s/%s stands at %s: accept_gap only moves forward', r.topic, r.partition, r.next_offset),
            hint = format('To read records again: select oncesink.rewind(%L, %L, %s, %s)',
                          r.sink_group, r.topic, r.partition, to_offset);
    end if;
    update oncesink.offsets o
       set next_offset = to_offset, leader_epoch = -1,
           moved_at = clock_timestamp(), fence = gen_random_uuid(), fence_count = o.fence_count + 1
     where o.sink_group = r.sink_group and o.topic = r.topic and o.partition = r.partition;
    return format('%s/%s: skipped offsets %s to %s, %s in all: they are never applied',
                  r.topic, r.partition, r.next_offset, to_offset - 1, to_offset - r.next_offset);
end $$;

-- pause, resume: the owner stops reading, or goes on, within about a second.
create function oncesink.set_paused(group_name text, topic_name text, partition_number int, value boolean) returns setof text
language plpgsql as $$
declare
    r oncesink.offsets;
begin
    for r in select * from oncesink.lock_rows(group_name, topic_name, partition_number) loop
        update oncesink.offsets o
           set paused = value, fence = gen_random_uuid(), fence_count = o.fence_count + 1
         where o.sink_group = r.sink_group and o.topic = r.topic and o.partition = r.partition;
        return next format('%s/%s: %s at %s', r.topic, r.partition, case when value then 'paused' else 'resumed' end, r.next_offset);
    end loop;
end $$;

create function oncesink.pause(group_name text, topic_name text, partition_number int default null) returns setof text
language sql as $$ select oncesink.set_paused(group_name, topic_name, partition_number, true) $$;

create function oncesink.resume(group_name text, topic_name text, partition_number int default null) returns setof text
language sql as $$ select oncesink.set_paused(group_name, topic_name, partition_number, false) $$;

-- adopt: the topic was recreated; count the new one's events from its beginning,
-- a generation above the old one's.
create function oncesink.adopt(group_name text, topic_name text, new_topic_id uuid) returns setof text
language plpgsql as $$
declare
    locked oncesink.offsets[];
    r      oncesink.offsets;
    above  int;
begin
    if new_topic_id is null then
        raise exception using errcode = 'invalid_parameter_value', message = 'oncesink: adopt needs the id of the new topic';
    end if;
    locked := array(select l from oncesink.lock_rows(group_name, topic_name, null) l
                     where l.topic_id is distinct from new_topic_id order by l.partition);
    if cardinality(locked) = 0 then
        raise exception using errcode = 'object_not_in_prerequisite_state',
            message = format('oncesink: group %s has topic %s with the id %s already', group_name, topic_name, new_topic_id);
    end if;
    select oncesink.generation_of(topic_name, new_topic_id, max(l.generation) + 1) into above from unnest(locked) l;
    foreach r in array locked loop
        update oncesink.offsets o
           set topic_id = new_topic_id, cluster_id = null, generation = above,
               source = oncesink.source_of(r.topic, new_topic_id, r.partition, above),
               next_offset = 0, first_offset = 0, leader_epoch = -1, last_timestamp = null, moved_at = clock_timestamp(),
               fence = gen_random_uuid(), fence_count = o.fence_count + 1
         where o.sink_group = r.sink_group and o.topic = r.topic and o.partition = r.partition;
        update oncesink.mappings m set since = 0
         where m.sink_group = r.sink_group and m.topic = r.topic and m.partition = r.partition;
        return next format('%s/%s: generation %s at %s -> generation %s at 0', r.topic, r.partition, r.generation, r.next_offset, above);
    end loop;
end $$;

-- accept_mappings: these are the group's mappings from here on.
create function oncesink.accept_mappings(group_name text, topics text[], targets text[], fingerprints text[]) returns void
language plpgsql set lock_timeout = '3s' as $$
begin
    perform oncesink.durable();
    perform from oncesink.offsets o where o.sink_group = group_name order by o.topic, o.partition for update;
    delete from oncesink.mappings m
     where m.sink_group = group_name
       and not exists (select from unnest(topics, targets) c(topic, target) where c.topic = m.topic and c.target = m.target);
    insert into oncesink.mappings (sink_group, topic, partition, target, fingerprint, since)
    select group_name, o.topic, o.partition, c.target, c.fingerprint, o.next_offset
      from oncesink.offsets o
      join unnest(topics, targets, fingerprints) c(topic, target, fingerprint) on c.topic = o.topic
     where o.sink_group = group_name
        on conflict (sink_group, topic, partition, target) do update set fingerprint = excluded.fingerprint;
    update oncesink.offsets o set fence = gen_random_uuid(), fence_count = o.fence_count + 1 where o.sink_group = group_name;
end $$;
$migration$;
insert into oncesink.schema_version (component, version) values ('ledger', 1)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- ledger, version 2
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'ledger' and version >= 2) then
execute $migration$
-- What an owner fails at, again and again, while it goes on trying: for people. The
-- next advance, claim or command clears it, in the update that it makes anyway.
-- No index has it, so updates stay HOT.
alter table oncesink.offsets add column stuck text;

create or replace view oncesink.status as
select sink_group, topic, partition, next_offset, owner, paused, halted, last_timestamp, moved_at, stuck
  from oncesink.offsets
 order by sink_group, topic, partition;

-- Notes it for the rows that are still under the fences given. It waits for nobody:
-- a row that is locked is being moved, and a standby need not hear of it.
create function oncesink.note_stuck(group_name text, topics text[], partitions int[], fences uuid[], reason text) returns void
language plpgsql set lock_timeout = '500ms' as $$
begin
    perform set_config('synchronous_commit', 'off', true);
    with mine as (
        select o.topic, o.partition from oncesink.offsets o
          join unnest(topics, partitions, fences) s(topic, partition, fence) on o.topic = s.topic and o.partition = s.partition
         where o.sink_group = group_name and o.fence = s.fence and o.stuck is distinct from nullif(left(reason, 1000), '')
         order by o.topic, o.partition
           for update of o skip locked
    )
    update oncesink.offsets o set stuck = nullif(left(reason, 1000), '')
      from mine
     where o.sink_group = group_name and o.topic = mine.topic and o.partition = mine.partition;
end $$;

-- Says why the partition was stopped, if the row still names the claim: null for a
-- row that nobody has claimed yet.
create or replace function oncesink.halt(group_name text, topic_name text, partition_number int, claim_id uuid, reason text) returns void
language sql set lock_timeout = '3s' as $$
    update oncesink.offsets o set halted = nullif(reason, ''), stuck = null
     where o.sink_group = group_name and o.topic = topic_name and o.partition = partition_number
       and o.claim is not distinct from claim_id
$$;

-- As in version 1, but that it clears stuck.
create or replace function oncesink.advance(
    group_name text, topics text[], partitions int[], fences uuid[], expected bigint[],
    targets bigint[], epochs int[], timestamps timestamptz[]
) returns void
language plpgsql set lock_timeout = '3s' as $$
declare
    lost jsonb;
begin
    -- One lock order for every writer of the ledger. The update below is a new
    -- statement with a new snapshot: it sees what the lock waited for.
    perform from oncesink.offsets o
       join unnest(topics, partitions) s(topic, partition) on o.topic = s.topic and o.partition = s.partition
      where o.sink_group = group_name
      order by o.topic, o.partition
        for update of o;

    with step as (
        select * from unnest(topics, partitions, fences, expected, targets, epochs, timestamps)
            s(topic, partition, fence, expected, target, epoch, at)
    ), moved as (
        update oncesink.offsets o
           set next_offset = step.target, leader_epoch = step.epoch,
               last_timestamp = coalesce(step.at, o.last_timestamp), moved_at = clock_timestamp(), stuck = null
          from step
         where o.sink_group = group_name and o.topic = step.topic and o.partition = step.partition
           and o.fence = step.fence and o.next_offset = step.expected
           and step.target > step.expected
     returning o.topic, o.partition
    )
    select jsonb_agg(jsonb_build_object('topic', step.topic, 'partition', step.partition) order by step.topic, step.partition)
      into lost
      from step
     where not exists (select from moved where moved.topic = step.topic and moved.partition = step.partition);

    if lost is not null then
        raise exception using errcode = 'OS001', detail = lost::text,
            message = 'oncesink: fenced: the partitions in DETAIL do not stand where the transaction expects them';
    end if;
end $$;

-- As in version 1, but that it clears stuck.
create or replace function oncesink.claim(
    group_name text, cluster text, owner_name text, instance_name text, refuse_replay text,
    topics text[], partitions int[], topic_ids uuid[], starts bigint[], epochs int[],
    map_topics text[], map_targets text[], map_fingerprints text[], wait_ms int
) returns table (
    topic text, partition int, outcome text, detail text,
    next_offset bigint, leader_epoch int, last_timestamp timestamptz,
    claim uuid, fence uuid, topic_id uuid, generation int, source int, paused boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
    locked oncesink.offsets[];
    r      record;
    m      record;
begin
    perform oncesink.durable();
    perform set_config('lock_timeout', greatest(wait_ms, 1000)::text, true);

    -- Somebody's uncommitted insert of the same row makes this wait; after the
    -- timeout, what is missing counts as held.
    begin
        perform oncesink.first_positions(group_name, cluster, topics, partitions, topic_ids, starts, epochs);
    exception when lock_not_available then
        null;
    end;

    execute 'select array(
        select o from oncesink.offsets o
          join unnest($2, $3) w(topic, partition) on o.topic = w.topic and o.partition = w.partition
         where o.sink_group = $1
         order by o.topic, o.partition
           for update of o ' || case when wait_ms = 0 then 'skip locked' else '' end || ')'
       into locked using group_name, topics, partitions;

    for r in
        select o.*, w.id
          from unnest(locked) o
          join unnest(topics, partitions, topic_ids) w(topic, partition, id) on o.topic = w.topic and o.partition = w.partition
         order by o.topic, o.partition
    loop
        topic := r.topic; partition := r.partition; detail := null;
        next_offset := r.next_offset; leader_epoch := r.leader_epoch; last_timestamp := r.last_timestamp;
        claim := null; fence := null; topic_id := r.topic_id; generation := r.generation; source := r.source; paused := r.paused;

        if r.cluster_id <> nullif(cluster, '') then
            outcome := 'cluster'; detail := r.cluster_id;
            return next; continue;
        end if;
        if r.topic_id <> r.id then
            outcome := 'topic';
            return next; continue;
        end if;
        -- A table that this configuration writes otherwise, or not at all. One
        -- that only the configuration has is new: fed from here on.
        select f.target, c.fingerprint is null as dropped into m
          from oncesink.mappings f
          left join unnest(map_topics, map_targets, map_fingerprints) c(topic, target, fingerprint)
            on c.topic = f.topic and c.target = f.target
         where f.sink_group = group_name and f.topic = r.topic and f.partition = r.partition
           and c.fingerprint is distinct from f.fingerprint
         order by f.target limit 1;
        if found then
            outcome := case when m.dropped then 'dropped' else 'mapping' end; detail := m.target;
            return next; continue;
        end if;
        insert into oncesink.mappings (sink_group, topic, partition, target, fingerprint, since)
        select group_name, r.topic, r.partition, c.target, c.fingerprint, r.next_offset
          from unnest(map_topics, map_targets, map_fingerprints) c(topic, target, fingerprint)
         where c.topic = r.topic
            on conflict do nothing;

        outcome := 'claimed';
        update oncesink.offsets o
           set claim = gen_random_uuid(), fence = gen_random_uuid(), fence_count = o.fence_count + 1,
               owner = owner_name, instance = instance_name, halted = null, stuck = null, replay_refused = nullif(refuse_replay, ''),
               cluster_id = coalesce(nullif(cluster, ''), o.cluster_id), topic_id = coalesce(o.topic_id, r.id),
               source = oncesink.source_of(o.topic, coalesce(o.topic_id, r.id, '00000000-0000-0000-0000-000000000000'),
                                           o.partition, o.generation)
         where o.sink_group = group_name and o.topic = r.topic and o.partition = r.partition
     returning o.claim, o.fence, o.topic_id, o.source into claim, fence, topic_id, source;
        return next;
    end loop;

    -- The rest: locked by somebody (their last committed position), or not there.
    return query
        select w.topic, w.partition,
               case when o.topic is null and w.start is null then 'missing' else 'held' end, null::text,
               coalesce(o.next_offset, w.start, 0), coalesce(o.leader_epoch, w.epoch, -1), o.last_timestamp,
               null::uuid, null::uuid, o.topic_id, coalesce(o.generation, 0), coalesce(o.source, 0), coalesce(o.paused, false)
          from unnest(topics, partitions, starts, epochs) w(topic, partition, start, epoch)
          left join oncesink.offsets o on o.sink_group = group_name and o.topic = w.topic and o.partition = w.partition
         where not exists (select from unnest(locked) l where l.topic = w.topic and l.partition = w.partition);
end $$;

-- As in version 1, but that it clears stuck.
create or replace function oncesink.lock_rows(group_name text, topic_name text, partition_number int) returns setof oncesink.offsets
language plpgsql set lock_timeout = '3s' as $$
begin
    perform oncesink.durable();
    begin
        perform from oncesink.offsets o
          where o.sink_group = group_name and o.topic = topic_name
            and o.partition = coalesce(partition_number, o.partition)
          order by o.topic, o.partition
            for update;
        -- What the owner was stuck at is history.
        update oncesink.offsets o set stuck = null
         where o.sink_group = group_name and o.topic = topic_name
           and o.partition = coalesce(partition_number, o.partition) and o.stuck is not null;
        return query
            select * from oncesink.offsets o
             where o.sink_group = group_name and o.topic = topic_name
               and o.partition = coalesce(partition_number, o.partition)
             order by o.topic, o.partition;
    exception when lock_not_available then
        raise exception using errcode = 'lock_not_available',
            message = format('oncesink: a row of group %s, topic %s is locked by another session', group_name, topic_name),
            hint = 'Run it again. If it stays locked, look for the holder: select pid, application_name, state, xact_start'
                || ' from pg_stat_activity where xact_start < now() - interval ''3 s'';'
                || ' a session named oncesink that is stuck may be ended with pg_terminate_backend(pid).';
    end;
    if found then
        return;
    end if;
    raise exception using errcode = 'no_data_found', message =
        case when not exists (select from oncesink.offsets o where o.sink_group = group_name)
             then format('oncesink: there is no group %s', group_name)
             when not exists (select from oncesink.offsets o where o.sink_group = group_name and o.topic = topic_name)
             then format('oncesink: group %s has no topic %s', group_name, topic_name)
             else format('oncesink: group %s has no partition %s/%s', group_name, topic_name, partition_number) end,
        hint = 'select * from oncesink.status';
end $$;
$migration$;
insert into oncesink.schema_version (component, version) values ('ledger', 2)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- ledger, version 3
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'ledger' and version >= 3) then
execute $migration$
-- Locks the rows and raises OS001 where one does not stand at the given position under
-- the given fence, as advance does, and moves nothing: for a transaction of the owner's that
-- writes records which the position has passed.
create function oncesink.hold(group_name text, topics text[], partitions int[], fences uuid[], expected bigint[]) returns void
language plpgsql set lock_timeout = '3s' as $$
declare
    lost jsonb;
begin
    perform from oncesink.offsets o
       join unnest(topics, partitions) s(topic, partition) on o.topic = s.topic and o.partition = s.partition
      where o.sink_group = group_name
      order by o.topic, o.partition
        for update of o;

    select jsonb_agg(jsonb_build_object('topic', step.topic, 'partition', step.partition) order by step.topic, step.partition)
      into lost
      from unnest(topics, partitions, fences, expected) step(topic, partition, fence, expected)
     where not exists (select from oncesink.offsets o
                        where o.sink_group = group_name and o.topic = step.topic and o.partition = step.partition
                          and o.fence = step.fence and o.next_offset = step.expected);

    if lost is not null then
        raise exception using errcode = 'OS001', detail = lost::text,
            message = 'oncesink: fenced: the partitions in DETAIL do not stand where the transaction expects them';
    end if;
end $$;

-- How many dead letters there were lately, so that a restart forgets nothing. Only a transaction with
-- letters touches these; no index has them.
alter table oncesink.offsets
    add column letters      double precision not null default 0, -- among the offsets from letters_from to letters_to
    add column letters_from bigint not null default 0,           -- where the window begins
    add column letters_to   bigint not null default 0,           -- the position after the last transaction with letters
    add column letters_run  bigint not null default 0,           -- records in a row, up to letters_to, that are letters
    add column letters_free bigint not null default 0;           -- below it they are not counted

-- Counts the letters of a transaction, whose positions went from firsts to nexts, and raises OS002 with the partitions in
-- DETAIL where they are too many: more than max_ratio of the window, which is the last window_size
-- offsets, or all there were, but at least a tenth of that; or more than max_run records in a row (below 0: any
-- number). Of the records of each step so many are letters, so many at its beginning and at its end, and so many in a
-- row at most. Where the window moves on, the letters in what it leaves behind are taken to lie evenly. Trial: only look.
create function oncesink.count_dead_letters(
    group_name text, topics text[], partitions int[], firsts bigint[], nexts bigint[],
    records bigint[], letters bigint[], at_start bigint[], at_end bigint[], in_row bigint[],
    max_ratio double precision, window_size bigint, max_run bigint, trial boolean
) returns void
language plpgsql set lock_timeout = '3s' as $$
#variable_conflict use_column
declare
    s      record;
    r      oncesink.offsets;
    start  bigint;
    before bigint;
    old    double precision;
    n      double precision;
    run    bigint;
    most   bigint;
    over   jsonb := '[]';
begin
    for s in
        select * from unnest(topics, partitions, firsts, nexts, records, letters, at_start, at_end, in_row)
            x(topic, partition, first_at, next_at, records, letters, at_start, at_end, in_row)
         order by x.topic, x.partition
    loop
        select * into r from oncesink.offsets o
         where o.sink_group = group_name and o.topic = s.topic and o.partition = s.partition for update;
        continue when not found or s.first_at < r.letters_free;
        start := greatest(r.letters_from, r.first_offset);
        old := 0; before := 0; run := 0;
        if s.first_at < r.letters_to then -- it was rewound
            start := s.first_at;
        elsif r.letters_to > start then
            old := r.letters / (r.letters_to - start);
            run := case when s.first_at = r.letters_to then r.letters_run else 0 end;
        end if;
        before := greatest(start, s.next_at - greatest(window_size, s.next_at - s.first_at));
        n := old * greatest(0, r.letters_to - before) + s.letters;
        most := greatest(s.in_row, run + s.at_start);
        if n > max_ratio * greatest(s.next_at - before, window_size / 10) then
            over := over || jsonb_build_object('topic', s.topic, 'partition', s.partition, 'rule', 'ratio', 'letters', round(n), 'of', s.next_at - before);
        elsif max_run >= 0 and most > max_run then
            over := over || jsonb_build_object('topic', s.topic, 'partition', s.partition, 'rule', 'run', 'letters', most, 'of', most);
        elsif not trial then
            update oncesink.offsets o
               set letters = n, letters_from = before, letters_to = s.next_at,
                   letters_run = case when s.at_end = s.records then run else 0 end + s.at_end
             where o.sink_group = group_name and o.topic = s.topic and o.partition = s.partition;
        end if;
    end loop;
    if over <> '[]' then
        raise exception using errcode = 'OS002', detail = over::text,
            message = 'oncesink: too many dead letters from the partitions in DETAIL';
    end if;
end $$;

-- accept_dead_letters: go on, although too many records can't be written: below that offset they are dead
-- letters, however many.
create function oncesink.accept_dead_letters(group_name text, topic_name text, partition_number int, below_offset bigint) returns text
language plpgsql as $$
declare
    r oncesink.offsets;
begin
    if partition_number is null or below_offset is null then
        raise exception using errcode = 'invalid_parameter_value', message = 'oncesink: accept_dead_letters needs a partition and an offset';
    end if;
    select * into r from oncesink.lock_rows(group_name, topic_name, partition_number);
    if below_offset <= r.next_offset then
        raise exception using errcode = 'invalid_parameter_value',
            message = format('oncesink: %s/%s stands at %s: what lies below is read already', r.topic, r.partition, r.next_offset);
    end if;
    update oncesink.offsets o
       set letters = 0, letters_from = r.next_offset, letters_to = r.next_offset, letters_run = 0, letters_free = below_offset,
           fence = gen_random_uuid(), fence_count = o.fence_count + 1
     where o.sink_group = r.sink_group and o.topic = r.topic and o.partition = r.partition;
    return format('%s/%s: what can''t be written from offset %s to %s becomes dead letters, however many',
                  r.topic, r.partition, r.next_offset, below_offset - 1);
end $$;

-- As in version 1, but that the new topic has had no letters.
create or replace function oncesink.adopt(group_name text, topic_name text, new_topic_id uuid) returns setof text
language plpgsql as $$
declare
    locked oncesink.offsets[];
    r      oncesink.offsets;
    above  int;
begin
    if new_topic_id is null then
        raise exception using errcode = 'invalid_parameter_value', message = 'oncesink: adopt needs the id of the new topic';
    end if;
    locked := array(select l from oncesink.lock_rows(group_name, topic_name, null) l
                     where l.topic_id is distinct from new_topic_id order by l.partition);
    if cardinality(locked) = 0 then
        raise exception using errcode = 'object_not_in_prerequisite_state',
            message = format('oncesink: group %s has topic %s with the id %s already', group_name, topic_name, new_topic_id);
    end if;
    select oncesink.generation_of(topic_name, new_topic_id, max(l.generation) + 1) into above from unnest(locked) l;
    foreach r in array locked loop
        update oncesink.offsets o
           set topic_id = new_topic_id, cluster_id = null, generation = above,
               source = oncesink.source_of(r.topic, new_topic_id, r.partition, above),
               next_offset = 0, first_offset = 0, letters = 0, letters_from = 0, letters_to = 0, letters_run = 0, letters_free = 0, leader_epoch = -1, last_timestamp = null, moved_at = clock_timestamp(),
               fence = gen_random_uuid(), fence_count = o.fence_count + 1
         where o.sink_group = r.sink_group and o.topic = r.topic and o.partition = r.partition;
        update oncesink.mappings m set since = 0
         where m.sink_group = r.sink_group and m.topic = r.topic and m.partition = r.partition;
        return next format('%s/%s: generation %s at %s -> generation %s at 0', r.topic, r.partition, r.generation, r.next_offset, above);
    end loop;
end $$;
$migration$;
insert into oncesink.schema_version (component, version) values ('ledger', 3)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- ledger, version 4
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'ledger' and version >= 4) then
execute $migration$
-- What \df+ says of each function: which are for people, and which are the processes' own.
comment on function oncesink.accept_dead_letters is 'For operators: lets a partition that halted for too many dead letters go on, up to an offset.';
comment on function oncesink.accept_gap is 'For operators: goes on at a later offset. The records before it are never read; says which.';
comment on function oncesink.adopt is 'For operators: the topic was made anew; goes on with the one of this id, from its beginning.';
comment on function oncesink.pause is 'For operators: stops a partition, or all of a topic (partition null), until resume.';
comment on function oncesink.resume is 'For operators: lets paused or halted partitions go on. The position stays where it is.';
comment on function oncesink.rewind is 'For operators: moves a position back to an offset, so that records are read again. Partition null: all of the topic.';
comment on function oncesink.accept_mappings is 'Internal: `oncesink init --accept-mapping`.';
comment on function oncesink.advance is 'Internal: the fence: moves positions, in the transaction that writes the rows.';
comment on function oncesink.claim is 'Internal: draws a fence for partitions.';
comment on function oncesink.count_dead_letters is 'Internal: counts dead letters, and says when there are too many.';
comment on function oncesink.durable is 'Internal: has a transaction wait for the disk.';
comment on function oncesink.first_positions is 'Internal: stores where partitions begin.';
comment on function oncesink.generation_of is 'Internal: the generation of a topic by its id.';
comment on function oncesink.halt is 'Internal: notes why a partition stands still.';
comment on function oncesink.hold is 'Internal: locks rows that do not move.';
comment on function oncesink.lock_rows is 'Internal: locks rows, or says which topics there are.';
comment on function oncesink.note_stuck is 'Internal: notes what a partition is stuck at.';
comment on function oncesink.resolve is 'Internal: finds out what became of a commit.';
comment on function oncesink.set_paused is 'Internal: of pause and resume.';
comment on function oncesink.source_of is 'Internal: the number that rows have for a topic and partition.';
$migration$;
insert into oncesink.schema_version (component, version) values ('ledger', 4)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- ledger, version 5
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'ledger' and version >= 5) then
execute $migration$
-- What fingerprints stand for, so that a person can be told how two mappings differ.
create table oncesink.mapping_definitions (
    fingerprint text primary key,
    definition  jsonb not null
);

-- Mappings that may replace one another partition by partition, while processes of both run. The fingerprint '' is that
-- of a process that does not write the table.
create table oncesink.accepted_mappings (
    sink_group  text collate "C" not null,
    topic       text collate "C" not null,
    target      text collate "C" not null,
    older       text not null,
    newer       text not null,
    older_until timestamptz not null,    -- until then a partition may go back
    accepted_at timestamptz not null default now(),
    primary key (sink_group, topic, target, older)
);

-- Whoever may claim partitions needs them.
do $$
declare
    role name;
begin
    for role in
        select distinct r.rolname
          from pg_class c cross join aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
         where c.oid = 'oncesink.mappings'::regclass and a.privilege_type = 'INSERT' and a.grantee <> c.relowner
    loop
        execute format('grant select, insert on oncesink.mapping_definitions to %I', role);
        execute format('grant select on oncesink.accepted_mappings to %I', role);
    end loop;
end $$;

-- Where the mapping of a process is not the partition's: ours is the process's, '' if it does not write the table. A table that the
-- partition does not feed is none of them. beside: either may write it.
create function oncesink.unlike_mappings(
    group_name text, topic_name text, partition_number int, map_topics text[], map_targets text[], map_fingerprints text[]
) returns table (target text, ours text, beside boolean)
language sql stable as $$
    select f.target, coalesce(c.fingerprint, ''),
           exists (select from oncesink.accepted_mappings a
                    where a.sink_group = f.sink_group and a.topic = f.topic and a.target = f.target
                      and (a.older = f.fingerprint and a.newer = coalesce(c.fingerprint, '')
                           or a.newer = f.fingerprint and a.older = coalesce(c.fingerprint, '') and a.older_until > now()))
      from oncesink.mappings f
      left join unnest(map_topics, map_targets, map_fingerprints) c(topic, target, fingerprint)
        on c.topic = f.topic and c.target = f.target
     where f.sink_group = group_name and f.topic = topic_name and f.partition = partition_number
       and coalesce(c.fingerprint, '') <> f.fingerprint
$$;

-- As in version 2, but that it knows which mappings run side by side.
create or replace function oncesink.claim(
    group_name text, cluster text, owner_name text, instance_name text, refuse_replay text,
    topics text[], partitions int[], topic_ids uuid[], starts bigint[], epochs int[],
    map_topics text[], map_targets text[], map_fingerprints text[], wait_ms int
) returns table (
    topic text, partition int, outcome text, detail text,
    next_offset bigint, leader_epoch int, last_timestamp timestamptz,
    claim uuid, fence uuid, topic_id uuid, generation int, source int, paused boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
    locked oncesink.offsets[];
    r      record;
    m      record;
begin
    perform oncesink.durable();
    perform set_config('lock_timeout', greatest(wait_ms, 1000)::text, true);

    -- Somebody's uncommitted insert of the same row makes this wait; after the
    -- timeout, what is missing counts as held.
    begin
        perform oncesink.first_positions(group_name, cluster, topics, partitions, topic_ids, starts, epochs);
    exception when lock_not_available then
        null;
    end;

    execute 'select array(
        select o from oncesink.offsets o
          join unnest($2, $3) w(topic, partition) on o.topic = w.topic and o.partition = w.partition
         where o.sink_group = $1
         order by o.topic, o.partition
           for update of o ' || case when wait_ms = 0 then 'skip locked' else '' end || ')'
       into locked using group_name, topics, partitions;

    for r in
        select o.*, w.id
          from unnest(locked) o
          join unnest(topics, partitions, topic_ids) w(topic, partition, id) on o.topic = w.topic and o.partition = w.partition
         order by o.topic, o.partition
    loop
        topic := r.topic; partition := r.partition; detail := null;
        next_offset := r.next_offset; leader_epoch := r.leader_epoch; last_timestamp := r.last_timestamp;
        claim := null; fence := null; topic_id := r.topic_id; generation := r.generation; source := r.source; paused := r.paused;

        if r.cluster_id <> nullif(cluster, '') then
            outcome := 'cluster'; detail := r.cluster_id;
            return next; continue;
        end if;
        if r.topic_id <> r.id then
            outcome := 'topic';
            return next; continue;
        end if;
        -- A table that this configuration writes otherwise, or not at all. One
        -- that only the configuration has is new: fed from here on.
        select x.target, x.ours = '' as dropped into m
          from oncesink.unlike_mappings(group_name, r.topic, r.partition, map_topics, map_targets, map_fingerprints) x
         where not x.beside
         order by x.target limit 1;
        if found then
            outcome := case when m.dropped then 'dropped' else 'mapping' end; detail := m.target;
            return next; continue;
        end if;
        -- The other one of two that run side by side: it is the partition's from here on.
        if exists (select from oncesink.unlike_mappings(group_name, r.topic, r.partition, map_topics, map_targets, map_fingerprints)) then
            update oncesink.mappings f
               set fingerprint = x.ours, since = case when f.fingerprint = '' then r.next_offset else f.since end
              from oncesink.unlike_mappings(group_name, r.topic, r.partition, map_topics, map_targets, map_fingerprints) x
             where f.sink_group = group_name and f.topic = r.topic and f.partition = r.partition and f.target = x.target;
        end if;
        insert into oncesink.mappings (sink_group, topic, partition, target, fingerprint, since)
        select group_name, r.topic, r.partition, c.target, c.fingerprint, r.next_offset
          from unnest(map_topics, map_targets, map_fingerprints) c(topic, target, fingerprint)
         where c.topic = r.topic
            on conflict do nothing;

        outcome := 'claimed';
        update oncesink.offsets o
           set claim = gen_random_uuid(), fence = gen_random_uuid(), fence_count = o.fence_count + 1,
               owner = owner_name, instance = instance_name, halted = null, stuck = null, replay_refused = nullif(refuse_replay, ''),
               cluster_id = coalesce(nullif(cluster, ''), o.cluster_id), topic_id = coalesce(o.topic_id, r.id),
               source = oncesink.source_of(o.topic, coalesce(o.topic_id, r.id, '00000000-0000-0000-0000-000000000000'),
                                           o.partition, o.generation)
         where o.sink_group = group_name and o.topic = r.topic and o.partition = r.partition
     returning o.claim, o.fence, o.topic_id, o.source into claim, fence, topic_id, source;
        return next;
    end loop;

    -- The rest: locked by somebody (their last committed position), or not there.
    return query
        select w.topic, w.partition,
               case when o.topic is null and w.start is null then 'missing' else 'held' end, null::text,
               coalesce(o.next_offset, w.start, 0), coalesce(o.leader_epoch, w.epoch, -1), o.last_timestamp,
               null::uuid, null::uuid, o.topic_id, coalesce(o.generation, 0), coalesce(o.source, 0), coalesce(o.paused, false)
          from unnest(topics, partitions, starts, epochs) w(topic, partition, start, epoch)
          left join oncesink.offsets o on o.sink_group = group_name and o.topic = w.topic and o.partition = w.partition
         where not exists (select from unnest(locked) l where l.topic = w.topic and l.partition = w.partition);
end $$;

-- As in version 1, but that no others may run side by side from then on.
create or replace function oncesink.accept_mappings(group_name text, topics text[], targets text[], fingerprints text[]) returns void
language plpgsql set lock_timeout = '3s' as $$
begin
    perform oncesink.durable();
    perform from oncesink.offsets o where o.sink_group = group_name order by o.topic, o.partition for update;
    delete from oncesink.accepted_mappings a where a.sink_group = group_name;
    delete from oncesink.mappings m
     where m.sink_group = group_name
       and not exists (select from unnest(topics, targets) c(topic, target) where c.topic = m.topic and c.target = m.target);
    insert into oncesink.mappings as m (sink_group, topic, partition, target, fingerprint, since)
    select group_name, o.topic, o.partition, c.target, c.fingerprint, o.next_offset
      from oncesink.offsets o
      join unnest(topics, targets, fingerprints) c(topic, target, fingerprint) on c.topic = o.topic
     where o.sink_group = group_name
        on conflict (sink_group, topic, partition, target) do update
       set fingerprint = excluded.fingerprint, since = case when m.fingerprint = '' then excluded.since else m.since end;
    update oncesink.offsets o set fence = gen_random_uuid(), fence_count = o.fence_count + 1 where o.sink_group = group_name;
end $$;

-- accept_mappings_beside: these mappings may claim the group's partitions, beside those that have them now. Nobody stops: a partition goes
-- over with its next claim by a process with these, and may go back during window_length. No third mapping may run beside.
create function oncesink.accept_mappings_beside(
    group_name text, topics text[], targets text[], fingerprints text[], window_length interval
) returns void
language plpgsql set lock_timeout = '3s' as $$
begin
    perform oncesink.durable();
    -- No claim may change a mapping meanwhile.
    perform from oncesink.offsets o where o.sink_group = group_name order by o.topic, o.partition for update;
    delete from oncesink.accepted_mappings a where a.sink_group = group_name;
    insert into oncesink.accepted_mappings (sink_group, topic, target, older, newer, older_until)
    select group_name, topic, target, f.fingerprint, coalesce(c.fingerprint, ''), now() + window_length
      from (select distinct m.topic, m.target, m.fingerprint from oncesink.mappings m where m.sink_group = group_name) f
      left join unnest(topics, targets, fingerprints) c(topic, target, fingerprint) using (topic, target)
     where f.fingerprint <> coalesce(c.fingerprint, '');
    -- Tables that some partition does not feed so far.
    insert into oncesink.accepted_mappings (sink_group, topic, target, older, newer, older_until)
    select distinct group_name, c.topic, c.target, '', c.fingerprint, now() + window_length
      from unnest(topics, targets, fingerprints) c(topic, target, fingerprint)
      join oncesink.offsets o on o.sink_group = group_name and o.topic = c.topic
     where not exists (select from oncesink.mappings m
                        where m.sink_group = group_name and m.topic = o.topic and m.partition = o.partition and m.target = c.target)
        on conflict do nothing;
end $$;

comment on function oncesink.accept_mappings is 'Internal: `oncesink mapping accept --at-once`, `oncesink init --accept-mapping`.';
comment on function oncesink.accept_mappings_beside is 'Internal: `oncesink mapping accept`.';
comment on function oncesink.unlike_mappings is 'Internal: which mappings of a process are not a partition''s.';
$migration$;
insert into oncesink.schema_version (component, version) values ('ledger', 5)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- ledger, version 6
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'ledger' and version >= 6) then
execute $migration$
-- Since which position a partition has been written by the mapping of its fingerprint: what events before it became, another one says.
-- 0: since ever, as far as is known.
alter table oncesink.mappings add column written_since bigint not null default 0;

-- Definitions that no partition has any more tell that mappings were changed, and nothing says where.
update oncesink.mappings m set written_since = o.next_offset
  from oncesink.offsets o
 where o.sink_group = m.sink_group and o.topic = m.topic and o.partition = m.partition
   and exists (select from oncesink.mapping_definitions d where not exists (select from oncesink.mappings x where x.fingerprint = d.fingerprint));

create function oncesink.note_mapping() returns trigger
language plpgsql as $$
begin
    new.written_since := coalesce((select o.next_offset from oncesink.offsets o
                                    where o.sink_group = new.sink_group and o.topic = new.topic and o.partition = new.partition), 0);
    return new;
end $$;
create trigger note_mapping before update of fingerprint on oncesink.mappings
    for each row when (new.fingerprint is distinct from old.fingerprint) execute function oncesink.note_mapping();

-- Where `oncesink verify --walk` stands in a table, and what its last whole pass said.
create table oncesink.checks (
    sink_group  text   collate "C" not null,
    target      text   collate "C" not null,
    turn        bigint not null default 0,     -- of who writes: only one walks at a time
    pass        bigint not null default 1,
    walk        jsonb  not null default '{}',  -- where the pass stands, and what it has counted
    looked_at   timestamptz,                   -- by a walk or a sample
    finished_at timestamptz,                   -- the last pass that saw everything
    finished    jsonb,                         -- what it counted
    primary key (sink_group, target)
);

-- What was found to be otherwise than the topics say, until it is found to be right.
create table oncesink.mismatches (
    sink_group  text   collate "C" not null,
    target      text   collate "C" not null,   -- that was checked
    kind        text   not null,
    relation    text   not null,               -- that has the row, or lacks it
    row_key     text[] not null,
    topic       text,                          -- of the event that says what the row should be
    partition   int,
    "offset"    bigint,
    columns     text[],                        -- that are not what the event says
    problem     text   not null,
    written_by  text,                          -- transaction id that the row has
    written_at  timestamptz,                   -- its commit, where track_commit_timestamp tells
    found_at    timestamptz not null default now(),
    seen_at     timestamptz not null default now(),
    primary key (sink_group, target, kind, relation, row_key)
);

-- Whoever writes positions may note what was found.
do $$
declare
    role name;
begin
    for role in
        select distinct r.rolname
          from pg_class c cross join aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
         where c.oid = 'oncesink.mappings'::regclass and a.privilege_type = 'INSERT' and a.grantee <> c.relowner
    loop
        execute format('grant select, insert, update, delete on oncesink.checks, oncesink.mismatches to %I', role);
    end loop;
end $$;

comment on function oncesink.note_mapping is 'Internal: notes at which position a partition got another mapping.';
$migration$;
insert into oncesink.schema_version (component, version) values ('ledger', 6)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- ledger, version 7
do $oncesink$ begin
if not exists (select from oncesink.schema_version where component = 'ledger' and version >= 7) then
execute $migration$
-- rewind: read records again, from an offset at or below the position. Where a log was truncated, its end is no place from which anything
-- is read again: a partition that halted because of that may be sent there, whatever its group says of replays.
create or replace function oncesink.rewind(group_name text, topic_name text, partition_number int, to_offset bigint) returns setof text
language plpgsql as $$
declare
    r oncesink.offsets;
begin
    if to_offset is null or to_offset < 0 then
        raise exception using errcode = 'invalid_parameter_value', message = 'oncesink: rewind needs an offset, 0 or more';
    end if;
    for r in select * from oncesink.lock_rows(group_name, topic_name, partition_number) loop
        if r.replay_refused is not null and coalesce(strpos(r.halted, format('lies past the log''s end %s:', to_offset)), 0) = 0 then
            raise exception using errcode = 'object_not_in_prerequisite_state',
                message = format('oncesink: group %s must not be rewound: %s', r.sink_group, r.replay_refused);
        end if;
        if to_offset > r.next_offset then
            raise exception using errcode = 'invalid_parameter_value',
                message = format('oncesink: %s/%s stands at %s: a rewind never moves forward', r.topic, r.partition, r.next_offset),
                hint = format('To skip records on purpose: select oncesink.accept_gap(%L, %L, %s, %s)',
                              r.sink_group, r.topic, r.partition, to_offset);
        end if;
        update oncesink.offsets o
           set next_offset = to_offset, first_offset = least(o.first_offset, to_offset), leader_epoch = -1, last_timestamp = null,
               moved_at = clock_timestamp(), fence = gen_random_uuid(), fence_count = o.fence_count + 1
         where o.sink_group = r.sink_group and o.topic = r.topic and o.partition = r.partition;
        update oncesink.mappings m set since = to_offset
         where m.sink_group = r.sink_group and m.topic = r.topic and m.partition = r.partition and m.since > to_offset;
        return next format('%s/%s: %s -> %s', r.topic, r.partition, r.next_offset, to_offset);
    end loop;
end $$;
$migration$;
insert into oncesink.schema_version (component, version) values ('ledger', 7)
    on conflict on constraint schema_version_pkey do update set version = excluded.version;
end if;
end $oncesink$;

-- The runtime role makes nothing. It may end stuck sessions of its own role
-- (pg_terminate_backend), for which it needs no further right.
grant usage on schema oncesink to "sink ""runtime""";
grant select on oncesink.schema_version, oncesink.status to "sink ""runtime""";
grant select, insert, update on oncesink.offsets, oncesink.sources, oncesink.mappings to "sink ""runtime""";
grant select, insert on oncesink.mapping_definitions to "sink ""runtime""";
grant select on oncesink.accepted_mappings to "sink ""runtime""";
grant select, insert, update, delete on oncesink.checks, oncesink.mismatches to "sink ""runtime""";
grant usage on sequence oncesink.source_serial to "sink ""runtime""";
grant execute on all functions in schema oncesink to "sink ""runtime""";

commit;
