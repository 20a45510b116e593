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
