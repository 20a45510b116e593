// Package consumer reads Kafka topics as a member of a consumer group, and writes what
// package sink says into PostgreSQL: rows and handlers' effects in one transaction with
// the positions, so that every record counts once.
//
//	pool, _, err := offsets.NewPool(ctx, url, 8)
//	cfg := consumer.Config{Brokers: ..., Group: ..., Topics: ..., Sink: sink.Config{...}}
//	err = consumer.Init(ctx, pool, cfg.Sink) // once, or whenever: what the database needs
//	c, err := consumer.New(ctx, pool, cfg)   // reads the tables, and says what is wrong
//	err = c.Run(ctx)                         // until ctx ends, then a graceful stop
//
// [Consumer.Status], [Consumer.Stats] and [Consumer.Health] say how it is, Config.OnHalt, Config.Observer and the sink's Observer what
// happens meanwhile. The ledger of a
// group, with or without a consumer, is read and steered by package offsets: [offsets.New] with the group's name, then
// [offsets.Ledger.Rows] for its positions and [offsets.Ledger.Rewind] to have them read again; or from psql, by the
// functions of schema oncesink.
//
// A process has one Consumer for a group; more processes share the partitions. Run is called once at a time.
//
// # Where positions come from
//
// The ledger in PostgreSQL is the only truth (see package offsets). When the group
// assigns partitions, the client's hook claims them in the ledger and answers
// with the positions found there; what the Kafka group remembers is a copy for lag
// tools, and is never read back except once, by Start Committed. There is one way to a
// claim: whatever waits, new or lost, is claimed together, with a few queries however much it is.
//
// # A partition's way
//
//	          claim won                  poll                    decode               take
//	claiming -----------> running  ----------------> raw records --------> part ---------------> writer
//	    ^                    |                                                                      |
//	    |  fence lost,       |                                                                      | one transaction:
//	    |  ledger changed    v                                                                      | positions + rows
//	    +--------------- drop all <-----------------------------------------------------------------+
//
// Each partition is a lane with a goroutine of its own that decodes while a
// writer commits what came before. A lane has at most one transaction in
// flight; lanes with little share one. A lane that is not running drops what is
// polled for it. It begins to run in the hook, before the client fetches the partition for
// the first time, or in the poll loop, right after the client's fetch position was set and
// before a rebalance can happen: a record that was polled and dropped is therefore
// polled again, and nothing is skipped.
//
// # Below the log
//
// A position below the log's start is read from an archive, where oncesink's commands have given one that holds it:
// the client stays suspended, a goroutine gives the lane the archive's records up to where the log begins, and there
// the client goes on. The position decides which of both is read. See archived.go.
//
// # What stops a partition
//
// A gap is never passed over in silence. A position outside the log, a log that was
// truncated, records deleted unread, a topic that was recreated: the lane
// halts, says which range it is about and what to do, and notes it in the
// ledger for `oncesink status`. The other lanes go on. When somebody changes the
// row (oncesink.accept_gap, rewind, adopt, a row put back), the lane notices within a
// second and goes on from there, whether it ever held the row or not.
package consumer
