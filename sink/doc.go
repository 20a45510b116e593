// Package sink has the words in which a program says what becomes of its records: tables and where their columns come
// from, handlers that join their own SQL to the transaction, and the errors that come back. Package consumer does it:
//
//	c, err := consumer.New(ctx, pool, consumer.Config{
//		Brokers: []string{"localhost:9092"},
//		Group:   "my-group",
//		Topics:  map[string]consumer.Start{"orders": {}},
//		Sink: sink.Config{
//			Tables:   []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"order_id"}}},
//			Handlers: []sink.Handler{countOrders},
//		},
//	})
//
// The examples of package consumer are whole programs; package sinktest tests a Config without Kafka.
//
// # What holds
//
// The rows an event produces, the effects of [Handler]s over it, its dead letter
// if it has one, and the position after it are committed together or not at all.
// For one key the table's final row does not depend on where batches begin and
// end, nor on how often records are read again: see rule 11 in docs/semantics.md.
//
// # Tables and handlers
//
// A [TableConfig] needs no code: events, which are JSON, fill columns, and the table can be read again from offset zero. A
// [Handler] is code, gets records as they are, whatever their format, and counts each once; it is read again only
// if Config.HandlersReplaySafe says that this changes nothing. In a transaction the tables come first, then the handlers in
// their order.
//
// # Errors
//
// A handler says with [Poison] that a record is to blame, with [Transient] that the same will pass later; everything else is sorted
// by its SQLSTATE. What a person has to correct before the consumer can run is a [*ConfigError]; what stops one partition
// while the others go on is a [*HaltError].
package sink
