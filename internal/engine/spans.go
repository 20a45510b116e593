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
