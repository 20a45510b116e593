package fields

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

// TestNumbers: of a number that is short enough everybody hears what it is, and of another one nothing, whichever way
// its document was read.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]string{ // n, and how many digits of it are behind the point
		"0": "0 0", "-0": "0 0", "7": "7 0", "-12": "-12 0", "-0.50": "-50 2", "1234.50": "123450 2", "0.000001": "1 6",
		"999999999999999999": "999999999999999999 0", "-99999999999999999.9": "-999999999999999999 1", "0.99999999999999999": "99999999999999999 17",
		"1000000000000000000": "", "9223372036854775807": "", "0.999999999999999999": "", "18446744073709551617": "", "1.00000000000000000000": "",
		"1e3": "", "1.5E-3": "", "-1e+2": "", strings.Repeat("9", 400): "",
	} {
		doc := []byte(`{"a":` + text + `,"b":[` + text + `]}`)
		s, err := New([]string{"a", "b"})
		if err != nil {
			t.Fatal(err)
		}
		quick, slow := make([]event.Value, 2), make([]event.Value, 2)
		if p := (plain{doc: doc, values: quick}); !p.extract(&s.root) {
			t.Errorf("%s is left to the library", text)
		}
		if err := s.extract(doc, slow); err != nil {
			t.Error(err)
		}
		all := []event.Value{quick[0], slow[0], Document([]byte(" " + text))}
		for v := range Elements(quick[1].Raw) {
			all = append(all, v)
		}
		for _, v := range Members(doc) {
			all = append(all, v)
		}
		for i, v := range all[:len(all)-1] { // the last one is the array
			got := ""
			if v.Short {
				got = fmt.Sprint(v.N, v.Scale)
			}
			if got != want || v.Kind != event.Number || string(v.Raw) != text {
				t.Errorf("%s, way %d: got %q, %s, want %q", text, i, got, v.Raw, want)
			}
		}
	}
}

// exactly reports whether what is said of a short number is what it says itself.
func exactly(v event.Value) bool {
	said := new(big.Rat).SetFrac(big.NewInt(v.N), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Scale)), nil))
	itself, ok := new(big.Rat).SetString(string(v.Raw))
	_, fraction, _ := strings.Cut(string(v.Raw), ".")
	return ok && said.Cmp(itself) == 0 && len(fraction) == int(v.Scale)
}
