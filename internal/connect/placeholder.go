package connect

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oncesink/oncesink/internal/event"
)

// DefaultPlaceholder is what Debezium writes in place of a value that its database did not hand out.
const DefaultPlaceholder = "__debezium_unavailable_value"

// Placeholder is what a source writes in place of a value that it withholds. It has a form for each type of columns: see
// io.debezium.connector.postgresql.UnchangedToastedPlaceholder. It is immutable; a nil one is none.
type Placeholder struct {
	bytes string
	// The forms that JSON has: strings with their quotes, and containers without white space.
	strings, arrays []string
	object          string
	texts           []string
	// lengths has a bit for the length of each form, modulo 64: nearly all values are told apart by it.
	lengths uint64
}

// NewPlaceholder compiles the placeholder of a text, or of the bytes behind "hex:": Debezium's unavailable.value.placeholder.
func NewPlaceholder(text string) (*Placeholder, error) {
	b := text
	if digits, ok := strings.CutPrefix(text, "hex:"); ok {
		raw, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("read placeholder: behind hex: stand pairs of hexadecimal digits: %w", err)
		}
		b = string(raw)
	}
	if b == "" {
		return nil, fmt.Errorf("read placeholder: an empty one would be every empty text: say what unavailable.value.placeholder is, or nothing")
	}
	plain := strings.ToValidUTF8(b, "\ufffd")
	quoted, base64ed := quote(plain), quote(base64.StdEncoding.EncodeToString([]byte(b)))
	object := "{" + quoted + ":" + quoted + "}"
	uuid := uuidOf(b)
	p := &Placeholder{bytes: b, object: object}
	p.strings = []string{quoted, base64ed, quote(object), quote(uuid)}
	p.texts = []string{plain, object, uuid}
	p.arrays = []string{"[" + quoted + "]", "[" + base64ed + "]", "[" + quote(uuid) + "]", numbers(b, false), numbers(b, true)}
	for _, forms := range [][]string{p.strings, p.texts, p.arrays, {p.bytes, p.object}} {
		for _, form := range forms {
			p.lengths |= 1 << (len(form) & 63)
		}
	}
	return p, nil
}

func quote(s string) string {
	q, _ := jsontext.AppendQuote(nil, s) // it is valid UTF-8
	return string(q)
}

// uuidOf is java.util.UUID.nameUUIDFromBytes.
func uuidOf(name string) string {
	sum := md5.Sum([]byte(name))
	sum[6], sum[8] = sum[6]&0x0f|0x30, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:])
}

// numbers is an array of the bytes as numbers, as Java has them if they are signed.
func numbers(b string, signed bool) string {
	var list []string
	for _, c := range []byte(b) {
		n := int(c)
		if signed {
			n = int(int8(c))
		}
		list = append(list, strconv.Itoa(n))
	}
	return "[" + strings.Join(list, ",") + "]"
}

// Is reports whether a value is the placeholder in one of its forms: of a value as its format reads it, before a [Type] makes
// something else of it.
func (p *Placeholder) Is(v *event.Value) bool {
	return p != nil && p.lengths>>(len(v.Raw)&63)&1 != 0 && p.is(v)
}

func (p *Placeholder) is(v *event.Value) bool {
	var forms []string
	switch v.Kind {
	case event.String:
		forms = p.strings
	case event.Text:
		forms = p.texts
	case event.Array:
		forms = p.arrays
	case event.Bytes:
		return string(v.Raw) == p.bytes
	case event.Object:
		return string(v.Raw) == p.object
	}
	for _, form := range forms {
		if string(v.Raw) == form { // the lengths are compared first
			return true
		}
	}
	return false
}
