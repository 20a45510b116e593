package engine

import (
	"cmp"
	"slices"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/offsets"
)

// span is a range of a part's records.
type span struct {
	part   *decode.Part
	lo, hi int32
}

// spans are the records of a transaction, or of a part of it, in the order they
// are applied: within a partition by offset.
type spans []span

func (s spans) records() int {
	n := 0
	for _, x := range s {
		n += int(x.hi - x.lo)
	}
	return n
}

// halve splits the records in two. There must be at least two.
func (s spans) halve() (spans, spans) {
	n := int32(s.records() / 2)
	for i, x := range s {
		switch size := x.hi - x.lo; {
		case n > size:
			n -= size
		case n == size:
			return s[: i+1 : i+1], s[i+1:]
		default:
			left := append(s[:i:i], span{x.part, x.lo, x.lo + n})
			right := append(spans{{x.part, x.lo + n, x.hi}}, s[i+1:]...)
			return left, right
		}
	}
	return s, nil
}

// each are the records one by one.
func (s spans) each() spans {
	each := make(spans, 0, s.records())
	for _, x := range s {
		for i := x.lo; i < x.hi; i++ {
			each = append(each, span{x.part, i, i + 1})
		}
	}
	return each
}

// without leaves out single records, which are in the order of s.
func (s spans) without(single spans) spans {
	if len(single) == 0 {
		return s
	}
	var out spans
	for _, x := range s {
		for len(single) > 0 && single[0].part == x.part && single[0].lo < x.hi && single[0].lo >= x.lo {
			if x.lo < single[0].lo {
				out = append(out, span{x.part, x.lo, single[0].lo})
			}
			x.lo, single = single[0].hi, single[1:]
		}
		if x.lo < x.hi {
			out = append(out, x)
		}
	}
	return out
}

// rows returns the range of the part's rows that belong to the span.
func (x span) rows() (int, int) {
	at := func(record int32) int {
		i, _ := slices.BinarySearchFunc(x.part.Rows, record, func(r decode.Row, record int32) int { return cmp.Compare(r.Record, record) })
		return i
	}
	return at(x.lo), at(x.hi)
}

// to is the position behind the span.
func (x span) to() offsets.Position {
	if int(x.hi) == len(x.part.Records) {
		return x.part.To
	}
	r := &x.part.Records[x.hi-1]
	return offsets.Position{Next: r.Offset + 1, Epoch: r.Epoch, Time: r.Timestamp}
}
