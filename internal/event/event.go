// Package event is what a payload says, whatever format it is written in: values of kinds, and the seam
// through which a format hands them out. It does no I/O, and knows neither Kafka nor PostgreSQL but for
// the codes by which it says why a record is refused.
package event

// Kind is what stands at a path.
type Kind uint8

// The kinds. Containers are JSON text in every format, so that what is done with their members is done in one way;
// scalars are typed where a format has types.
const (
	Absent Kind = iota // there is nothing: the column stays as it is (rule 16)
	Null
	Bool   // Raw is true or false
	Number // Raw is the number as JSON writes it, with the digits it came with; see Value.Short
	String // Raw is a JSON string, with its quotes and escapes
	Object // Raw is JSON
	Array  // Raw is JSON

	// Unavailable is a value that is there and that the source withheld: the column stays as it is, and must not be
	// taken for absent where there is no row yet.
	Unavailable

	Text    // Raw is the text itself, in UTF-8
	Bytes   // Raw are the bytes themselves
	Int     // N
	Uint    // N, as the bits of a uint64
	Float   // N, as the bits of a float64, which holds a float of Scale bits: 32 or 64
	Decimal // Raw is a number in two's complement, the highest byte first, and has Scale digits after the point
	Date    // N days since 1970-01-01
	// Times count N from midnight or from 1970-01-01T00:00:00, Scale digits of a second being behind the point: with Scale 6
	// N are microseconds. Scale is 0 to 9.
	Time        // of a day, which has 24:00:00
	Timestamp   // a date and time on a wall
	TimestampTZ // a moment
	Infinity    // later than any date or time if N is positive, earlier than any if it is negative
	Bits        // Raw is a text of 0 and 1, the highest first, of which zeros at the beginning may be missing
)

// Typed reports whether a value of the kind is a scalar whose type a format knows, and not as JSON writes it.
func (k Kind) Typed() bool { return k >= Text }

// Value is what stands at a path. Raw is a slice of the document, of an arena, or of something that never
// changes: who gets a value must not write to it.
type Value struct {
	Kind Kind
	// Short says of a Number that it is N with Scale digits after the point, as many as it was written with: who has read it
	// once spares the others the reading. Where it is false only Raw says what the number is, which may be as short.
	Short bool
	Scale int32
	N     int64
	Raw   []byte
}

// Refusal says why a record can't become rows, whenever it is read: it is the record's fault, and nobody's else.
type Refusal struct {
	// Code is an SQLSTATE where PostgreSQL has one for it, else a code that begins with ONS.
	Code string
	// Message has a few characters of the record at most, and none if it is plain: then a log may have it.
	Message string
	Plain   bool
}

// refuse refuses a record in words that quote nothing of it.
func refuse(code, message string) *Refusal {
	return &Refusal{Code: code, Message: message, Plain: true}
}

func (r *Refusal) Error() string { return r.Message }

// SQLSTATEs of what this package refuses.
const (
	badText      = "22P02" // invalid_text_representation
	badCharacter = "22021" // character_not_in_repertoire
	badRange     = "22008" // datetime_field_overflow
	badNumber    = "22003" // numeric_value_out_of_range
)
