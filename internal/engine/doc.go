// Package engine writes records into PostgreSQL tables, in one transaction with the positions of the partitions that they
// come from. It knows PostgreSQL and nothing of Kafka.
//
// # What a batch goes through
//
//	Sink.Add     a record is decoded into the texts of columns        package decode
//	Sink.Write   parts of several partitions become one transaction   job.go
//	  seal       keys become canonical                                spelling.go
//	  BEGIN      every setting that gives a text its meaning          transaction.go
//	  1 advance  positions move under their fences, or all ends here  batch.go, package offsets
//	  2 rows     events are folded, sorted, written                   rows.go, fold.go, writer.go, children.go
//	             by COPY, where that is safe and faster               route.go, look.go, copy.go, binary.go
//	             handlers run over the records                        handlers.go
//	             a record that is refused is bisected out             bisect.go
//	  3 letters  and kept, whole                                      deadletters.go
//	  4 COMMIT   the only commit point                                transaction.go
//	  resolve    if nobody knows what became of it                    job.go
//	  recompile  if a table was altered meanwhile                     stamp.go, plan.go
//
// [Open] compiles the configuration against the catalog once (package mapping); from then on a batch is a handful of
// statements (package statement) whose parameters are arrays of text (package bind), which PostgreSQL itself casts to the
// types of the columns.
//
// # What holds
//
// The rows an event produces, the effects of [sink.Handler]s over it, its dead letter if it has one, and the position after it
// are committed together or not at all. For one key the table's final row does not depend on where batches begin and end,
// nor on how often records are read again: see rule 11 in docs/semantics.md, whose numbers the comments here cite.
//
// # Who uses it
//
// Programs use package consumer, which opens a sink and feeds it. The commands that look before they write, or rebuild a table,
// open one themselves. A ledger is made with what the opened sink says of its mapping, so the sink gets it last:
//
//	s, err := engine.Open(ctx, pool, nil, cfg)
//	ledger := offsets.New(pool, group, offsets.Options{Mappings: s.Mappings(), ReplayRefused: s.ReplayRefused()})
//	s = s.WithLedger(ledger)
package engine
