// Package verify looks, beside the running sink and at a bounded rate, whether a table is what its topics say. It changes
// nothing but its own tables in the ledger.
//
// A guarded row says at which place its last event stood (rule 10). So two questions tell, and each needs a few records only:
//
//	rows     does the event at a row's place say what the row has?     rows.go, children.go
//	events   is the row of an event's key that event's, or a later      events.go
//	         one's? By the engine's own look before a replay
//	walk     what is looked at, at which rate, and where it stands     walk.go, sample.go
//	log      the records of places, from Kafka                          log.go, decode.go
//	excuse   what must not be told as a mismatch                        excuse.go
//	keep     what was found, in the ledger                              store.go
//
// What can't be told is counted apart, by the reason: it is neither right nor wrong.
package verify
