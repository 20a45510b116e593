package schemaid

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

type headers map[string]string

func (h headers) Header(name string) ([]byte, bool) {
	v, ok := h[name]
	return []byte(v), ok
}

func unhex(t testing.TB, s string) string {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	guidBytes = "01 89791762 2336 4186 9674 299b90a802e2"
	guid      = "guid 89791762-2336-4186-9674-299b90a802e2"
)

// TestCut: what names a schema, and what is left, or the words of the refusal.
func TestCut(t *testing.T) {
	h := func(pairs ...string) headers {
		m := headers{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = unhex(t, pairs[i+1])
		}
		return m
	}
	for _, tt := range []struct {
		name    string
		doc     string // hex
		headers headers
		key     bool
		want    string // reference, payload, rest and where it was; or the error
	}{
		{"prefix", "00 00000007 02", nil, false, "id 7|02||false"},
		{"the largest", "00 7fffffff", nil, false, "id 2147483647|||false"},
		{"eight bytes", "00 0000000000000009 0a", nil, false, "globalId 9|0a||false"},
		{"GUID", "0201", h("__value_schema_id", guidBytes), false, guid + "|0201||true"},
		{"a header's id", "00 00000007 02", h("__value_schema_id", "00 00000008"), false, "id 8|000000000702||true"},
		{"indexes", "0a", h("__value_schema_id", guidBytes+"0402"), false, guid + "|0a|0402|true"},
		{"a key's", "0a", h("__key_schema_id", "00 00000008 00", "__value_schema_id", guidBytes), true, "id 8|0a|00|true"},
		{"not a key's", "00 00000007 0a", h("__key_schema_id", "00 00000008"), false, "id 7|0a||false"},
		{"an empty payload", "", h("__value_schema_id", guidBytes), false, guid + "|||true"},
		{"Apicurio", "0a", h("apicurio.value.contentId", "0000000000000007", "apicurio.value.globalId", "0000000000000008"), false, "contentId 7|0a||true"},
		{"Apicurio, global", "0a", h("apicurio.key.globalId", "0000000100000000"), true, "globalId 4294967296|0a||true"},
		{"Confluent before Apicurio", "0a", h("apicurio.value.contentId", "0000000000000007", "__value_schema_id", "00 00000008"), false, "id 8|0a||true"},

		{"short header", "00 00000007 02", h("__value_schema_id", "00 0000"), false, "!header __value_schema_id is no schema id: it has 3 bytes, and neither 01 and a GUID nor 00 and four bytes"},
		{"short GUID", "", h("__value_schema_id", "01 000000000000000000000000000000"), false, "!header __value_schema_id is no schema id: it has 16 bytes, and neither"},
		{"empty header", "00 00000007 02", h("__key_schema_id", ""), true, "!header __key_schema_id is no schema id: it has 0 bytes"},
		{"short Apicurio", "", h("apicurio.value.contentId", "07"), false, "!the header of Apicurio's registry with the contentId has 1 bytes"},
		{"Apicurio in JSON", "7b7d", h("apicurio.value.contentId", "0000000000000007", "apicurio.value.encoding", "4a534f4e"), false, "!header apicurio.value.encoding says that it is encoded as JSON"},
		{"nothing", "", nil, false, "!no schema id: there is not a byte"},
		{"too short", "00 000007", nil, false, "!no schema id: a zero byte comes first, and only 3 bytes after it"},
		{"no id", "00 00000000 00", nil, false, "!no schema id: it would be 0"},
		{"Glue", "03 00 000102030405060708090a0b0c0d0e0f 02", nil, false, "!no schema id: it looks like a record of the AWS Glue"},
		{"single object", "c301 0001020304050607 02", nil, false, "!no schema id: it looks like Avro's single object"},
		{"JSON", hex.EncodeToString([]byte(`{"card": "4111"}`)), nil, false, "!no schema id: no zero byte comes first, and no header has one; it looks like a JSON object"},
		{"binary", "02ff", nil, false, "!no schema id: no zero byte comes first, and no header has one; it looks like a binary format"},
	} {
		doc := []byte(unhex(t, tt.doc))
		id, payload, rest, inHeader, err := Cut(doc, tt.headers, tt.key)
		if want, ok := strings.CutPrefix(tt.want, "!"); ok {
			var refusal *event.Refusal
			if !errors.As(err, &refusal) || refusal.Code != "ONS21" || !refusal.Plain || !strings.HasPrefix(refusal.Message, want) {
				t.Errorf("%s: got %v, want a refusal %q", tt.name, err, want)
			} else if strings.Contains(refusal.Message, "card") {
				t.Errorf("%s: the refusal names a field", tt.name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := fmt.Sprintf("%v|%x|%x|%v", id.Ref(), payload, rest, inHeader); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		if again, err := Of(id.Ref()); err != nil || again != id {
			t.Errorf("%s: %v became %v, %v", tt.name, id, again, err)
		}
	}
	for _, ref := range []event.SchemaRef{{}, {Space: "id"}, {Space: "id", ID: "-1"}, {Space: "guid", ID: "7"}, {Space: "other", ID: "7"}, {Space: "guid", ID: "89791762-2336-4186-9674-299b90a802eg"}} {
		if id, err := Of(ref); err == nil {
			t.Errorf("%v became %v", ref, id)
		}
	}
}

// TestCutAllocates: an id costs no memory.
func TestCutAllocates(t *testing.T) {
	doc := []byte(unhex(t, "00 00012345 02"))
	none := headers{}
	var of event.Headers = none
	if n := testing.AllocsPerRun(100, func() { _, _, _, _, _ = Cut(doc, of, false) }); n != 0 {
		t.Errorf("a prefix allocates %v times", n)
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte(unhex(f, "00 00000007 02")), []byte(nil), []byte(nil))
	f.Add([]byte{}, []byte(unhex(f, guidBytes)), []byte(nil))
	f.Fuzz(func(t *testing.T, doc, confluent, apicurio []byte) {
		h := headers{}
		if confluent != nil {
			h["__value_schema_id"] = string(confluent)
		}
		if apicurio != nil {
			h["apicurio.value.globalId"] = string(apicurio)
		}
		id, payload, _, _, err := Cut(doc, h, false)
		if err != nil {
			if !errors.As(err, new(*event.Refusal)) {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if again, err := Of(id.Ref()); err != nil || again != id {
			t.Fatalf("%v became %v, %v", id, again, err)
		}
		if !strings.HasSuffix(string(doc), string(payload)) {
			t.Fatal("the payload is no end of the record")
		}
	})
}
