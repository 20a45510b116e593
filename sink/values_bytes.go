package sink

import (
	"bytes"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/fields"
)

// appendBytes appends the text of bytes that surround the value: the record's key
// or a header, or the value as a whole. A json column takes them if they are
// JSON, bytea as they are (or in its encoding, if it has one), any other as text.
func (c *Type) appendBytes(dst, b []byte) ([]byte, *refusal) {
	start := len(dst)
	switch {
	case c.kind == kindBytea && c.encoding == "" && !c.array:
		return appendBytea(dst, b), nil
	case !utf8.Valid(b):
		return dst, refuse(badCharacter, "invalid UTF-8")
	case bytes.IndexByte(b, 0) >= 0:
		return dst, refuse(badCharacter, "a byte 0x00 in a text")
	case c.array:
		return append(dst, b...), c.checkArrayText(b)
	case c.kind == kindJSON:
		if hasNUL(b) {
			return dst, refuse(badEscape, `\u0000 in a JSON value`)
		}
		return append(dst, b...), refusalOf(c.json.Extract(b, nil))
	}
	return c.fit(append(dst, b...), start)
}

// refusalOf turns what package fields refuses into the SQLSTATE that PostgreSQL has for it.
func refusalOf(err error) *refusal {
	if err == nil {
		return nil
	}
	return refuse(fields.SQLState(err), err.Error())
}
