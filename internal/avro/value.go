package avro

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"

	"github.com/oncesink/oncesink/internal/event"
)

var (
	yes = []byte("true") // they never change
	no  = []byte("false")
)

func (r *reader) boolean() (bool, bool) {
	b, ok := r.bytes(1)
	if ok && b[0] > 1 {
		ok = r.refuse(malformed, "a boolean that is neither 0 nor 1")
	}
	return ok && b[0] == 1, ok
}

func (r *reader) integer() (int64, bool) {
	n, ok := r.long()
	if ok && int64(int32(n)) != n {
		ok = r.refuse(malformed, "an int of more than 32 bits")
	}
	return n, ok
}

// scalar reads a value that has no others in it.
func (r *reader) scalar(t *typ, v *event.Value) (ok bool) {
	v.Kind, v.Scale, v.Raw, v.Short = t.as, t.scale, nil, false
	switch t.kind {
	case null:
		return true
	case boolean:
		var b bool
		if b, ok = r.boolean(); b {
			v.Raw = yes
		} else {
			v.Raw = no
		}
		return ok
	case integer:
		v.N, ok = r.integer()
	case long:
		v.N, ok = r.long()
	case float:
		var b []byte
		if b, ok = r.bytes(4); ok {
			v.N = int64(math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))))
		}
		return ok
	case double:
		var b []byte
		if b, ok = r.bytes(8); ok {
			v.N = int64(binary.LittleEndian.Uint64(b))
		}
		return ok
	case text, octets:
		v.Raw, ok = r.counted()
	case fixed:
		v.Raw, ok = r.bytes(t.size)
	case enum:
		var n int
		if n, ok = r.index(len(t.symbols)); ok {
			v.Raw = t.symbols[n]
		}
	}
	if !ok {
		return false
	}
	if r.placeholder != nil && v.Raw != nil && !r.plainly {
		if v.Kind = written(t); r.placeholder.Is(v) {
			v.Kind = event.Unavailable
			return true
		}
		v.Kind = t.as
	}
	switch {
	case t.as == uuid:
		r.uuid(v)
	case t.as == duration:
		r.duration(v)
	case !t.means.Same() && !r.plainly:
		if r.why = t.means.Value(v, r.arena); r.why != nil {
			return false
		}
	}
	return true
}

func (r *reader) uuid(v *event.Value) {
	start := len(*r.arena)
	a := *r.arena
	for i, b := 0, v.Raw; i < 16; i++ {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			a = append(a, '-')
		}
		a = hex.AppendEncode(a, b[i:i+1])
	}
	*r.arena = a
	v.Kind, v.Raw = event.Text, a[start:len(a):len(a)]
}

// duration makes a text as ISO 8601 has it of months, days and milliseconds, which PostgreSQL takes for an interval.
func (r *reader) duration(v *event.Value) {
	start := len(*r.arena)
	n := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(v.Raw[i:])) }
	a := append(*r.arena, 'P')
	a = append(strconv.AppendUint(a, n(0), 10), 'M')
	a = append(strconv.AppendUint(a, n(4), 10), 'D', 'T')
	a = strconv.AppendUint(a, n(8)/1000, 10)
	if ms := n(8) % 1000; ms > 0 {
		a = append(a, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	a = append(a, 'S')
	*r.arena = a
	v.Kind, v.Raw = event.Text, a[start:len(a):len(a)]
}

// written is the kind of a text or of bytes without what they mean.
func written(t *typ) event.Kind {
	if t.kind == octets || t.kind == fixed {
		return event.Bytes
	}
	return event.Text
}
