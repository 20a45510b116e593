package avro

import "math"

// blocks are the elements of an array or a map, some at a time.
type blocks struct {
	left  int64
	at    int // where the last element began
	end   int // of the block, if it is said
	sized bool
	begun bool
}

// next goes to the next element, if there is one more.
func (b *blocks) next(r *reader) (more, ok bool) {
	if b.begun && r.i == b.at {
		if r.budget--; r.budget < 0 {
			return false, r.refuse(tooLarge, "too many values that take no byte")
		}
	}
	if b.left == 0 {
		if b.sized && r.i != b.end {
			return false, r.refuse(malformed, "a block of an array or a map has another length than it says")
		}
		if b.left, ok = r.long(); !ok || b.left == 0 {
			return false, ok
		}
		if b.sized = b.left < 0; b.sized {
			if b.left == math.MinInt64 {
				return false, r.refuse(malformed, "a block of an array or a map with too many elements")
			}
			b.left = -b.left
			size, ok := r.long()
			if !ok {
				return false, false
			}
			if size < 0 || size > int64(len(r.doc)-r.i) {
				return false, r.refuse(malformed, "a block of an array or a map has another length than it says")
			}
			b.end = r.i + int(size)
		}
	}
	b.left--
	b.begun, b.at = true, r.i
	return true, true
}
