package pgtext

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
)

// decodeBytes replaces dst[start:], bytes in the column's encoding, by
// PostgreSQL's text for them: \x and hexadecimal digits in lower case.
func (c *Type) decodeBytes(dst []byte, start int) ([]byte, *Refusal) {
	end := len(dst)
	text := dst[start:end]
	var err error
	switch c.Encoding {
	case "base64":
		encoding := base64.RawStdEncoding
		if bytes.HasSuffix(text, []byte("=")) {
			encoding = base64.StdEncoding
		}
		// Bits that no byte has, and line breaks, are no base64.
		dst, err = encoding.Strict().AppendDecode(dst, text)
		if bytes.ContainsAny(text, "\r\n") {
			err = base64.CorruptInputError(0)
		}
	case "hex":
		dst, err = hex.AppendDecode(dst, bytes.TrimPrefix(text, []byte(`\x`)))
	default:
		return dst, Refuse(badText, "a text for a bytea column without an encoding")
	}
	if err != nil {
		return dst, Refuse(badText, "not "+c.Encoding)
	}
	decoded := len(dst)
	dst = appendBytea(dst, dst[end:decoded])
	return slices.Delete(dst, start, decoded), nil
}

// appendBytea appends PostgreSQL's text for bytes.
func appendBytea(dst, b []byte) []byte {
	return hex.AppendEncode(append(dst, `\x`...), b)
}
