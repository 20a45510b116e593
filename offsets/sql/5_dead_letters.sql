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
