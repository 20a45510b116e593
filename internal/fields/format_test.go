package fields

import (
	"errors"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

// TestJSON: JSON behind the seam of formats.
func TestJSON(t *testing.T) {
	plan, err := JSON{}.Plan([]string{"a.b", "", "a", event.SchemaName})
	if err != nil {
		t.Fatal(err)
	}
	values, arena := make([]event.Value, 4), []byte("kept")
	for doc, want := range map[string]string{
		` {"a":{"b":1}} `:          `3:1|5:{"a":{"b":1}}|5:{"b":1}|-`,
		`{"\u0061":{"b":"\n"}}`:    `4:"\n"|5:{"\u0061":{"b":"\n"}}|5:{"b":"\n"}|-`,
		` "ann" `:                  `-|4:"ann"|-|-`,
		`{".schema":1,"\u00ff":2}`: `-|5:{".schema":1,"\u00ff":2}|-|-`,
		`null`:                     `-|1:null|-|-`,
	} {
		if err := plan.Read([]byte(doc), nil, values, &arena); err != nil || render(values) != want {
			t.Errorf("%s: got %s, %v, want %s", doc, render(values), err, want)
		}
	}
	if string(arena) != "kept" {
		t.Errorf("the arena is %q", arena)
	}
	if _, err := (JSON{}).Plan([]string{"a..b"}); err == nil {
		t.Error("an empty name is no error")
	}
	if err := plan.Learn(event.SchemaRef{Space: "id", ID: "1"}, event.Schema{}); err == nil {
		t.Error("a schema is learned")
	}
}

// TestRefusals: what PostgreSQL would say of a document is what the record is refused with.
func TestRefusals(t *testing.T) {
	plan, err := JSON{}.Plan([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	for doc, code := range map[string]string{
		``:                              "22P02",
		`{"a":1`:                        "22P02",
		`{"a":'1'}`:                     "22P02",
		`{"a":"\ud800"}`:                "22021",
		"{\"a\":\"\xff\"}":              "22021",
		`{"a":1,"a":1}`:                 "22030",
		strings.Repeat(`{"a":`, 20_000): "54001",
	} {
		err := plan.Read([]byte(doc), nil, make([]event.Value, 1), nil)
		var refusal *event.Refusal
		if !errors.As(err, &refusal) || refusal.Code != code || refusal.Message == "" {
			t.Errorf("%.20s: got %v, want code %s", doc, err, code)
		}
	}
}
