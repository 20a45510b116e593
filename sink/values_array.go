package sink

import (
	"slices"

	"github.com/oncesink/oncesink/internal/fields"
)

// appendArray appends a JSON array as PostgreSQL writes its arrays, element by
// element; nested arrays are dimensions, except of json and jsonb, whose elements
// are documents as they came.
func (c *column) appendArray(dst, raw []byte) ([]byte, *refusal) {
	dst = append(dst, '{')
	first := true
	for v := range fields.Elements(raw) {
		if !first {
			dst = append(dst, c.delimiter())
		}
		first = false
		var r *refusal
		switch {
		case v.Kind == fields.Null:
			dst = append(dst, "NULL"...)
		case v.Kind == fields.Array && c.kind != kindJSON:
			dst, r = c.appendArray(dst, v.Raw)
		default:
			start := len(dst)
			if dst, r = c.appendScalar(dst, v); r == nil {
				dst = quoteElement(dst, start)
			}
		}
		if r != nil {
			return dst, r
		}
	}
	return append(dst, '}'), nil
}

// delimiter stands between the elements of an array: a comma for all types that
// come with PostgreSQL but one.
func (c *column) delimiter() byte {
	if c.base == "box[]" {
		return ';'
	}
	return ','
}

// quoteElement puts dst[start:] between double quotes, with a backslash before
// each quote and backslash in it.
func quoteElement(dst []byte, start int) []byte {
	end, extra := len(dst), 2
	for _, b := range dst[start:] {
		if b == '"' || b == '\\' {
			extra++
		}
	}
	dst = slices.Grow(dst, extra)[:end+extra]
	to := end + extra - 1
	dst[to] = '"'
	for from := end - 1; from >= start; from-- {
		to--
		dst[to] = dst[from]
		if b := dst[from]; b == '"' || b == '\\' {
			to--
			dst[to] = '\\'
		}
	}
	dst[start] = '"'
	return dst
}

// checkArrayText checks an array that came as PostgreSQL's own text for one.
func (c *column) checkArrayText(text []byte) *refusal {
	switch c.kind {
	case kindDate, kindBytea:
		// Its elements have to be looked at one by one, which is PostgreSQL's parser.
		return refuse(badText, "a text for a column of type "+c.base+", which takes a JSON array")
	case kindText, kindOther:
		if c.base == "name[]" || c.base == `"char"[]` {
			return refuse(badText, "a text for a column of type "+c.base+", which takes a JSON array")
		}
	case kindTime, kindTimeTZ, kindTemporal:
		return c.checkTime(text)
	}
	return nil
}
