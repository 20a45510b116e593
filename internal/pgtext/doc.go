// Package pgtext says what a PostgreSQL type makes of a value: the text that its input function gets to read, the
// canonical text by which keys and versions are compared, and the binary form for COPY. What the input function
// would take and change (cut off, round, replace, or read the clock for) is a [Refusal].
//
// It knows types, and neither tables nor Kafka. Rules 14, 15, 27 and 28 of docs/semantics.md are kept here.
package pgtext
