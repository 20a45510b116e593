// Package sinktest checks, on a real PostgreSQL, that a sink's configuration and
// handlers give the same tables however their records arrive. A test says which
// tables there are, how they are written, and which records come:
//
//	func TestOrders(t *testing.T) {
//		sinktest.Run(t, os.Getenv("TEST_DATABASE_URL"), sinktest.Case{
//			Setup:   "create table orders (order_id bigint primary key, state text)",
//			Config:  sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"order_id"}}}},
//			Records: records,
//		})
//	}
//
// The records are written once as they are listed: that is the reference. Then
// they are written again, each time into fresh tables and with something going
// wrong, and the tables are compared with the reference, row by row:
//
//   - [Repetition]: nothing goes wrong. What differs here isn't a function of the
//     records: now(), random(), state in memory. Nothing else is tried then.
//   - [Redelivery]: other borders between transactions, records that were written
//     before, a claim lost to another process, a connection that breaks. Where the
//     sink allows it, partitions are rewound as well.
//   - [Reordering]: other interleavings of the partitions. The order inside a
//     partition stays, as Kafka keeps it.
//   - [Crash]: the process dies after the n-th statement of its transactions, for
//     each n, a COMMIT whose answer is lost among them; another one goes on from the ledger.
//   - [Replay]: everything is read again over the filled tables, which must not
//     change at any time on the way. It is tried where the sink allows it: see
//     sink.Config.HandlersReplaySafe and TableConfig.Guard. Whoever sets HandlersReplaySafe asks for it.
//
// A handler's doings are seen as far as they leave traces in tables. A mail that is
// sent twice leaves none: write down in a table what would be sent, in a stub.
//
// # Databases
//
// Run makes databases of its own beside the one that the url names, and drops them:
// the role must be allowed to create databases. Their names begin with "sinktest_";
// a test that was killed may leave some behind. What is in the named database is
// neither read nor changed.
//
// # Seeds
//
// Everything random is drawn from one seed, which is logged and part of each
// failure. ONCESINK_SINKTEST_SEED=N in the environment, or Case.Seed, repeats it.
//
// # Limits
//
// Each process writes one transaction at a time. A foreign key to rows that come
// from another partition therefore isn't waited for by one writer while another
// brings the parent: leave such a constraint out of Setup. Batches are small, so
// rows go by the statements and not by COPY. Records that were dead letters are
// tried again by a replay, and if they succeed then, that is a difference.
package sinktest
