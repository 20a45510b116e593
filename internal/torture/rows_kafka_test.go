package torture

// kafkaRows are the rows of the sink's own processes, of its group and of Kafka.
var kafkaRows = []row{
	{n: 1, name: "kill -9 of the sink", play: kills},
	{n: 2, name: "zombies", play: zombies},
	{n: 3, name: "two sinks with one static member id, or one partition by hand"},
	{n: 4, name: "unknown COMMIT", play: unknownCommits},
	{n: 5, name: "network cut: reset and black hole, on both sides"},
	{n: 6, name: "latency, bandwidth, slices of one byte"},
	{n: 12, name: "broker kill -9, rolling restart, coordinator loss"},
	{n: 13, name: "log truncated below the position"},
	{n: 14, name: "position out of range"},
	{n: 15, name: "topic deleted and created again"},
	{n: 16, name: "partitions added while running"},
	{n: 17, name: "the group's offsets deleted, edited, reset"},
	{n: 18, name: "rebalance storm"},
	{n: 19, name: "aborted and open transactions", play: transactions},
	{n: 20, name: "compacted topic with holes, control records"},
	{n: 21, name: "tombstones, null keys"},
	{n: 25, name: "a key that moves to another partition"},
	{n: 34, name: "SIGTERM under load"},
	{n: 35, name: "soak: a random mix"},
}
