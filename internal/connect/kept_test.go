package connect

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

// TestManySchemas: schemas that alternate are all kept, up to a bound, and readers of one plan do not disturb each other.
func TestManySchemas(t *testing.T) {
	p := plans(t, JSON{}, "d").(*plan)
	doc := func(n int) string {
		return fmt.Sprintf(`{"schema":{"type":"struct","fields":[{"type":"int32","name":"io.debezium.time.Date","field":"d"},{"type":"string","field":"f%d"}]},"payload":{"d":%d}}`, n, n%365)
	}
	var wg sync.WaitGroup
	for reader := range 4 {
		wg.Go(func() {
			values, arena := make([]event.Value, 1), []byte(nil)
			for n := range 3 * maxSchemas {
				n = (n * (2*reader + 1)) % (2 * maxSchemas)
				if err := p.Read([]byte(doc(n)), none{}, values, &arena); err != nil || values[0].Kind != event.Date || values[0].N != int64(n%365) {
					t.Errorf("schema %d: got %s, %v", n, say(values[0]), err)
				}
			}
		})
	}
	wg.Wait()
	list := *p.schemas.Load()
	if len(list) != maxSchemas {
		t.Errorf("%d schemas are kept, want %d", len(list), maxSchemas)
	}
	texts := map[string]bool{}
	for _, c := range list {
		texts[string(c.text)] = true
	}
	if len(texts) != len(list) {
		t.Errorf("of %d schemas %d are different", len(list), len(texts))
	}
	long := strings.Replace(doc(1), `"f1"`, `"`+strings.Repeat("x", maxSchemaText)+`"`, 1)
	if got, err := readAll(p, long, 1); err != nil || got[0] != "date 1970-01-02" {
		t.Errorf("a long schema: got %s, %v", got, err)
	}
	for _, c := range *p.schemas.Load() {
		if len(c.text) > maxSchemaText {
			t.Error("a long schema is kept")
		}
	}
}

// TestNothingAllocated: in the steady state a record costs no memory.
func TestNothingAllocated(t *testing.T) {
	placeholder, _ := NewPlaceholder(DefaultPlaceholder)
	var paths []string
	for _, c := range columns {
		paths = append(paths, "after."+c)
	}
	for _, form := range []string{"plain", "schema"} {
		p := plans(t, JSON{Placeholder: placeholder}, paths...)
		doc := []byte(envelopes(t, form)[1])
		values, arena := make([]event.Value, len(paths)), make([]byte, 0, 1<<14)
		read := func() {
			arena = arena[:0]
			if err := p.Read(doc, none{}, values, &arena); err != nil {
				t.Fatal(err)
			}
		}
		read()
		if n := testing.AllocsPerRun(100, read); n != 0 {
			t.Errorf("%s: %v allocations", form, n)
		}
	}
}

// TestMemoryOfDocuments: a schema that is kept is none of its document's memory, which is used again.
func TestMemoryOfDocuments(t *testing.T) {
	p := plans(t, JSON{}, "d")
	const doc = `{"schema":{"type":"struct","fields":[{"type":"int32","name":"io.debezium.time.Date","field":"d"}]},"payload":{"d":1}}`
	memory := []byte(doc)
	values, arena := make([]event.Value, 1), []byte(nil)
	for range 2 {
		if err := p.Read(memory, none{}, values, &arena); err != nil || say(values[0]) != "date 1970-01-02" {
			t.Errorf("got %s, %v", say(values[0]), err)
		}
		copy(memory, strings.Repeat("x", len(doc)))
		if list := *p.(*plan).schemas.Load(); len(list) != 1 || !strings.Contains(doc, string(list[0].text)) {
			t.Errorf("%d schemas are kept, the first is %s", len(list), list[0].text)
		}
		copy(memory, doc)
	}
}
