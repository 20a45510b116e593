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
