package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/sink"
)

// richConfig has everything that decides what a record becomes.
func richConfig() sink.Config {
	return sink.Config{
		TimeZone: "Europe/Berlin", Rounding: "refuse",
		Topics: map[string]sink.TopicConfig{"o": {Format: sink.ConnectJSON, Subject: "x"}},
		Tables: []sink.TableConfig{
			{
				Name: "t", Topics: []string{"o", "p"}, Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}, Tombstones: "ignore",
				Columns: map[string]sink.ColumnConfig{"id": {From: "x.id"}, "a": {From: "b", Default: ptrTo("1")}, "v": {From: "v"}, "d": {From: "y.d", Zone: "UTC"}},
				When:    map[string]sink.Condition{"kind": {In: []string{"order"}}}, DeleteWhen: map[string]sink.Condition{"status": {In: []string{"gone"}}}, Otherwise: sink.OtherwiseDelete,
				Truncate: sink.IgnoreTruncates,
			},
			{
				Name: "c", Strategy: sink.Children, Key: []string{"t_id", "no"}, Parent: "t", Each: "items", ParentKey: map[string]string{"t_id": "id"},
			},
		},
	}
}

const richTables = "create table t (id int primary key, v int, a int, d date); create table c (t_id int references t on delete cascade, no int, w int, primary key (t_id, no))"

// Rule 9: a fingerprint is kept in ledgers, so the same mapping has the same one for ever.
func TestFingerprintsStay(t *testing.T) {
	db := newDatabase(t, richTables)
	var got []string
	for _, r := range db.open(richConfig()).Describe() {
		got = append(got, r.Fingerprint)
	}
	if want := []string{"af0d2a848ef16e3b148c96bc", "f417a72bf6f9c213dd3e1be2"}; !slices.Equal(got, want) {
		t.Errorf("fingerprints %q, want %q", got, want)
	}
}

// Rule 9: two mappings differ exactly where their fingerprints do, and may run side by side where a row has the same key in both, and
// the same event wins.
func TestCompareMappings(t *testing.T) {
	db := newDatabase(t, richTables)
	of := func(change func(*sink.Config)) (string, string) {
		cfg := richConfig()
		change(&cfg)
		m := db.open(cfg).Mappings()
		return m[0].Fingerprint + m[2].Fingerprint, m[0].Definition + "\n" + m[2].Definition
	}
	fingerprint, definition := of(func(*sink.Config) {})
	for _, tt := range []struct {
		what   string // differs; of the table, then of its children
		beside bool
		change func(*sink.Config)
	}{
		{"", true, func(*sink.Config) {}},
		{"", true, func(c *sink.Config) { c.Tables[0].NewFields = sink.WarnOfNewFields }},
		{"", true, func(c *sink.Config) { c.Topics["o"] = sink.TopicConfig{Format: sink.ConnectJSON} }},
		{"columns.a", true, func(c *sink.Config) { c.Tables[0].Columns["a"] = sink.ColumnConfig{From: "c"} }},
		{"columns.a", true, func(c *sink.Config) { delete(c.Tables[0].Columns, "a") }},
		{"columns.a columns.d", true, func(c *sink.Config) { delete(c.Tables[0].Columns, "a"); delete(c.Tables[0].Columns, "d") }},
		{"columns.w", true, func(c *sink.Config) { c.Tables[1].Columns = map[string]sink.ColumnConfig{"w": {From: "x"}} }},
		{"when.kind", true, func(c *sink.Config) { c.Tables[0].When["kind"] = sink.Condition{In: []string{"order", "offer"}} }},
		{"when.more", true, func(c *sink.Config) { c.Tables[0].When["more"] = sink.Condition{In: []string{"1"}} }},
		{"columns.id", false, func(c *sink.Config) { delete(c.Tables[0].Columns, "id") }},
		{"columns.v version", false, func(c *sink.Config) {
			c.Tables[0].Version = ""
			c.Tables[0].Columns["v"] = sink.ColumnConfig{From: "w"}
		}},
		{"columns.no", false, func(c *sink.Config) { c.Tables[1].Columns = map[string]sink.ColumnConfig{"no": {From: "n"}} }},
		{"record_key", false, func(c *sink.Config) { c.Tables[0].RecordKey["id"] = "$key_json" }},
		{"tombstones", false, func(c *sink.Config) { c.Tables[0].Tombstones = "" }},
		{"delete_when", false, func(c *sink.Config) { c.Tables[0].DeleteWhen["status"] = sink.Condition{In: []string{"away"}} }},
		{"otherwise", false, func(c *sink.Config) { c.Tables[0].Otherwise = "" }},
		{"truncate", false, func(c *sink.Config) { c.Tables[0].Truncate = "" }},
		{"each", false, func(c *sink.Config) { c.Tables[1].Each = "lines" }},
		{"time_zone time_zone", false, func(c *sink.Config) { c.TimeZone = "UTC" }},
		{"rounding rounding", false, func(c *sink.Config) { c.Rounding = "" }},
		{"topics topics", false, func(c *sink.Config) { c.Topics = nil }},
	} {
		print, now := of(tt.change)
		var what []string
		beside := true
		for i, before := range strings.Split(definition, "\n") {
			d, err := mapping.Compare(before, strings.Split(now, "\n")[i])
			if err != nil {
				t.Fatal(err)
			}
			what = append(what, d.What...)
			beside = beside && d.AtOnce == ""
		}
		if got := strings.Join(what, " "); got != tt.what || beside != tt.beside || (print == fingerprint) != (tt.what == "") {
			t.Errorf("differs in %q, beside %v, the fingerprint is another one: %v; want %q, %v", got, beside, print != fingerprint, tt.what, tt.beside)
		}
	}
	if d, err := mapping.Compare("", definition); err != nil || d.AtOnce == "" {
		t.Errorf("what is not known may run beside: %+v, %v", d, err)
	}
}
