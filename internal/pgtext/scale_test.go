package pgtext

import (
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

func scaled(typ string, kind Kind, scale int32) *Type {
	c := &Type{Kind: kind, Base: typ, Declared: typ, Scaled: true, Scale: scale, Typmod: -1}
	c.Prepare()
	return c
}

// Rule 27: base64 of bytes in two's complement is the number with the column's scale, digit by digit.
func TestRule27Scale(t *testing.T) {
	for _, tt := range []struct {
		c          *Type
		json, want string // a text, or a code
	}{
		{scaled("numeric", KindNumeric, 2), `"BAg="`, "10.32"},
		{scaled("numeric", KindNumeric, 4), `"BAg="`, "0.1032"},
		{scaled("numeric", KindNumeric, 0), `"BAg="`, "1032"},
		{scaled("numeric", KindNumeric, -2), `"BAg="`, "103200"},
		{scaled("numeric", KindNumeric, 2), `"\u0042Ag="`, "10.32"},
		{scaled("numeric", KindNumeric, 2), `"\/\/8="`, "-0.01"},
		{scaled("numeric", KindNumeric, 2), `"AA=="`, "0.00"},
		{scaled("numeric", KindNumeric, 2), `"AH////////////////////8="`, "1701411834604692317316873037158841057.27"},
		{scaled("numeric", KindNumeric, 2), `10.32`, "10.32"}, // as decimal.format=NUMERIC has it
		{scaled("numeric", KindNumeric, 2), `""`, badText},
		{scaled("numeric", KindNumeric, 2), `"BAg"`, badText}, // without its padding, as a number could be
		{scaled("numeric", KindNumeric, 2), `"10.32"`, badText},
		{scaled("numeric", KindNumeric, 2), `"BAh="`, badText}, // bits that no byte has
		{scaled("numeric", KindNumeric, 2), `"BA\ng="`, badText},
		{scaled("numeric", KindNumeric, 2), `true`, badText},
		{scaled("bigint", KindInt, 0), `"BAg="`, "1032"},
		{scaled("bigint", KindInt, 0), `"+A=="`, "-8"},
	} {
		text, r := value(tt.c, tt.json)
		if got := codeOr(text, r); got != tt.want {
			t.Errorf("%s scale %d: %s became %q, want %q", tt.c.Base, tt.c.Scale, tt.json, got, tt.want)
		}
	}
	array := &Type{Kind: KindNumeric, Base: "numeric[]", Array: true, Delimiter: ',', Form: formArray, Parts: []Type{{Kind: KindNumeric, Base: "numeric", Typmod: -1}}, Scaled: true, Scale: 2}
	array.Prepare()
	for json, want := range map[string]string{`["BAg=", null, 7, ["AA=="]]`: `{"10.32",NULL,"7",{"0.00"}}`, `["x"]`: badText, `"{BAg=}"`: badText} {
		text, r := value(array, json)
		if got := codeOr(text, r); got != want {
			t.Errorf("%s became %q, want %q", json, got, want)
		}
	}
	// What the bytes of a format with a schema that says no more are.
	text, r := scaled("numeric", KindNumeric, 2).AppendValue(nil, &event.Value{Kind: event.Bytes, Raw: []byte{4, 8}})
	if got := codeOr(string(text), r); got != "10.32" {
		t.Errorf("bytes became %q", got)
	}
	strict := &Type{Kind: KindNumeric, Base: "numeric", Typmod: 12<<16 + 1 + 4, Strict: true, Scaled: true, Scale: 2}
	strict.Prepare()
	for json, want := range map[string]string{`"BAg="`: "22003", `"BAY="`: "10.30"} {
		text, r := value(strict, json)
		if got := codeOr(text, r); got != want {
			t.Errorf("rounding refused: %s became %q, want %q", json, got, want)
		}
	}
}

func codeOr(text string, r *Refusal) string {
	if r != nil {
		return r.Code
	}
	return text
}

// No memory is taken for a decimal.
func TestScaleAllocates(t *testing.T) {
	c := scaled("numeric", KindNumeric, 2)
	dst := make([]byte, 0, 64)
	v := &event.Value{Kind: event.String, Raw: []byte(`"BAg="`)}
	if n := testing.AllocsPerRun(100, func() { dst, _ = c.AppendValue(dst[:0], v) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzScale: any whole number comes back from its bytes, with the point where the scale says; no text panics, and none that is no
// base64 is a number.
func FuzzScale(f *testing.F) {
	f.Add([]byte{4, 8}, int32(2))
	f.Add([]byte{0xff, 0xff}, int32(0))
	f.Add([]byte{}, int32(-1000))
	f.Add([]byte("\x80\x00\x00\x00\x00\x00\x00\x00\x00"), int32(1000))
	f.Fuzz(func(t *testing.T, b []byte, scale int32) {
		scale %= 1001
		c := scaled("numeric", KindNumeric, scale)
		if strings.IndexFunc(string(b), func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) < 0 {
			_, err := base64.StdEncoding.Strict().DecodeString(string(b))
			text, r := value(c, `"`+string(b)+`"`)
			if r == nil && err != nil {
				t.Fatalf("%q became %s", b, text)
			}
		}
		dst, r := c.AppendValue([]byte("before"), &event.Value{Kind: event.String, Raw: []byte(`"` + base64.StdEncoding.EncodeToString(b) + `"`)})
		if r != nil {
			if len(b) > 0 && len(b) < 1000 {
				t.Fatalf("%x: %s", b, r.Message)
			}
			return
		}
		text, ok := strings.CutPrefix(string(dst), "before")
		got, isNumber := new(big.Rat).SetString(text)
		n := new(big.Int).SetBytes(b)
		if b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, -scale))), nil)
		want := new(big.Rat).SetFrac(n, power)
		if scale < 0 {
			want = new(big.Rat).SetInt(n.Mul(n, power))
		}
		if !ok || !isNumber || got.Cmp(want) != 0 {
			t.Fatalf("%x with scale %d became %q", b, scale, dst)
		}
	})
}
