package avro

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/oncesink/oncesink/internal/event"
)

// whole reads a container as one value: as JSON, or as what Kafka Connect says that it means.
func (r *reader) whole(p *place) bool {
	t, i, start := p.typ, r.i, len(*r.arena)
	v := &r.values[p.wants[0]]
	if r.placeholder != nil {
		// What a placeholder's elements are said to mean they don't: it is looked for before they are made anything else.
		r.plainly = true
		ok := r.container(t, v, start)
		r.plainly = false
		if !ok {
			return false
		}
		switch {
		case r.placeholder.Is(v):
			*v = event.Value{Kind: event.Unavailable}
		case p.converted:
			*r.arena, r.i = (*r.arena)[:start], i
			if !r.container(t, v, start) {
				return false
			}
		}
	} else if !r.container(t, v, start) {
		return false
	}
	if v.Kind != event.Unavailable && !t.means.Same() {
		if r.why = t.means.Value(v, r.arena); r.why != nil {
			return false
		}
	}
	for _, want := range p.wants[1:] {
		r.values[want] = *v
	}
	return true
}

func (r *reader) container(t *typ, v *event.Value, start int) bool {
	if !r.members(t) {
		return false
	}
	a := *r.arena
	*v = event.Value{Kind: event.Array, Raw: a[start:len(a):len(a)]}
	if t.kind != array {
		v.Kind = event.Object
	}
	return true
}

// json appends a value to the arena.
func (r *reader) json(t *typ) bool {
	switch t.kind {
	case union:
		n, ok := r.index(len(t.branches))
		return ok && r.json(t.branches[n])
	case record, array, mapping:
		start := len(*r.arena)
		if !r.members(t) {
			return false
		}
		if t.means.Same() || r.plainly {
			return true
		}
		a := *r.arena
		v := event.Value{Kind: event.Object, Raw: a[start:len(a):len(a)]}
		if t.kind == array {
			v.Kind = event.Array
		}
		if r.why = t.means.Value(&v, r.arena); r.why != nil {
			return false
		}
		return r.put(&v, start)
	}
	start := len(*r.arena)
	v := &r.scratch
	if !r.scalar(t, v) {
		return false
	}
	if v.Kind == event.Unavailable { // of a container nothing can be left out: there the placeholder is what it says
		v.Kind = written(t)
	}
	return r.put(v, start)
}

// put appends a value in place of what was made for it since start.
func (r *reader) put(v *event.Value, start int) bool {
	made := len(*r.arena)
	var err error
	if *r.arena, err = v.AppendJSON(*r.arena); err != nil {
		r.why = err
		return false
	}
	if made > start {
		a := *r.arena
		n := copy(a[start:], a[made:])
		*r.arena = a[:start+n]
	}
	return true
}

// members appends a container to the arena, as JSON. Of a map with a key more than once the last one counts for who reads it.
func (r *reader) members(t *typ) bool {
	if t.kind == record {
		return r.object(t)
	}
	if !r.enter(1) {
		return false
	}
	opening, closing := byte('['), byte(']')
	if t.kind == mapping {
		opening, closing = '{', '}'
	}
	*r.arena = append(*r.arena, opening)
	for b := (blocks{}); ; {
		first := !b.begun
		more, ok := b.next(r)
		if !ok {
			return false
		}
		if !more {
			break
		}
		if !first {
			*r.arena = append(*r.arena, ',')
		}
		if t.kind == mapping {
			name, ok := r.counted()
			if !ok {
				return false
			}
			a, err := jsontext.AppendQuote(*r.arena, name)
			if err != nil {
				return r.refuse(badCharacter, "invalid UTF-8 in the key of a map")
			}
			*r.arena = append(a, ':')
		}
		if !r.json(t.elements) {
			return false
		}
		if len(*r.arena)-r.began > maxJSON {
			return r.refuse(tooLarge, "its arrays, maps and records become too much JSON")
		}
	}
	*r.arena = append(*r.arena, closing)
	r.depth--
	return true
}

func (r *reader) object(t *typ) bool {
	if !r.enter(1 + len(t.fields)) {
		return false
	}
	*r.arena = append(*r.arena, '{')
	for i := range t.fields {
		f := &t.fields[i]
		member := f.member
		if i == 0 {
			member = member[1:] // no comma
		}
		*r.arena = append(*r.arena, member...)
		if !r.json(f.typ) {
			return r.in(f.name)
		}
	}
	if len(*r.arena)-r.began > maxJSON {
		return r.refuse(tooLarge, "its arrays, maps and records become too much JSON")
	}
	*r.arena = append(*r.arena, '}')
	r.depth--
	return true
}

const badCharacter = "22021" // character_not_in_repertoire
