// Package sink has the words in which a program says what is to be written: tables and where their columns come
// from, handlers that join their own SQL to the transaction, and the errors that come back. Package consumer does it.
//
//	consumer.Config{
//		Group:  "my-group",
//		Topics: map[string]consumer.Start{"orders": {}},
//		Sink: sink.Config{
//			Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"order_id"}}},
//		},
//	}
//
// # What holds
//
// The rows an event produces, the effects of [Handler]s over it, its dead letter
// if it has one, and the position after it are committed together or not at all.
// For one key the table's final row does not depend on where batches begin and
// end, nor on how often records are read again: see rule 11 in docs/semantics.md.
package sink
