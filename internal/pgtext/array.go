package pgtext

import (
	"slices"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// appendArray appends a JSON array as PostgreSQL writes its arrays, element by
// element; nested arrays are dimensions, except of json and jsonb, whose elements
// are documents as they came, and of domains over arrays, which are elements.
func (c *Type) appendArray(dst, raw []byte) ([]byte, *Refusal) {
	e := c.element()
	delimiter := c.Delimiter
	if delimiter == 0 {
		delimiter = ','
	}
	dst = append(dst, '{')
	first := true
	for v := range fields.Elements(raw) {
		if !first {
			dst = append(dst, delimiter)
		}
		first = false
		var r *Refusal
		switch {
		case v.Kind == event.Null:
			dst = append(dst, "NULL"...)
		case v.Kind == event.Array && !e.Array && e.Kind != KindJSON:
			dst, r = c.appendArray(dst, v.Raw)
		default:
			start := len(dst)
			if dst, r = e.AppendValue(dst, &v); r == nil {
				dst = quoteElement(dst, start)
			}
		}
		if r != nil {
			return dst, r
		}
	}
	return append(dst, '}'), nil
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
func (c *Type) checkArrayText(text []byte) *Refusal {
	switch {
	case c.Kind == KindDate, c.Kind == KindBytea, c.Unit != "", c.Scaled:
		// Elements may need another form.
		return Refuse(badText, "a text for a column of type "+c.Base+", which takes a JSON array")
	}
	return c.look(text)
}
