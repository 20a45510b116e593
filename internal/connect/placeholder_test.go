package connect

import (
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

// TestPlaceholder: each form that a type's placeholder has, and nothing that is near it.
func TestPlaceholder(t *testing.T) {
	p, err := NewPlaceholder(DefaultPlaceholder)
	if err != nil {
		t.Fatal(err)
	}
	const bytesOfIt = "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]"
	for raw, kind := range map[string]event.Kind{
		`"__debezium_unavailable_value"`:                                        event.String,
		`"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="`:                            event.String,
		`"{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}"`: event.String,
		`"b68a35a7-17ad-35b3-af2a-ae46edb4545a"`:                                event.String,
		`__debezium_unavailable_value`:                                          event.Text,
		`{"__debezium_unavailable_value":"__debezium_unavailable_value"}`:       event.Text,
		`["__debezium_unavailable_value"]`:                                      event.Array,
		`["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]`:                          event.Array,
		`["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]`:                              event.Array,
		bytesOfIt: event.Array,
	} {
		v := event.Value{Kind: kind, Raw: []byte(raw)}
		if !p.Is(&v) {
			t.Errorf("%s of kind %d is not seen", raw, kind)
		}
		for _, other := range []string{raw[1:], raw + " ", "x" + raw[1:], ""} {
			if v.Raw = []byte(other); p.Is(&v) {
				t.Errorf("%q of kind %d is taken for it", other, kind)
			}
		}
		if v.Raw = []byte(raw); (*Placeholder)(nil).Is(&v) {
			t.Error("without a placeholder there is one")
		}
		for _, other := range []event.Kind{event.Absent, event.Null, event.Number, event.Bool, event.Decimal, event.Int} {
			if v.Kind = other; p.Is(&v) {
				t.Errorf("%s of kind %d is taken for it", raw, other)
			}
		}
	}
	for kind, raw := range map[event.Kind]string{event.Object: `{"__debezium_unavailable_value":"__debezium_unavailable_value"}`, event.Bytes: DefaultPlaceholder} {
		if !p.Is(&event.Value{Kind: kind, Raw: []byte(raw)}) {
			t.Errorf("%s of kind %d is not seen", raw, kind)
		}
		if p.Is(&event.Value{Kind: kind, Raw: []byte(raw + " ")}) {
			t.Errorf("more than %s of kind %d is taken for it", raw, kind)
		}
	}
	// The numbers of bytes beyond ASCII are negative in Java.
	p, err = NewPlaceholder("hex:C3a9FF")
	if err != nil {
		t.Fatal(err)
	}
	for raw, kind := range map[string]event.Kind{"[-61,-87,-1]": event.Array, "[195,169,255]": event.Array, `"w6n/"`: event.String, "\xc3\xa9\xff": event.Bytes, "\"é\ufffd\"": event.String} {
		if !p.Is(&event.Value{Kind: kind, Raw: []byte(raw)}) {
			t.Errorf("%q of kind %d is not seen", raw, kind)
		}
	}
	for _, bad := range []string{"", "hex:", "hex:0", "hex:xy"} {
		if _, err := NewPlaceholder(bad); err == nil {
			t.Errorf("placeholder %q is taken", bad)
		}
	}
}

// TestPlaceholderSeen: all that a real Debezium wrote for types with TOAST is found.
func TestPlaceholderSeen(t *testing.T) {
	placeholder, _ := NewPlaceholder(DefaultPlaceholder)
	columns := []string{"big", "bigb", "arr", "ia", "ba", "ua", "da", "bya", "bigx", "js", "bign", "id"}
	var paths []string
	for _, c := range columns {
		paths = append(paths, "after."+c)
	}
	got, err := readAll(plans(t, JSON{Placeholder: placeholder}, paths...), envelopes(t, "toast")[0], len(paths))
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range columns {
		want := "?"
		switch c {
		case "bign":
			want = "null" // what Debezium has no placeholder for: nobody can tell it from a null
		case "id":
			want = "1"
		}
		if got[i] != want {
			t.Errorf("%s: got %s, want %s", c, got[i], want)
		}
	}
}
