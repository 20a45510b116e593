package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testpg"
)

// An event is about 270 bytes of JSON, and the same every time.
func TestEventIsStable(t *testing.T) {
	e := event{123_456, 1}
	b := e.json(narrow, nil, e.values(narrow, nil))
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil || len(fields) != 9 {
		t.Fatalf("%d fields, %v: %s", len(fields), err, b)
	}
	if len(b) < 250 || len(b) > 290 {
		t.Errorf("%d bytes: %s", len(b), b)
	}
	if got := string(e.json(narrow, nil, e.values(narrow, nil))); got != string(b) {
		t.Errorf("%s, and then %s", b, got)
	}
	if got := len(event{1, 0}.values(wide, nil)); got != 40 {
		t.Errorf("%d columns, want 40", got)
	}
}

// A table with one row changed is told from the topic.
func TestVerify(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testpg.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	a := fresh(0, 500)
	b := updates(a, 1)
	c := mixed(a, 2)
	if _, err := conn.Exec(t.Context(), narrow.create("orders")); err != nil {
		t.Fatal(err)
	}
	for _, l := range []load{a, b, c} {
		apply(t, conn, l.events...)
	}
	if err := verify(t.Context(), conn, narrow, a, b, c); err != nil {
		t.Error(err)
	}
	if _, err := conn.Exec(t.Context(), "update orders set note = note || 'x' where order_id = 77"); err != nil {
		t.Fatal(err)
	}
	if err := verify(t.Context(), conn, narrow, a, b, c); err == nil {
		t.Error("a changed row is not noticed")
	}
}

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }
