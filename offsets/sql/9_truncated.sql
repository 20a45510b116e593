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
