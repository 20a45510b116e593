package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// logged is a log that goroutines write to.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// adds adds records that follow each other, and returns how many were taken, and which fields are new in the next one.
func (e *engine) adds(p *decode.Part, records ...sink.Record) (int, *decode.NewFields) {
	e.t.Helper()
	n, err := e.Add(p, records...)
	var news *decode.NewFields
	if err != nil && !errors.As(err, &news) {
		e.t.Fatal(err)
	}
	return n, news
}

// settles asks until something was done about new fields.
func (e *engine) settles(news *decode.NewFields) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := e.Settle(ctx, news)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			e.t.Fatalf("it is not settled: %v", err)
		}
	}
}

// held asks once, and returns why records wait.
func (e *engine) held(news *decode.NewFields) string {
	e.t.Helper()
	err := e.Settle(e.t.Context(), news)
	if err == nil {
		e.t.Fatal("it is settled")
	}
	return err.Error()
}

func events(from int64, values ...string) (out []sink.Record) {
	for i, v := range values {
		out = append(out, incoming("o", from+int64(i), "", v))
	}
	return out
}

// Rule 34: what has a new field waits until there is a column for it, or somebody wants none. What came before is written.
func TestNewFieldIsHeld(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, v text)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: sink.HoldNewFields,
		RecordKey: map[string]string{"id": "$key"}, IgnoreFields: []string{"noise"}}}})
	p := &decode.Part{Claim: e.claim("o", 0)}
	records := events(0, `{"id": 1, "v": "a", "noise": 1}`, `{"id": 2, "v": "b", "more": 7, "and": {"x": 1}}`, `{"id": 3, "v": "c"}`)
	n, news := e.adds(p, records...)
	if n != 1 || news == nil || news.Names() != `fields "more", "and"` {
		t.Fatalf("%d records were taken, new: %v", n, news)
	}
	e.write(p)
	db.Want("1|a", "select id, v from m")
	for range 2 {
		got := e.held(news)
		want := `no columns take them (new_fields: hold): "more": the record has no schema that says a type: alter table public.m add column if not exists more TYPE, ` +
			`add column if not exists "and" TYPE; or select oncesink.ignore_field('public.m', 'more') and so on, to go on without`
		if got != want {
			t.Fatalf("got %s\nwant %s", got, want)
		}
	}
	db.Want("and|o|f\nmore|o|f", "select field, topic, ignored from oncesink.new_fields order by field")
	db.Do("alter table m add more int")
	db.Do("select oncesink.ignore_field('m', 'and')")
	e.settles(news)
	p = &decode.Part{Claim: e.claims[offsets.Partition{Topic: "o"}]}
	if n, news = e.adds(p, records[1:]...); n != 2 || news != nil {
		t.Fatalf("%d records were taken, new: %v", n, news)
	}
	e.write(p)
	db.Want("1|a|-\n2|b|7\n3|c|-", "select id, v, more from m order by id")
	// What is ignored is so for who comes later.
	again := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: sink.HoldNewFields}}})
	if n, news = again.adds(&decode.Part{}, events(9, `{"id": 4, "and": 1}`)...); n != 1 || news != nil {
		t.Fatalf("%d records were taken, new: %v", n, news)
	}
	if _, err := db.Exec(t.Context(), "select oncesink.ignore_field('nothing', 'x')"); err == nil || !strings.Contains(err.Error(), "there is no table nothing") {
		t.Errorf("of a table that is not there: %v", err)
	}
}

// Records that were decoded while there was a column are looked at again when it is gone.
func TestNewFieldByADroppedColumn(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, v text, more int)")
	log := &logged{}
	for policy, want := range map[sink.NewFields]string{sink.HoldNewFields: "", sink.WarnOfNewFields: "1|a"} {
		db.Do("delete from m")
		db.Do("alter table m add if not exists more int")
		e := db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: policy}}})
		p := &decode.Part{Claim: e.claim("o", 0)}
		p.Claim.Position.Next = max(p.Claim.Position.Next, 0)
		if n, news := e.adds(p, events(p.Claim.Position.Next, `{"id": 1, "v": "a", "more": 7}`)...); n != 1 || news != nil {
			t.Fatalf("%d records were taken, new: %v", n, news)
		}
		db.Do("alter table m drop more")
		var news *decode.NewFields
		out := e.Write(t.Context(), []*decode.Part{p})
		if held := errors.As(out[0].Err, &news); held != (want == "") || out[0].Err != nil && !held {
			t.Errorf("%s: got %v", policy, out[0].Err)
		}
		db.Want(want, "select id, v from m")
	}
	if n := log.count("events have a field that no column takes"); n != 1 {
		t.Errorf("it was told %d times", n)
	}
}

// Records that were decoded with a column join those that were decoded without it: all are written as the table is by then.
func TestNewFieldInAJoinedPart(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, v text)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: sink.HoldNewFields}}})
	joined := func(from int64) *decode.Part {
		t.Helper()
		p, q := &decode.Part{Claim: e.claim("o", 0)}, &decode.Part{}
		records := events(from, `{"id": 1, "v": "a"}`, `{"id": 2, "v": "b", "more": 7}`)
		n, news := e.adds(p, records...)
		if n != 1 || news == nil {
			t.Fatalf("%d records were taken, new: %v", n, news)
		}
		db.Do("alter table m add more int")
		e.settles(news)
		if n, news = e.adds(q, records[1:]...); n != 1 || news != nil {
			t.Fatalf("%d records were taken, new: %v", n, news)
		}
		if err := p.Append(q); err != nil {
			t.Fatal(err)
		}
		return p
	}
	e.write(joined(0))
	db.Want("1|a|-\n2|b|7", "select id, v, more from m order by id")
	db.Do("delete from m")
	drop := func() {
		t.Helper()
		db.Do("alter table m drop more")
		if _, err := e.recompile(t.Context(), e.plan()); err != nil {
			t.Fatal(err)
		}
	}
	drop()
	p := joined(2)
	drop()
	var news *decode.NewFields
	if out := e.Write(t.Context(), []*decode.Part{p}); !errors.As(out[0].Err, &news) {
		t.Errorf("got %v, want that there is no column any more", out[0].Err)
	}
	db.Want("", "select id, v from m")
}

// It is told once, and noted, and the records are written without.
func TestNewFieldIsTold(t *testing.T) {
	db := newDatabase(t, "create table m (id int primary key, v text)")
	log := &logged{}
	e := db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(log, nil)), Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: sink.WarnOfNewFields}}})
	p := &decode.Part{Claim: e.claim("o", 0)}
	for records := events(0, `{"id": 1, "more": 1}`, `{"id": 2, "more": 2, "other": 3}`, `{"id": 3, "other": 4}`); len(records) > 0; {
		n, news := e.adds(p, records...)
		if records = records[n:]; news != nil {
			if err := e.Settle(t.Context(), news); err != nil {
				t.Fatal(err)
			}
		}
	}
	e.write(p)
	db.Want("1\n2\n3", "select id from m order by id")
	if n := log.count("field=more") + log.count("field=other"); n != 2 {
		t.Errorf("the fields were told of %d times", n)
	}
	db.Want("more|alter table public.m add column if not exists more TYPE\nother|alter table public.m add column if not exists other TYPE",
		"select field, remedy from oncesink.new_fields order by 1")
	// A map has no end of names: from some number on nobody is told.
	for i := range 1100 {
		if _, news := e.adds(&decode.Part{}, events(9, fmt.Sprintf(`{"id": 1, "f%d": 1}`, i))...); news != nil {
			if err := e.Settle(t.Context(), news); err != nil {
				t.Fatal(err)
			}
		} else if i < 990 {
			t.Fatalf("field %d was not told of", i)
		} else {
			return
		}
	}
	t.Error("there is no end of what is told")
}

const (
	avroV1 = `{"type":"record","name":"E","fields":[{"name":"id","type":"int"},{"name":"v","type":"string"}]}`
	avroV2 = `{"type":"record","name":"E","fields":[{"name":"id","type":"int"},{"name":"v","type":"string"},{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},` +
		`{"name":"sum","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}`
	avroV3 = `{"type":"record","name":"E","fields":[{"name":"id","type":"int"},{"name":"v","type":"string"},{"name":"any","type":["string","int"]}]}`
)

// Which fields are new to a table: those of the row that its columns, its children, its expressions and its conditions don't take, in events that write one.
func TestWhichFieldsAreNew(t *testing.T) {
	if onRoute() {
		return
	}
	db := newDatabase(t, "create table m (id int primary key, v text, n int, x int)", "create table c (id int, pos int, sku text, by text, primary key (id, pos))")
	columns := func(c map[string]sink.ColumnConfig) func(*sink.TableConfig, *sink.Config) {
		return func(t *sink.TableConfig, _ *sink.Config) { t.Columns = c }
	}
	topic := func(how sink.TopicConfig) func(*sink.TableConfig, *sink.Config) {
		return func(_ *sink.TableConfig, c *sink.Config) { c.Topics = map[string]sink.TopicConfig{"o": how} }
	}
	const connectSchema = `{"schema":{"type":"struct","fields":[{"field":"id","type":"int32"},{"field":"a.b","type":"int32"},{"field":"__op","type":"string"}]},"payload":%s}`
	const change = `{"schema":{"type":"struct","fields":[{"field":"op","type":"string"},{"field":"after","type":"struct","fields":[{"field":"id","type":"int32"},{"field":"z","type":"int32"}]}]},"payload":%s}`
	for _, tt := range []struct {
		name   string
		change func(*sink.TableConfig, *sink.Config)
		value  string
		want   string
	}{
		{"none", nil, `{"id": 1, "v": null, "n": 1}`, ""},
		{"by its name as it is", nil, `{"id": 1, "V": null}`, `field "V"`},
		{"in another place", nil, `{"id": 1, "v": {"new": 1}}`, ""},
		{"of a path", columns(map[string]sink.ColumnConfig{"v": {From: "a.b"}}), `{"id": 1, "a": {"c": 1}, "v": 1}`, `field "v"`},
		{"with a dot", columns(map[string]sink.ColumnConfig{"v": {From: `a\.b`}}), `{"id": 1, "a.b": 1, "a": 1}`, `field "a"`},
		{"escaped", nil, `{"id": 1, "\u0076": 1, "\u0077": 1}`, `field "w"`},
		{"an input", columns(map[string]sink.ColumnConfig{"x": {SQL: "f + 1", Inputs: map[string]sink.InputConfig{"f": {From: "deep.f", Type: "int"}}}}), `{"id": 1, "deep": {"f": 1}, "f": 1}`, `field "f"`},
		{"beside the whole", columns(map[string]sink.ColumnConfig{"v": {From: "$value"}}), `{"id": 1, "new": 1}`, ""},
		{"of conditions", func(t *sink.TableConfig, _ *sink.Config) {
			t.When, t.DeleteWhen = map[string]sink.Condition{"kind": {In: []string{"m"}}}, map[string]sink.Condition{"gone": {In: []string{"true"}}}
		}, `{"id": 1, "kind": "m", "gone": false}`, ""},
		{"of a row that conditions delete", func(t *sink.TableConfig, _ *sink.Config) {
			t.DeleteWhen = map[string]sink.Condition{"gone": {In: []string{"true"}}}
		}, `{"id": 1, "gone": true, "new": 1}`, ""},
		{"of another table", func(t *sink.TableConfig, _ *sink.Config) {
			t.When = map[string]sink.Condition{"kind": {In: []string{"m"}}}
		}, `{"id": 1, "kind": "n", "new": 1}`, ""},
		{"of children", func(t *sink.TableConfig, c *sink.Config) {
			c.Tables = append(c.Tables, sink.TableConfig{Name: "c", Strategy: sink.Children, Parent: "m", Each: "lines.all", Key: []string{"id", "pos"},
				Columns: map[string]sink.ColumnConfig{"pos": {From: "$index"}, "by": {From: "$event.by"}}})
		}, `{"id": 1, "lines": {"all": [{"sku": "a", "more": 1}]}, "by": "x", "new": 1}`, `field "new"`},
		{"of an envelope", topic(sink.TopicConfig{Format: sink.JSON, Envelope: &sink.Envelope{After: "row", Op: "op", Delete: []string{"d"}}}), `{"op": "u", "ts": 1, "row": {"id": 1, "new": 1}}`, `field "new"`},
		{"of a row that is gone", topic(sink.TopicConfig{Format: sink.JSON, Envelope: &sink.Envelope{After: "row", Op: "op", Delete: []string{"d"}}}), `{"op": "d", "row": {"id": 1, "new": 1}}`, ""},
		{"of an envelope that is the row", topic(sink.TopicConfig{Format: sink.JSON, Envelope: &sink.Envelope{Op: "op", Delete: []string{"d"}}}), `{"op": "u", "id": 1, "new": 1}`, `field "new"`},
		{"of a schema", topic(sink.TopicConfig{Format: sink.ConnectJSON}), fmt.Sprintf(connectSchema, `{"id": 1}`), `fields "a.b", "__op"`},
		{"beside a null schema", topic(sink.TopicConfig{Format: sink.ConnectJSON}), `{"schema": null, "payload": {"id": 1, "new": 1}}`, `field "new"`},
		{"without a schema", topic(sink.TopicConfig{Format: sink.ConnectJSON}), `{"id": 1, "new": 1}`, `field "new"`},
		{"of a null", topic(sink.TopicConfig{Format: sink.ConnectJSON}), `{"schema": null, "payload": null}`, ""},
		{"flattened", topic(sink.TopicConfig{Envelope: sink.Flattened()}), fmt.Sprintf(connectSchema, `{"id": 1, "__deleted": "false"}`), `field "a.b"`},
		{"flattened, without a schema", topic(sink.TopicConfig{Envelope: sink.Flattened()}), `{"id": 1, "__deleted": "false", "b": 1}`, `field "b"`},
		{"of Debezium", topic(sink.TopicConfig{Envelope: sink.Debezium()}), fmt.Sprintf(change, `{"op": "c", "after": {"id": 1, "z": 2}}`), `field "z"`},
		{"of Debezium, without a schema", topic(sink.TopicConfig{Envelope: sink.Debezium()}), `{"op": "c", "after": {"id": 1, "z": 2}}`, `field "z"`},
		{"of Debezium, deleted", topic(sink.TopicConfig{Envelope: sink.Debezium()}), fmt.Sprintf(change, `{"op": "d", "after": null, "before": {"id": 1}}`), ""},
		{"in the schema alone", topic(sink.TopicConfig{Envelope: sink.Debezium()}), fmt.Sprintf(change, `{"op": "c", "after": {"id": 1}}`), `field "z"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := sink.Config{Tables: []sink.TableConfig{{Name: "m", Topics: []string{"o"}, Key: []string{"id"}, NewFields: sink.HoldNewFields}}}
			if tt.change != nil {
				tt.change(&cfg.Tables[0], &cfg)
			}
			e := db.open(cfg)
			for range 2 { // the second time the schema is known
				p := &decode.Part{}
				_, news := e.adds(p, incoming("o", 0, "", tt.value))
				got := ""
				if news != nil {
					got = news.Names()
				}
				if got != tt.want || len(p.Faults) > 0 && p.Faults[0].Code != "23502" {
					t.Fatalf("got %s, faults %v; want %s", got, p.Faults, tt.want)
				}
			}
		})
	}
}
