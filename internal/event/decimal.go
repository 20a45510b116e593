package event

import (
	"encoding/binary"
	"math/big"
	"strconv"
)

// What a numeric of PostgreSQL can hold: digits before and after the point, and the bytes that hold as many.
const (
	maxWhole    = 131072
	maxFraction = 16383
	maxBytes    = 62_000
)

// writtenOut is up to how many zeros a decimal is written without an exponent.
const writtenOut = 400

// appendDecimal appends a decimal with as many digits after the point as its scale says. Where this would be long
// for the zeros alone, it has an exponent.
func (v Value) appendDecimal(dst []byte) ([]byte, error) {
	switch {
	case len(v.Raw) == 0:
		return dst, refuse(badText, "a decimal without a byte")
	case len(v.Raw) > maxBytes || v.Scale > maxFraction || v.Scale < -maxWhole:
		return dst, refuse(badNumber, "a decimal with more digits than a numeric has")
	}
	sign := len(dst)
	dst = appendWhole(dst, v.Raw)
	start := sign
	if dst[start] == '-' {
		start++
	}
	digits, scale := len(dst)-start, int(v.Scale)
	switch {
	case digits-scale > maxWhole:
		return dst[:sign], refuse(badNumber, "a decimal with more digits than a numeric has")
	case scale == 0:
		return dst, nil
	case scale < 0 && string(dst[start:]) == "0":
		return dst, nil
	case scale < -writtenOut || scale > digits+writtenOut:
		return strconv.AppendInt(append(dst, 'e'), int64(-scale), 10), nil
	case scale < 0:
		for range -scale {
			dst = append(dst, '0')
		}
		return dst, nil
	}
	// The zeros before the digits, and then the point in between.
	for range scale + 1 - digits {
		dst = append(dst, '0')
	}
	if zeros := len(dst) - start - digits; zeros > 0 {
		copy(dst[start+zeros:], dst[start:start+digits])
		for i := range zeros {
			dst[start+i] = '0'
		}
	}
	dst = append(dst, 0)
	point := len(dst) - 1 - scale
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst, nil
}

// appendWhole appends a number in two's complement.
func appendWhole(dst, b []byte) []byte {
	negative := b[0] >= 0x80
	fill := byte(0)
	if negative {
		fill = 0xff
	}
	if len(b) <= 8 {
		var eight [8]byte
		for i := range eight[:8-len(b)] {
			eight[i] = fill
		}
		copy(eight[8-len(b):], b)
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(eight[:])), 10)
	}
	n := new(big.Int).SetBytes(b)
	if negative {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n.Append(dst, 10)
}
