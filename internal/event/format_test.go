package event_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/testformat"
)

// headers are those of a test's record.
type headers map[string][]byte

func (h headers) Header(name string) ([]byte, bool) {
	value, ok := h[name]
	return value, ok
}

// registry is where a consumer finds schemas, and how often it was asked.
type registry struct {
	schemas map[string]string
	asked   []string
}

// read reads records as a consumer does: whatever the format, it learns what the plan asks for and reads the record again. The
// values of all records share an arena.
func read(t *testing.T, format event.Format, paths []string, docs [][]byte, all []headers, r *registry) (lines []string) {
	t.Helper()
	plan, err := format.Plan(paths)
	if err != nil {
		t.Fatal(err)
	}
	var arena []byte
	var records [][]event.Value
	for i := 0; i < len(docs); {
		values := make([]event.Value, len(paths))
		err := plan.Read(docs[i], all[i], values, &arena)
		var unknown *event.UnknownSchema
		switch {
		case errors.As(err, &unknown):
			r.asked = append(r.asked, unknown.Ref.String())
			text, ok := r.schemas[unknown.Ref.ID]
			if !ok {
				t.Fatalf("no schema %v", unknown.Ref)
			}
			if err := plan.Learn(unknown.Ref, event.Schema{Text: text}); err != nil {
				t.Fatal(err)
			}
			continue
		case err != nil:
			t.Fatalf("record %d: %v", i, err)
		}
		records = append(records, values)
		i++
	}
	for _, values := range records {
		var line []byte
		for _, v := range values {
			switch v.Kind {
			case event.Absent:
				line = append(line, '-')
			case event.Unavailable:
				line = append(line, '?')
			default:
				if line, err = v.AppendJSON(line); err != nil {
					t.Fatal(err)
				}
			}
			line = append(line, ' ')
		}
		lines = append(lines, string(line[:max(len(line)-1, 0)]))
	}
	return lines
}

// TestSeam reads the same records in two formats by the same code: JSON, and one that has types, withholds
// values and needs schemas.
func TestSeam(t *testing.T) {
	paths := []string{"id", "note", "amount", "at", "b", "p", "p.y", "no.field"}
	r := &registry{schemas: map[string]string{"7": "id:int note:text amount:cents at:millis b:bytes p:point", "8": "id:int at:forever p:point"}}
	rest := "=\x02\xfb\x2e" + "=\x08\x00\x00\x01\x9b\x7c\xa9\x8f\x46" + "=\x02\x00\xff" + "=\x02\x01\x02"
	typed := [][]byte{
		[]byte("\x00\x00\x00\x07" + "=\x01\x05" + "=\x04a\"\xc3\xa9" + rest),
		[]byte("\x00\x00\x00\x08" + "=\x01\x06" + "=\x00" + "=\x02\x03\x04"),
		[]byte("=\x01\x07" + "?" + "0" + "0" + "0" + "0"),
	}
	none := headers{}
	got := read(t, testformat.Format{}, paths, typed, []headers{none, none, {"schema": {0, 0, 0, 7}}}, r)
	want := []string{
		`5 "a\"é" -12.34 "2026-01-02T03:04:05.702Z" "AP8=" {"x":1,"y":2} 2 -`,
		`6 - - "infinity" - {"x":3,"y":4} 4 -`,
		`7 ? null null null null - -`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Join(r.asked, ", ") != "id 7, id 8" {
		t.Errorf("asked for %v, want each schema once", r.asked)
	}

	docs := [][]byte{
		[]byte(`{"id":5,"note":"a\"é","amount":-12.34,"at":"2026-01-02T03:04:05.702Z","b":"AP8=","p":{"x":1,"y":2}}`),
		[]byte(`{"id":6,"at":"infinity","p":{"x":3,"y":4}}`),
		[]byte(`{"id":7,"amount":null,"at":null,"b":null,"p":null}`), // JSON withholds nothing
	}
	r.asked = nil
	want[2] = strings.Replace(want[2], "?", "-", 1)
	if got := read(t, fields.JSON{}, paths, docs, []headers{none, none, none}, r); !slices.Equal(got, want) || r.asked != nil {
		t.Errorf("JSON: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSeamErrors: whose fault an error is can be told.
func TestSeamErrors(t *testing.T) {
	plan, err := testformat.Format{}.Plan([]string{"id"})
	if err != nil {
		t.Fatal(err)
	}
	values, arena := make([]event.Value, 1), []byte(nil)
	record := []byte("\x00\x00\x00\x07=\x01\x05")
	var unknown *event.UnknownSchema
	if err := plan.Read(record, headers{}, values, &arena); !errors.As(err, &unknown) || unknown.Ref != (event.SchemaRef{Space: "id", ID: "7"}) {
		t.Errorf("got %v, want that schema 7 is unknown", err)
	}
	if err := plan.Learn(unknown.Ref, event.Schema{Text: "id"}); err == nil || errors.As(err, new(*event.Refusal)) {
		t.Errorf("a schema that can't be used: got %v, want an error that is no record's", err)
	}
	for range 2 {
		if err := plan.Learn(unknown.Ref, event.Schema{Text: "id:int"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := plan.Read(record, headers{}, values, &arena); err != nil || values[0].N != 5 {
		t.Errorf("got %v, %v", values, err)
	}
	for _, doc := range []string{"", "\x00\x00\x00", "\x00\x00\x00\x07", "\x00\x00\x00\x07=\x02\x05", "\x00\x00\x00\x07x"} {
		var refusal *event.Refusal
		if err := plan.Read([]byte(doc), headers{}, values, &arena); !errors.As(err, &refusal) || refusal.Code != "ONS21" {
			t.Errorf("%q: got %v, want a refusal", doc, err)
		}
	}
}

// TestSeamConcurrent reads while schemas are learned: what was read before stays as it is.
func TestSeamConcurrent(t *testing.T) {
	plan, err := testformat.Format{}.Plan([]string{"id", "p"})
	if err != nil {
		t.Fatal(err)
	}
	const schemas, readers = 50, 4
	var learn sync.Mutex
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			var arena []byte
			var kept []event.Value
			for n := range schemas {
				doc := append([]byte{0, 0, 0, byte(n)}, "=\x01\x05=\x02"+string([]byte{byte(n), 2})...)
				values := make([]event.Value, 2)
				err := plan.Read(doc, headers{}, values, &arena)
				var unknown *event.UnknownSchema
				if errors.As(err, &unknown) {
					learn.Lock()
					err = plan.Learn(unknown.Ref, event.Schema{Text: "id:int p:point"})
					learn.Unlock()
					if err == nil {
						err = plan.Read(doc, headers{}, values, &arena)
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				kept = append(kept, values[1])
			}
			for n, v := range kept {
				if want := fmt.Sprintf(`{"x":%d,"y":2}`, n&0xff); string(v.Raw) != want {
					t.Errorf("got %s, want %s", v.Raw, want)
				}
			}
		})
	}
	wg.Wait()
}
