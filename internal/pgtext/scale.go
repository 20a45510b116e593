package pgtext

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/oncesink/oncesink/internal/event"
)

// Kafka Connect writes a decimal as the bytes of a whole number in two's complement, in JSON as base64 of them, and says in a
// schema how many of its digits stand after the point. Where the schema is not sent, "BAg=" is 1032, 10.32 or 0.1032: the column
// has to say its scale, and is refused without. Every text is base64 then: of what is digits alone, half is both.

// The scales that a numeric of PostgreSQL may have.
const MinScale, MaxScale = -1000, 1000

// ScaleProblem says why texts for the type can't be base64 of a number with so many digits after the point; "" if they can.
func (c *Type) ScaleProblem(scale int32) string {
	kind := c.Kind
	if c.Array && c.element().Array {
		kind = KindOther
	}
	switch {
	case kind == KindNumeric:
		return ""
	case kind != KindInt:
		return fmt.Sprintf("scale is for decimals of numeric, and the column's type is %s", c.Declared)
	case scale != 0:
		return fmt.Sprintf("an integer has no digits after the point: scale 0, or a column of type numeric in place of %s", c.Declared)
	}
	return ""
}

// fitScaled replaces dst[start:], a text, by the number whose bytes it has.
func (c *Type) fitScaled(dst []byte, start int) ([]byte, *Refusal) {
	end := len(dst)
	text := dst[start:end]
	// Padding is asked for, as Kafka Connect writes it: "12" is more likely a number.
	dst, err := base64.StdEncoding.Strict().AppendDecode(dst, text)
	if err != nil || bytes.ContainsAny(text, "\r\n") {
		return dst[:end], Refuse(badText, "not base64 of a decimal, which a text is where the column says its scale")
	}
	decoded := len(dst)
	dst, r := c.appendScaled(dst, dst[end:decoded])
	return slices.Delete(dst, start, decoded), r
}

// appendScaled appends a whole number in two's complement, with the column's scale.
func (c *Type) appendScaled(dst, number []byte) ([]byte, *Refusal) {
	start := len(dst)
	dst, err := event.Value{Kind: event.Decimal, Scale: c.Scale, Raw: number}.AppendText(dst)
	if err != nil || c.plain {
		return dst, RefusalOf(err)
	}
	return dst, c.CheckText(dst[start:])
}
