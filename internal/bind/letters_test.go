package bind

import (
	"bytes"
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// The headers of a dead letter are what the record's were, whatever bytes they have.
func FuzzHeaders(f *testing.F) {
	f.Add("trace", []byte{0, 1}, true, "bad\x00\xff", []byte("x"))
	f.Add("", []byte(nil), false, "ü", []byte{})
	f.Fuzz(func(t *testing.T, name string, value []byte, there bool, other string, more []byte) {
		if !there {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		in := []sink.Header{{Key: name, Value: value}, {Key: other, Value: more}}
		out, err := ReadHeaders([]byte(headersJSON(in)))
		if err != nil || len(out) != len(in) {
			t.Fatalf("%q became %q, %v", in, out, err)
		}
		for i := range in {
			if out[i].Key != in[i].Key || !bytes.Equal(out[i].Value, in[i].Value) || (out[i].Value == nil) != (in[i].Value == nil) {
				t.Errorf("%q became %q", in[i], out[i])
			}
		}
	})
}

// What somebody has written there by hand is an error, not a panic.
func FuzzReadHeaders(f *testing.F) {
	for _, seed := range []string{`[["a","AA=="]]`, `[[null,null,"AA=="]]`, `[[]]`, `[["a"]]`, `[null]`, `{}`, `[["a","%"]]`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = ReadHeaders(text) })
}
