// Package sink writes Kafka's records into PostgreSQL tables, in one transaction
// with the positions of the partitions that they come from. It knows PostgreSQL
// and nothing of Kafka.
//
// # What a batch goes through
//
//	Sink.Add     a record is decoded into the texts of columns        decode.go
//	Sink.Write   parts of several partitions become one transaction   write.go
//	  seal       keys become canonical                                keys.go
//	  BEGIN      every setting that gives a text its meaning          commit.go
//	  1 advance  positions move under their fences, or all ends here  package offsets
//	  2 rows     events are folded, sorted, written                   fold.go, writer.go, sql.go
//	             a record that is refused is bisected out             bisect.go
//	  3 letters  and kept, whole                                      deadletters.go
//	  4 COMMIT   the only commit point
//	  resolve    if nobody knows what became of it                    write.go
//
// [Open] compiles the configuration against the catalog once; from then on a
// batch is a handful of statements whose parameters are arrays of text, which
// PostgreSQL itself casts to the types of the columns.
//
// # What holds
//
// The rows an event produces, the effects of [Handler]s over it, its dead letter
// if it has one, and the position after it are committed together or not at all.
// For one key the table's final row does not depend on where batches begin and
// end, nor on how often records are read again: see rule 11 in docs/semantics.md,
// whose numbers the comments here cite.
//
// # As a library
//
// A program of its own gives a Config with Handlers, which join their SQL to the
// same transaction, and lets package consumer feed the sink:
//
//	s, err := sink.Open(ctx, pool, nil, sink.Config{
//		Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"order_id"}}},
//		Handlers: []sink.Handler{func(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
//			_, err := tx.Exec(ctx, "update totals set records = records + $1", len(records))
//			return err
//		}},
//	})
//	// The ledger records the mapping and why the group must not be rewound.
//	ledger := offsets.New(pool, "my-group", offsets.Options{Mappings: s.Mappings(), ReplayRefused: s.ReplayRefused()})
//	s = s.WithLedger(ledger)
package engine
