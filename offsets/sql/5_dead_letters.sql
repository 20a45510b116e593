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
