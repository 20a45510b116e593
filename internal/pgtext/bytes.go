package pgtext

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// AppendBytes appends the text of bytes that surround the value: the record's key
// or a header, or the value as a whole. A json column takes them if they are
// JSON, bytea as they are (or in its encoding, if it has one), any other as text.
func (c *Type) AppendBytes(dst, b []byte) ([]byte, *Refusal) {
	start := len(dst)
	switch {
	case c.Kind == KindBytea && c.Encoding == "" && !c.Array:
		return appendBytea(dst, b), nil
	case !utf8.Valid(b):
		return dst, Refuse(BadCharacter, "invalid UTF-8")
	case bytes.IndexByte(b, 0) >= 0:
		return dst, Refuse(BadCharacter, "a byte 0x00 in a text")
	case c.Array:
		return append(dst, b...), c.checkArrayText(b)
	case c.Kind == KindJSON:
		if hasNUL(b) {
			return dst, Refuse(badEscape, `\u0000 in a JSON value`)
		}
		return append(dst, b...), RefusalOf(c.json.Read(b, nil, nil, nil))
	}
	return c.fit(append(dst, b...), start)
}

// RefusalOf is what an error of a format's reading, or of a value's text, refuses: nil if there is none.
func RefusalOf(err error) *Refusal {
	if err == nil {
		return nil
	}
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Code: badText, Message: err.Error()}
}
