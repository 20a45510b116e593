package main

import (
	"encoding/json"
	"errors"
	"os"
	"strconv"
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

// In an envelope an event says the same, and its number is the bytes of a decimal.
func TestEnvelopeIsRead(t *testing.T) {
	for cents, want := range map[string]string{"0.00": "AA==", "0.05": "BQ==", "1.27": "fw==", "1.28": "AIA=", "9999.99": "D0I/"} {
		if got := decimal(cents); got != strconv.Quote(want) {
			t.Errorf("%s is %s, want %s", cents, got, want)
		}
	}
	e := event{123_456, 1}
	key, value := e.debezium(narrow, e.values(narrow, nil))
	var k struct{ Payload map[string]int64 }
	var v struct {
		Schema  struct{ Fields []struct{ Field string } }
		Payload struct {
			After  map[string]any
			Source map[string]any
			Op     string
		}
	}
	if err := errors.Join(json.Unmarshal(key, &k), json.Unmarshal(value, &v)); err != nil {
		t.Fatalf("%v: %s %s", err, key, value)
	}
	if k.Payload["order_id"] != e.id || v.Payload.Op != "u" || len(v.Payload.After) != 9 || len(v.Payload.Source) != 16 || len(v.Schema.Fields) != 8 {
		t.Errorf("%s %s", key, value)
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
