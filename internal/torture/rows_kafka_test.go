package torture

// kafkaRows are the rows of the sink's own processes, of its group and of Kafka.
var kafkaRows = []row{
	{n: 1, name: "kill -9 of the sink", play: kills},
	{n: 2, name: "zombies", play: zombies},
	{n: 3, name: "two sinks with one static member id, or one partition by hand", play: twins},
	{n: 4, name: "unknown COMMIT", play: unknownCommits},
	{n: 5, name: "network cut: reset and black hole, on both sides", play: cuts},
	{n: 6, name: "latency, bandwidth, slices of one byte", play: shapes},
	{n: 12, name: "broker kill -9, rolling restart, coordinator loss", play: brokers},
	{n: 13, name: "log truncated below the position", play: truncated},
	{n: 14, name: "position out of range", play: gone},
	{n: 15, name: "topic deleted and created again", play: recreated},
	{n: 16, name: "partitions added while running", play: added},
	{n: 17, name: "the group's offsets deleted, edited, reset", play: editedGroup},
	{n: 18, name: "rebalance storm", play: storm},
	{n: 19, name: "aborted and open transactions", play: transactions},
	{n: 20, name: "compacted topic with holes, control records", play: compacted},
	{n: 21, name: "tombstones, null keys", play: tombstones},
	{n: 25, name: "a key that moves to another partition", play: wandering},
	{n: 34, name: "SIGTERM under load", play: gentle},
	{n: 35, name: "soak: a random mix", play: soak},
}
