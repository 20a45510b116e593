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
