package pgtext

import (
	"bytes"
	"strings"

	"github.com/oncesink/oncesink/internal/fields"
)

// literalForm is how a type's text is made of other texts.
type literalForm uint8

const (
	formScalar     literalForm = iota
	formArray                  // {a,b}, of parts[0]
	formRange                  // [a,b), of parts[0]
	formMultirange             // {[a,b),[c,d)}, of parts[0]
	formComposite              // (a,b), of parts
)

// What an input function would take and change is found at any depth (rule 15): the texts of arrays,
// ranges and composites are taken apart as PostgreSQL takes them apart, and what is no other type's text is
// checked as if it stood alone. What can't be taken apart, PostgreSQL would refuse as well.

// Prepare hands the column's settings to what it is made of, and notes whether there is anything to look for.
func (c *Type) Prepare() {
	c.watched = c.Kind == KindDate || c.Kind == KindTime || c.Kind == KindTimeTZ || c.Kind == kindInterval ||
		c.Base == "name" || c.Base == `"char"` || c.Kind == KindNumeric && c.Strict && c.Typmod >= 0
	if c.Form != formScalar {
		c.watched = false
	}
	for i := range c.Parts {
		p := &c.Parts[i]
		p.Strict, p.Session = c.Strict, c.Session
		if c.Array {
			p.Encoding, p.Zone, p.Location, p.Unit = c.Encoding, c.Zone, c.Location, c.Unit
			p.Scaled, p.Scale = c.Scaled, c.Scale
		}
		p.Prepare()
		c.watched = c.watched || p.watched
	}
	c.plain = !c.watched && c.Kind != KindBytea
	if c.Kind == KindJSON && c.json == nil {
		c.json, _ = fields.New(nil) // no path can be wrong
	}
}

// element describes the elements of an array column.
func (c *Type) element() *Type {
	if len(c.Parts) > 0 {
		return &c.Parts[0]
	}
	e := *c
	e.Array, e.Base = false, strings.TrimSuffix(c.Base, "[]")
	return &e
}

// look checks a text of the column's type at any depth.
func (c *Type) look(text []byte) *Refusal {
	if !c.watched {
		return nil
	}
	if c.Form == formScalar {
		return c.CheckText(text)
	}
	l := literal{text: text, each: (*Type).look}
	return l.apart(c)
}

// literal is a text on its way apart.
type literal struct {
	text []byte
	at   int
	each func(c *Type, text []byte) *Refusal // is called for each piece that is not null
}

func (l *literal) apart(c *Type) (r *Refusal) {
	switch c.Form {
	case formArray:
		r = l.array(c)
	case formComposite:
		r = l.composite(c)
	case formRange:
		r = l.bounds(c)
	case formMultirange:
		r = l.ranges(c)
	}
	if l.space(); r == nil && l.at < len(l.text) {
		return l.malformed(c)
	}
	return r
}

func (l *literal) malformed(c *Type) *Refusal {
	return Refuse(badText, "malformed text for type "+c.Base)
}

func (l *literal) space() {
	for l.at < len(l.text) && isSpace(l.text[l.at]) {
		l.at++
	}
}

func isSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// next is the byte at hand; 0 at the end.
func (l *literal) next() byte {
	if l.at < len(l.text) {
		return l.text[l.at]
	}
	return 0
}

// take passes a byte, if it is the one at hand.
func (l *literal) take(b byte) bool {
	if l.next() != b {
		return false
	}
	l.at++
	return true
}

// array looks at the elements, of whatever dimension: their texts are quoted whole, or not at all.
func (l *literal) array(c *Type) *Refusal {
	e := c.element()
	l.space()
	for l.take('[') { // bounds, such as [0:1]=
		end := bytes.IndexByte(l.text[l.at:], ']')
		if end < 0 {
			return l.malformed(c)
		}
		l.at += end + 1
		l.space()
	}
	if l.take('=') {
		l.space()
	}
	if l.next() != '{' {
		return l.malformed(c)
	}
	for depth := 0; ; {
		l.space()
		switch b := l.next(); {
		case l.at == len(l.text):
			return l.malformed(c)
		case b == '{':
			depth++
			l.at++
		case b == '}':
			l.at++
			if depth--; depth == 0 {
				return nil
			}
		case b == c.Delimiter:
			l.at++
		default:
			text, isNull, ok := l.elementText(c.Delimiter)
			if !ok {
				return l.malformed(c)
			}
			if isNull {
				continue
			}
			if r := l.each(e, text); r != nil {
				return r
			}
		}
	}
}

// elementText reads an element of an array. White space around an unquoted one is not its own.
func (l *literal) elementText(delimiter byte) (text []byte, isNull, ok bool) {
	if l.take('"') {
		for l.at < len(l.text) {
			b := l.text[l.at]
			l.at++
			switch {
			case b == '"':
				l.space()
				b := l.next()
				return text, false, b == delimiter || b == '}'
			case b == '\\' && l.at < len(l.text):
				b = l.text[l.at]
				l.at++
			}
			text = append(text, b)
		}
		return nil, false, false
	}
	escaped, kept := false, 0
	for l.at < len(l.text) {
		b := l.text[l.at]
		switch {
		case b == delimiter || b == '}':
			text = text[:kept]
			return text, !escaped && bytes.EqualFold(text, []byte("null")), true
		case b == '"' || b == '{':
			return nil, false, false
		case b == '\\':
			if l.at++; l.at == len(l.text) {
				return nil, false, false
			}
			escaped = true
			text = append(text, l.text[l.at])
			kept = len(text)
		default:
			text = append(text, b)
			if !isSpace(b) {
				kept = len(text)
			}
		}
		l.at++
	}
	return nil, false, false
}

// composite looks at the attributes; an empty one is null.
func (l *literal) composite(c *Type) *Refusal {
	l.space()
	if !l.take('(') {
		return l.malformed(c)
	}
	for i := range c.Parts {
		if i > 0 && !l.take(',') {
			return l.malformed(c)
		}
		if b := l.next(); b == ',' || b == ')' {
			continue
		}
		text, ok := l.quoted(",)")
		if !ok {
			return l.malformed(c)
		}
		if r := l.each(&c.Parts[i], text); r != nil {
			return r
		}
	}
	if !l.take(')') {
		return l.malformed(c)
	}
	return nil
}

// bounds looks at those of a range.
func (l *literal) bounds(c *Type) *Refusal {
	l.space()
	if rest := l.text[l.at:]; len(rest) >= len("empty") && bytes.EqualFold(rest[:len("empty")], []byte("empty")) {
		l.at += len("empty")
		return nil
	}
	if !l.take('[') && !l.take('(') {
		return l.malformed(c)
	}
	for _, end := range [2]string{",", ")]"} {
		if b := l.next(); strings.IndexByte(",)]", b) < 0 {
			text, ok := l.quoted(",)]")
			if !ok {
				return l.malformed(c)
			}
			if r := l.each(&c.Parts[0], text); r != nil {
				return r
			}
		}
		if strings.IndexByte(end, l.next()) < 0 || l.at == len(l.text) {
			return l.malformed(c)
		}
		l.at++
	}
	return nil
}

func (l *literal) ranges(c *Type) *Refusal {
	l.space()
	if !l.take('{') {
		return l.malformed(c)
	}
	if l.space(); l.take('}') {
		return nil
	}
	for {
		if r := l.bounds(c); r != nil {
			return r
		}
		switch l.space(); {
		case l.take('}'):
			return nil
		case !l.take(','):
			return l.malformed(c)
		}
	}
}

// quoted reads a text of a composite or a range up to one of the bytes of stop. Any piece of it may be
// quoted, where a quote is doubled or follows a backslash.
func (l *literal) quoted(stop string) (text []byte, ok bool) {
	quotes := false
	for l.at < len(l.text) {
		b := l.text[l.at]
		switch {
		case !quotes && strings.IndexByte(stop, b) >= 0:
			return text, true
		case b == '\\':
			if l.at++; l.at == len(l.text) {
				return nil, false
			}
			text = append(text, l.text[l.at])
		case b == '"' && quotes && l.at+1 < len(l.text) && l.text[l.at+1] == '"':
			l.at++
			text = append(text, '"')
		case b == '"':
			quotes = !quotes
		default:
			text = append(text, b)
		}
		l.at++
	}
	return nil, false
}
