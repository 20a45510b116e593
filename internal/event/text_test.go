package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func float(f float64) Value { return Value{Kind: Float, Scale: 64, N: int64(math.Float64bits(f))} }
func float32of(f float32) Value {
	return Value{Kind: Float, Scale: 32, N: int64(math.Float64bits(float64(f)))}
}

// TestText: a scalar's text and its JSON, or the code of its refusal.
func TestText(t *testing.T) {
	const day = 86_400
	for _, tt := range []struct {
		v          Value
		text, json string // json is "" where it is the text, or the text in quotes
	}{
		{Value{Kind: Bool, Raw: []byte("true")}, "true", "true"},
		{Value{Kind: Number, Raw: []byte("1.50e3")}, "1.50e3", "1.50e3"},
		{Value{Kind: Text, Raw: []byte("a\"\\é\n\x00\x1f😀")}, "a\"\\é\n\x00\x1f😀", `"a\"\\é\n\u0000\u001f😀"`},
		{Value{Kind: Text}, "", `""`},
		{Value{Kind: Int, N: math.MinInt64}, "-9223372036854775808", ""},
		{Value{Kind: Uint, N: -1}, "18446744073709551615", ""},
		{float(0.1), "0.1", ""}, {float32of(0.1), "0.1", ""}, {float(float64(float32(0.1))), "0.10000000149011612", ""},
		{float(1e21), "1e+21", ""}, {float(123456789), "123456789", ""}, {float(1e20), "100000000000000000000", ""}, {float(0.000001), "0.000001", ""}, {float(9e-7), "9e-07", ""}, {float(5), "5", ""}, {float(math.Copysign(0, -1)), "-0", ""}, {float(5e-324), "5e-324", ""},
		{float(math.NaN()), "NaN", `"NaN"`}, {float(math.Inf(1)), "Infinity", `"Infinity"`}, {float32of(float32(math.Inf(-1))), "-Infinity", `"-Infinity"`},
		{Value{Kind: Date, N: 0}, "1970-01-01", ""}, {Value{Kind: Date, N: -719162}, "0001-01-01", ""}, {Value{Kind: Date, N: 2932896}, "9999-12-31", ""},
		{Value{Kind: Date, N: -719163}, "!22008", ""}, {Value{Kind: Date, N: 2932897}, "!22008", ""}, {Value{Kind: Date, N: math.MinInt64}, "!22008", ""},
		{Value{Kind: Time, Scale: 6}, "00:00:00", ""}, {Value{Kind: Time, Scale: 6, N: day*1e6 - 1}, "23:59:59.999999", ""}, {Value{Kind: Time, Scale: 6, N: day * 1e6}, "24:00:00", ""},
		{Value{Kind: Time, Scale: 3, N: 45_296_700}, "12:34:56.7", ""}, {Value{Kind: Time, Scale: 9, N: 1}, "00:00:00.000000001", ""}, {Value{Kind: Time, N: 61}, "00:01:01", ""},
		{Value{Kind: Time, Scale: 6, N: day*1e6 + 1}, "!22008", ""}, {Value{Kind: Time, Scale: 6, N: -1}, "!22008", ""},
		{Value{Kind: Timestamp, Scale: 6, N: 1767323045678901}, "2026-01-02T03:04:05.678901", ""},
		{Value{Kind: TimestampTZ, Scale: 3, N: -1}, "1969-12-31T23:59:59.999Z", ""},
		{Value{Kind: Timestamp, Scale: 9, N: math.MaxInt64}, "2262-04-11T23:47:16.854775807", ""},
		{Value{Kind: Timestamp, Scale: 6, N: math.MaxInt64}, "!22008", ""}, {Value{Kind: TimestampTZ, N: math.MinInt64}, "!22008", ""},
		{Value{Kind: Timestamp, Scale: 10}, "!22008", ""}, {Value{Kind: Timestamp, Scale: -1}, "!22008", ""},
		{Value{Kind: Infinity, N: 1}, "infinity", ""}, {Value{Kind: Infinity, N: -1}, "-infinity", ""},
	} {
		got, err := tt.v.AppendText([]byte("<"))
		name := fmt.Sprintf("%+v", tt.v)
		if code, ok := strings.CutPrefix(tt.text, "!"); ok {
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Code != code {
				t.Errorf("%s: got %q, %v, want a refusal %s", name, got, err, code)
			}
			if _, err = tt.v.AppendJSON(nil); !errors.As(err, &refusal) || refusal.Code != code {
				t.Errorf("%s as JSON: got %v, want a refusal %s", name, err, code)
			}
			continue
		}
		if err != nil || string(got) != "<"+tt.text {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tt.text)
		}
		if tt.json == "" {
			tt.json = tt.text
			if tt.v.Kind >= Date {
				tt.json = `"` + tt.text + `"`
			}
		}
		if got, err = tt.v.AppendJSON([]byte("<")); err != nil || string(got) != "<"+tt.json || !json.Valid(got[1:]) {
			t.Errorf("%s as JSON: got %q, %v, want %q", name, got, err, tt.json)
		}
	}
	for v, want := range map[*Value]string{
		{Kind: Null}:                                  "null",
		{Kind: String, Raw: []byte(`"a\n"`)}:          `"a\n"`,
		{Kind: Array, Raw: []byte(`[1, 2]`)}:          `[1, 2]`,
		{Kind: Object, Raw: []byte(`{}`)}:             `{}`,
		{Kind: Bytes, Raw: []byte{0, 255, 1, 2}}:      `"AP8BAg=="`,
		{Kind: Bytes}:                                 `""`,
		{Kind: Text, Raw: []byte("\xff")}:             "!22021",
		{Kind: Text, Raw: []byte("\xed\xa0\x80")}:     "!22021",
		{Kind: Decimal, Scale: 2, Raw: []byte{0}}:     "0.00",
		{Kind: Decimal, Scale: 2}:                     "!22P02",
		{Kind: Decimal, Scale: 9999, Raw: []byte{50}}: "50e-9999",
	} {
		got, err := v.AppendJSON(nil)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			got = []byte("!" + refusal.Code)
		}
		if string(got) != want {
			t.Errorf("%+v as JSON: got %q, %v, want %q", *v, got, err, want)
		}
	}
	for _, kind := range []Kind{Absent, Null, Unavailable, Bytes, String, Object, Array} {
		if _, err := (Value{Kind: kind}).AppendText(nil); err == nil || errors.As(err, new(*Refusal)) {
			t.Errorf("kind %d: got %v, want an error that is not the record's", kind, err)
		}
	}
}

// TestTimes compares random days and moments with package time.
func TestTimes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for day := int64(firstDay); day <= lastDay; day += 1 + r.Int64N(50) {
		if got, err := (Value{Kind: Date, N: day}).AppendText(nil); err != nil || string(got) != time.Unix(day*secondsPerDay, 0).UTC().Format(time.DateOnly) {
			t.Fatalf("day %d: got %s, %v", day, got, err)
		}
	}
	for range 100_000 {
		scale := r.Int32N(10)
		from, to := int64(firstDay)*secondsPerDay, int64(lastDay+1)*secondsPerDay-1
		if limit := math.MaxInt64/powersOfTen[scale] - 1; limit < to {
			from, to = max(from, -limit), limit
		}
		second := from + r.Int64N(to-from)
		rest := r.Int64N(powersOfTen[scale])
		v := Value{Kind: TimestampTZ, Scale: scale, N: second*powersOfTen[scale] + rest}
		want := time.Unix(second, rest*powersOfTen[9-scale]).UTC().Format("2006-01-02T15:04:05.999999999Z")
		if got, err := v.AppendText(nil); err != nil || string(got) != want {
			t.Fatalf("%+v: got %s, %v, want %s", v, got, err, want)
		}
	}
}

// twos is a number in two's complement, with n bytes more than it needs.
func twos(x *big.Int, n int) []byte {
	size := x.BitLen()/8 + 1 + n
	b := new(big.Int).Add(x, new(big.Int).Lsh(big.NewInt(1), uint(8*size))) // modulo 2^(8 size)
	all := b.FillBytes(make([]byte, size+1))
	return all[1:]
}

// TestDecimal compares random decimals with package big: the number is the same, and so are the digits after the point.
func TestDecimal(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100_000 {
		x := new(big.Int)
		for range r.IntN(5) {
			x.Lsh(x, uint(r.IntN(40))).Add(x, big.NewInt(r.Int64N(1<<32)))
		}
		if r.IntN(2) == 0 {
			x.Neg(x)
		}
		v := Value{Kind: Decimal, Scale: r.Int32N(60) - 15, Raw: twos(x, r.IntN(3))}
		if r.IntN(20) == 0 {
			v.Scale *= 100
		}
		got, err := v.AppendText([]byte("<"))
		if err != nil {
			t.Fatalf("%v: %v", v, err)
		}
		text := string(got[1:])
		want := new(big.Rat).SetInt(x)
		power := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(v.Scale, -v.Scale))), nil))
		if v.Scale < 0 {
			want.Mul(want, power)
		} else {
			want.Quo(want, power)
		}
		if have, ok := new(big.Rat).SetString(text); !ok || have.Cmp(want) != 0 {
			t.Fatalf("%s with scale %d, % x: got %s", x, v.Scale, v.Raw, text)
		}
		if !json.Valid(got[1:]) {
			t.Fatalf("%s is no JSON number", text)
		}
		if _, fraction, _ := strings.Cut(text, "."); !strings.Contains(text, "e") && len(fraction) != int(max(v.Scale, 0)) {
			t.Fatalf("%s with scale %d: got %s", x, v.Scale, text)
		}
		if len(text) > writtenOut+80 {
			t.Fatalf("%s with scale %d: got %d characters", x, v.Scale, len(text))
		}
	}
	for _, v := range []Value{
		{Scale: maxFraction + 1, Raw: []byte{1}}, {Scale: -maxWhole, Raw: []byte{1}}, {Raw: bytes.Repeat([]byte{1}, maxBytes+1)}, {Raw: bytes.Repeat([]byte{0x7f}, 54_500)},
		{Scale: math.MinInt32, Raw: []byte{0}}, {Scale: math.MaxInt32, Raw: []byte{0}},
	} {
		v.Kind = Decimal
		var refusal *Refusal
		if got, err := v.AppendText(nil); !errors.As(err, &refusal) || refusal.Code != "22003" || len(got) != 0 {
			t.Errorf("scale %d, %d bytes: got %d characters, %v", v.Scale, len(v.Raw), len(got), err)
		}
	}
}

func BenchmarkText(b *testing.B) {
	for name, v := range map[string]Value{
		"timestamp": {Kind: TimestampTZ, Scale: 6, N: 1767323045678901}, "decimal": {Kind: Decimal, Scale: 2, Raw: []byte{1, 0xe2, 0x40}},
		"decimal38": {Kind: Decimal, Scale: 10, Raw: bytes.Repeat([]byte{0x12}, 16)}, "date": {Kind: Date, N: 20455}, "float": float(1234.5),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				dst, _ = v.AppendText(dst[:0])
			}
		})
	}
}
