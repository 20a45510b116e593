// Package sample finds out what would become of records: `check --sample`.
package sample

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Sample finds out what would become of records, by count, and writes none of them: the decoder reads them as
// in a run, and the server tries their rows on temporary copies of the tables, in transactions that are rolled back. The
// copies have the tables' types, domains, checks, lengths and generated columns. They have no rows, no foreign keys,
// no unique indexes, no triggers, no policies and no partitions: what those refuse is not seen.
//
// It takes no lock on a row. It is not safe for concurrent use.
type Sample struct {
	sink    *engine.Sink
	mapping *mapping.Mapping
	topics  map[string]*topicSample
	schemas event.SchemaSource // nil: there is none
	// Untried says why the server was not asked, so that only what the decoder refuses is known; empty if it was.
	Untried string
}

// Topic is what would become of the records of one topic.
type Topic struct {
	Topic   string `json:"topic"`
	Records int    `json:"records"`
	Refused int    `json:"refused"` // would be dead letters
	// Unmatched are events that meet no table's conditions.
	Unmatched int     `json:"unmatched"`
	Tables    []Table `json:"tables"`
	// Letters are the dead letters by table, column and code, the most frequent ones first.
	Letters []Letter `json:"dead_letters"`
	// NotTaken are fields that no column takes, in the value and one level below it, the most frequent ones first.
	NotTaken []Field `json:"fields_not_taken"`
	// MoreNotTaken is how many further ones there are, at least.
	MoreNotTaken int `json:"more_fields_not_taken,omitempty"`
}

// Table is what a table would get of a topic.
type Table struct {
	Table   string `json:"table"`
	Rows    int    `json:"rows"`    // inserted, updated or found older than what is there
	Deletes int    `json:"deletes"` // tombstones
	// NotFilled are columns that no record has a field for.
	NotFilled []string `json:"columns_not_filled"`
}

// Letter is a kind of dead letter.
type Letter struct {
	Table      string `json:"table,omitempty"`
	Column     string `json:"column,omitempty"`
	Constraint string `json:"constraint,omitempty"`
	Code       string `json:"code"`
	Why        string `json:"why"`
	Count      int    `json:"count"`
	// Partition and Offset are where one of them is.
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

// Field is a field of events.
type Field struct {
	Path  string `json:"path"`
	Count int    `json:"count"` // of records that have it
}

// topicSample is a Topic that is being counted.
type topicSample struct {
	records, refused int
	events, wanted   int // without tombstones and what is refused; of these, those that bring a row
	tables           map[int32]*tableCount
	letters          map[letterKind]*Letter
	taken            *takes
	image            image
	fields           map[string]int
	more             map[string]bool // fields beyond maxFields
	keys             map[string]bool // of rows that the sample itself would have made, by table
}

type tableCount struct {
	rows, deletes int
	events        int
	filled        []int // events that have the column's field
}

type letterKind struct{ table, column, constraint, code, why string }

// maxFields bounds the fields that are told apart: an object that is used as a map has no end of them.
const maxFields = 1000

// New returns an empty sample of what a sink would do. It goes by the tables as the sink knows them now. Schemas that records refer
// to come from a source, if there is one, and are kept nowhere.
func New(s *engine.Sink, schemas event.SchemaSource) *Sample {
	return &Sample{sink: s, schemas: schemas, mapping: s.Mapping(), topics: map[string]*topicSample{}}
}

// Add counts records of one partition, in offset order. An error is one of the connection, or of ctx, or one of [engine.Sink.Add]: the
// records are then not counted.
func (x *Sample) Add(ctx context.Context, records ...sink.Record) error {
	if len(records) == 0 {
		return nil
	}
	p := &decode.Part{}
	for rest := records; ; {
		n, err := x.sink.AddBlindly(p, rest...)
		if err == nil {
			break
		}
		if err = x.sink.LearnFrom(ctx, x.schemas, err); err != nil {
			return err
		}
		rest = rest[n:]
	}
	faults := make(map[int32]decode.Fault, len(p.Faults))
	for _, f := range p.Faults {
		f.Message = decoderSays(&f)
		faults[f.Record] = f
	}
	t := x.topic(records[0].Topic)
	if x.Untried == "" {
		if err := x.try(ctx, p, t, faults); err != nil {
			return err
		}
	}
	t.count(p, faults)
	return nil
}

func (x *Sample) topic(name string) *topicSample {
	t := x.topics[name]
	if t == nil {
		t = &topicSample{tables: map[int32]*tableCount{}, letters: map[letterKind]*Letter{}, fields: map[string]int{}, more: map[string]bool{}, keys: map[string]bool{}}
		var fed []*tables.Table
		for _, i := range x.mapping.Topics[name] {
			table := x.mapping.Tables[i]
			fed = append(fed, table)
			t.tables[i] = &tableCount{filled: make([]int, len(table.Columns))}
		}
		t.taken, t.image = takenBy(fed), imageOf(x.mapping.Read[name])
		x.topics[name] = t
	}
	return t
}

// count counts what is known of a part's records. Those that a fault names bring nothing.
func (t *topicSample) count(p *decode.Part, faults map[int32]decode.Fault) {
	for i := range p.Records {
		r := &p.Records[i]
		if r.Control {
			continue
		}
		t.records++
		f, refused := faults[int32(i)]
		if refused {
			t.refused++
			t.letter(r, &f)
		}
		if r.Value != nil && !refused {
			t.events++
		}
		if r.Value != nil && (!refused || f.Table != "") { // else it is no JSON
			t.taken.count(t.image.of(r.Value), t.image.prefix, t.field)
		}
	}
	last := int32(-1)
	for i := range p.Rows {
		row := &p.Rows[i]
		if _, refused := faults[row.Record]; row.Record != last && !refused && p.Records[row.Record].Value != nil {
			t.wanted++
		}
		last = row.Record
		n := t.tables[row.Table]
		if !row.Tombstone {
			n.events++
			for k := range n.filled {
				if p.Cells[int(row.First)+k].Given() {
					n.filled[k]++
				}
			}
		}
		_, refused := faults[row.Record]
		switch {
		case refused:
		case row.Tombstone:
			n.deletes++
		default:
			n.rows++
		}
	}
}

func (t *topicSample) field(path string) {
	if _, met := t.fields[path]; !met && len(t.fields) == maxFields {
		if len(t.more) < maxFields {
			t.more[path] = true
		}
		return
	}
	t.fields[path]++
}

func (t *topicSample) letter(r *sink.Record, f *decode.Fault) {
	kind := letterKind{f.Table, f.Column, f.Constraint, f.Code, f.Message}
	l := t.letters[kind]
	if l == nil {
		l = &Letter{Table: f.Table, Column: f.Column, Constraint: f.Constraint, Code: f.Code, Why: f.Message, Partition: r.Partition, Offset: r.Offset}
		t.letters[kind] = l
	}
	l.Count++
}

// Report returns what was counted, by topic. No value of a record is in it.
func (x *Sample) Report() []Topic {
	out := make([]Topic, 0, len(x.topics))
	for name, t := range x.topics {
		r := Topic{Topic: name, Records: t.records, Refused: t.refused, Unmatched: t.events - t.wanted, Tables: []Table{}, Letters: []Letter{}, NotTaken: []Field{}, MoreNotTaken: len(t.more)}
		for _, i := range x.mapping.Topics[name] {
			n, table := t.tables[i], x.mapping.Tables[i]
			s := Table{Table: table.Title(), Rows: n.rows, Deletes: n.deletes, NotFilled: []string{}}
			for k, filled := range n.filled {
				if n.events == 0 || filled > 0 {
					continue
				}
				name := table.Columns[k].Name
				if table.Columns[k].Hidden {
					name += " (an input)"
				}
				s.NotFilled = append(s.NotFilled, name)
			}
			r.Tables = append(r.Tables, s)
		}
		for _, l := range t.letters {
			r.Letters = append(r.Letters, *l)
		}
		slices.SortFunc(r.Letters, func(a, b Letter) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Table, b.Table), strings.Compare(a.Column, b.Column), strings.Compare(a.Code, b.Code), strings.Compare(a.Constraint, b.Constraint), strings.Compare(a.Why, b.Why))
		})
		for path, n := range t.fields {
			r.NotTaken = append(r.NotTaken, Field{path, n})
		}
		slices.SortFunc(r.NotTaken, func(a, b Field) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Path, b.Path))
		})
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Topic, b.Topic) })
	return out
}

// decoderSays is what the decoder says of a fault, without what it quotes of the record, and without the number
// of a child.
func decoderSays(f *decode.Fault) string {
	message := f.Message
	if rest, ok := strings.CutPrefix(message, "element "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			message = after
		}
	}
	if f.Table == "" || !f.Plain || strings.Contains(message, "parse JSON") { // where in the document differs from record to record
		return pgerr.Meaning(f.Code)
	}
	return message
}
