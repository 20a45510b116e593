package engine

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/sink"
)

// roundingCases are values of which some have more digits than the column keeps. With rounding: allow the first
// result, with refuse the second.
var roundingCases = []struct{ typ, value, allowed, refused string }{
	{"numeric(12,2)", `19.99`, "19.99", "19.99"},
	{"numeric(12,2)", `19.990`, "19.99", "19.99"},
	{"numeric(12,2)", `19.999`, "20.00", "!22003"},
	{"numeric(12,2)", `"19.999"`, "20.00", "!22003"},
	{"numeric(12,2)", `" -19.999 "`, "-20.00", "!22003"},
	{"numeric(12,2)", `1.9999e1`, "20.00", "!22003"},
	{"numeric(12,2)", `"1.9999E+1"`, "20.00", "!22003"},
	{"numeric(12,2)", `1.999e1`, "19.99", "19.99"},
	{"numeric(12,2)", `19999e-3`, "20.00", "!22003"},
	{"numeric(12,2)", `0.004`, "0.00", "!22003"},
	{"numeric(12,2)", `1e-400`, "0.00", "!22003"},
	{"numeric(12,2)", `1e-401`, "0.00", "!22003"},
	{"numeric(12,2)", `0e-500`, "0.00", "!22003"}, // is not counted
	{"numeric(12,2)", `1e2`, "100.00", "100.00"},
	{"numeric(12,2)", `"NaN"`, "NaN", "NaN"},
	{"numeric(12,2)", `"x"`, "!22P02", "!22P02"},
	{"numeric(12,2)", `12345678901`, "!22003", "!22003"},
	{"numeric(3,-2)", `1250`, "1300", "!22003"},
	{"numeric(3,-2)", `1200`, "1200", "1200"},
	{"numeric(3,-2)", `12e2`, "1200", "1200"},
	{"numeric(3,5)", `0.001234`, "0.00123", "!22003"},
	{"numeric(3,5)", `0.00123`, "0.00123", "0.00123"},
	{"numeric(4)", `1.5`, "2", "!22003"},
	{"numeric", `1.123456789012345678901234567890`, "1.123456789012345678901234567890", "1.123456789012345678901234567890"},
	{"price", `19.999`, "20.00", "!22003"},
	{"price", `19.99`, "19.99", "19.99"},
	{"numeric(6,2)[]", `[1, 1.255]`, "{1.00,1.26}", "!22003"},
	{"numeric(6,2)[]", `[["1.25"],["1.255"]]`, "{{1.25},{1.26}}", "!22003"},
	{"numeric(6,2)[]", `"{1.255}"`, "{1.26}", "!22003"},
	{"price[]", `[1.255]`, "{1.26}", "!22003"},
	{"priced", `"(x,1.255)"`, "(x,1.26)", "!22003"},
	{"priced", `"(x,1.25)"`, "(x,1.25)", "(x,1.25)"},
	{"pricerange", `"[1.255,2)"`, "[1.26,2.00)", "!22003"},
	{"timestamptz", `"2026-01-02T03:04:05.123456Z"`, "2026-01-02 03:04:05.123456+00", "2026-01-02 03:04:05.123456+00"},
	{"timestamptz", `"2026-01-02T03:04:05.1234560000Z"`, "2026-01-02 03:04:05.123456+00", "2026-01-02 03:04:05.123456+00"},
	{"timestamptz", `"2026-01-02T03:04:05.1234567Z"`, "2026-01-02 03:04:05.123457+00", "!22008"},
	{"timestamptz", `"Jan 2 2026 03:04:05.1234567 UTC"`, "2026-01-02 03:04:05.123457+00", "!22008"},
	{"timestamptz(0)", `"2026-01-02T03:04:05.5Z"`, "2026-01-02 03:04:06+00", "!22008"},
	{"timestamptz(0)", `"2026-01-02T03:04:05.0Z"`, "2026-01-02 03:04:05+00", "2026-01-02 03:04:05+00"},
	{"timestamp(3)", `"2026-01-02 03:04:05.1235"`, "2026-01-02 03:04:05.124", "!22008"},
	{"timestamp(3)", `"J2461043 03:04:05.1235"`, "2026-01-02 03:04:05.124", "!22008"},
	{"timestamp(3)[]", `["2026-01-02 03:04:05.1235"]`, `{"2026-01-02 03:04:05.124"}`, "!22008"},
	{"time(1)", `"03:04:05.25"`, "03:04:05.3", "!22008"},
	{"time(1)", `"03:04:05.2"`, "03:04:05.2", "03:04:05.2"},
	{"timetz(1)", `"03:04:05.25+01"`, "03:04:05.3+01", "!22008"},
	{"double precision", `0.1234567890123456789`, "0.12345678901234568", "0.12345678901234568"},
	{"real", `"0.123456789"`, "0.12345679", "0.12345679"},
	{"text", `0.1234567890123456789`, "0.1234567890123456789", "0.1234567890123456789"},
}

// Rule 27: what a column would round is rounded, or refused, as the configuration says, of a column and of all.
func TestRule27Rounding(t *testing.T) {
	var allowed, refused []valueCase
	for _, c := range roundingCases {
		none, other := sink.ColumnConfig{}, sink.ColumnConfig{From: "v"}
		allowed = append(allowed, valueCase{c.typ, none, c.value, c.allowed})
		refused = append(refused, valueCase{c.typ, none, c.value, c.refused})
		if c.typ == "text" || c.typ == "real" || c.typ == "double precision" {
			continue
		}
		other.Rounding = pgtext.RoundingAllow
		refused = append(refused, valueCase{c.typ, other, c.value, c.allowed})
		other.Rounding = pgtext.RoundingRefuse
		allowed = append(allowed, valueCase{c.typ, other, c.value, c.refused})
	}
	for _, c := range []struct {
		typ, unit, value, allowed, refused string
	}{
		{"timestamptz", "ns", `1705310101123456789`, "2024-01-15 09:15:01.123457+00", "!22008"},
		{"timestamptz", "ns", `1705310101123456000`, "2024-01-15 09:15:01.123456+00", "2024-01-15 09:15:01.123456+00"},
		{"timestamptz(0)", "ms", `1705310101500`, "2024-01-15 09:15:02+00", "!22008"},
		{"timestamptz(0)", "ms", `"1705310101000"`, "2024-01-15 09:15:01+00", "2024-01-15 09:15:01+00"},
		{"time(0)", "ms", `1500`, "00:00:02", "!22008"},
		{"interval", "ns", `1500`, "00:00:00.000002", "!22008"},
	} {
		with := sink.ColumnConfig{Unit: c.unit}
		allowed = append(allowed, valueCase{c.typ, with, c.value, c.allowed})
		refused = append(refused, valueCase{c.typ, with, c.value, c.refused})
	}
	// The record's own time has milliseconds, and 123 of them.
	stamp := sink.ColumnConfig{From: "$timestamp"}
	allowed = append(allowed, valueCase{"timestamptz(2)", stamp, `0`, "2026-01-02 00:00:00.12+00"})
	refused = append(refused, valueCase{"timestamptz(2)", stamp, `0`, "!22008"}, valueCase{"timestamptz(3)", stamp, `0`, "2026-01-02 00:00:00.123+00"})
	t.Run("allow", func(t *testing.T) { checkValues(t, sink.Config{Rounding: pgtext.RoundingAllow}, allowed) })
	t.Run("refuse", func(t *testing.T) { checkValues(t, sink.Config{Rounding: pgtext.RoundingRefuse}, refused) })
}

// The fingerprint of a mapping changes with its rounding, and only then.
func TestRoundingFingerprint(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, n numeric(6,2))")
	of := func(rounding, column string) string {
		columns := map[string]sink.ColumnConfig{}
		if column != "" {
			columns["n"] = sink.ColumnConfig{Rounding: column}
		}
		e := db.open(sink.Config{Rounding: rounding, Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Columns: columns}}})
		return e.Describe()[0].Fingerprint
	}
	none, strict := of("", ""), of("refuse", "")
	if none == strict || of("allow", "") != none || of("", "allow") != none || of("refuse", "refuse") != strict {
		t.Error("what says the same has another fingerprint")
	}
	if one, but := of("", "refuse"), of("refuse", "allow"); one == none || one == strict || but == none || but == strict {
		t.Error("what says something else has the same fingerprint")
	}
}

func TestCheckRefusesRounding(t *testing.T) {
	db := newDatabase(t, "create table c (id int primary key, n numeric, f real, tx text, i interval)")
	for column, want := range map[string]string{"f": "rounding is for numeric", "tx": "rounding is for numeric", "i": "rounding is for numeric"} {
		err := db.openErr("c", sink.TableConfig{Key: []string{"id"}, Guard: "none", Columns: map[string]sink.ColumnConfig{column: {Rounding: "refuse"}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", column, err, want)
		}
	}
	if err := db.openErr("c", sink.TableConfig{Key: []string{"id"}, Guard: "none", Columns: map[string]sink.ColumnConfig{"n": {Rounding: "up"}}}); err == nil || !strings.Contains(err.Error(), `rounding "up" must be allow or refuse`) {
		t.Errorf("got %v", err)
	}
}
