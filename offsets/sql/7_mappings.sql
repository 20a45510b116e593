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
