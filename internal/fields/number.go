package fields

import "github.com/oncesink/oncesink/internal/event"

// number is what going over a number has shown: see [event.Value], whose fields these are.
type number struct {
	n     int64
	scale int32
	short bool
}

// tell notes it with the value.
func (n *number) tell(v *event.Value) { v.Short, v.Scale, v.N = n.short, n.scale, n.n }

// shortDigits is how many digits an int64 certainly holds.
const shortDigits = 18

// numberAt goes over the number of RFC 8259 that begins at i, and returns where it ends. Nobody has to look at its
// digits again to know whether it is whole, how long it is, and mostly what it is.
func numberAt(doc []byte, i int) (num number, end int) {
	negative := doc[i] == '-'
	if negative {
		i++
	}
	first := i
	n, i := digitsAt(doc, i, 0)
	digits := i - first
	if digits == 0 || doc[first] == '0' && digits > 1 {
		return num, unsure
	}
	if i < len(doc) && doc[i] == '.' {
		first = i + 1
		if n, i = digitsAt(doc, first, n); i == first {
			return num, unsure
		}
		num.scale = int32(i - first)
		digits += i - first
	}
	if i < len(doc) && doc[i]|0x20 == 'e' {
		if i++; i < len(doc) && (doc[i] == '+' || doc[i] == '-') {
			i++
		}
		first = i
		if _, i = digitsAt(doc, first, 0); i == first {
			return num, unsure
		}
		return number{}, i
	}
	if digits > shortDigits {
		return number{}, i
	}
	if num.n, num.short = int64(n), true; negative {
		num.n = -num.n
	}
	return num, i
}

// digitsAt goes over digits, and adds them to those of n. Of too many it makes nothing of use.
func digitsAt(doc []byte, i int, n uint64) (uint64, int) {
	for ; i < len(doc); i++ {
		digit := doc[i] - '0'
		if digit > 9 {
			break
		}
		n = 10*n + uint64(digit)
	}
	return n, i
}
