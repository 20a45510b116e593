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
