package decode

import (
	"slices"
	"sync"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// decoder turns the records of one topic into rows. All its tables' paths are
// found in one pass over a value. It is immutable and safe for concurrent use.
type decoder struct {
	Limit        int    // maxRecordBytes, but for tests
	values, keys reader // of the tables' paths into values and into record keys
	envelope     envelope
	refuses      bool // an event that no table wants is a dead letter
	watch        watch
	tables       []tableDecoder
	scratches    sync.Pool // of *scratch
}

// tableDecoder is a table with the places of its columns' paths.
type tableDecoder struct {
	*tables.Table
	index         int32   // into plan.tables
	columnAt      []int32 // by column: index of its path; -1 without one
	keyAt         []int32 // the same of recordKey
	beforeAt      []int32 // of the key's columns in the row as it was, in an envelope
	whenAt        []int32 // of conditions
	deleteAt      []int32 // of those by which events delete
	softAt        []int32 // of soft columns
	childDecoders []childDecoder
}

// scratch is what decoding a record needs and the next one may use again.
type scratch struct {
	d            *decoder
	values, keys []event.Value
	arena        []byte // what a format makes of the record, values and key
	unwanted     []bool // by table: the record is none of its
	text         []byte // of a value that is compared
	keyRead      bool
	keyRefused   *pgtext.Refusal
	failed       error // why the record can't be read by anybody, or not yet
	blind        bool  // new fields are not looked for
}

// maxArena is how much memory an arena keeps for the next record, in bytes.
const maxArena = 1 << 20

// paths collects paths and numbers them; the same path has one number.
type paths []string

func (p *paths) add(path string) int32 {
	i := slices.Index(*p, path)
	if i < 0 {
		i = len(*p)
		*p = append(*p, path)
	}
	return int32(i)
}

// Plan says how the records of all topics are decoded.
type Plan struct {
	Tables []*tables.Table
	// Decoders of the topics; a topic that feeds no table has none.
	Decoders map[string]*decoder
	// schemas are those that any plan of the sink has learnt.
	schemas *Schemas
	// catalog is all that was read of the tables: plans of one catalog decode alike.
	catalog string
}

// Formats are the formats of a topic's values and of its record keys.
type Formats func(topic string) (values, keys event.Format)

// Compile makes the decoder of each topic. The schemas are those that plans before it have learnt, and those after it
// will.
func Compile(m *mapping.Mapping, formats Formats, schemas *Schemas) (*Plan, error) {
	decoders := make(map[string]*decoder, len(m.Topics))
	for topic, tables := range m.Topics {
		d := &decoder{
			Limit:  MaxRecordBytes,
			values: reader{topic: topic, schemas: schemas},
			keys:   reader{topic: topic, key: true, schemas: schemas},
		}
		d.envelope.Envelope = m.Read[topic].Envelope
		d.refuses = m.Read[topic].Unmatched == sink.RefuseUnmatched
		if err := d.compile(m, tables, formats); err != nil {
			return nil, err
		}
		decoders[topic] = d
	}
	return &Plan{m.Tables, decoders, schemas, m.Catalog}, nil
}

func (d *decoder) compile(m *mapping.Mapping, tables []int32, formats Formats) (err error) {
	var values, keys paths
	place := func(src source.Source) int32 {
		switch {
		case src.Meta == source.Field:
			return values.add(d.envelope.row(src.Path))
		case src.Meta == source.Envelope:
			return values.add(src.Path)
		case src.Meta == source.Key && src.Path != "":
			return keys.add(src.Path)
		case src.Meta == source.Schema:
			return values.add(event.SchemaName)
		case src.Meta == source.KeyJSON:
			return keys.add("") // the document as a whole
		}
		return -1
	}
	for _, index := range tables {
		if m.Tables[index].Parent != nil {
			continue // its parent's decoder has it
		}
		t := tableDecoder{Table: m.Tables[index], index: index}
		t.placeColumns(place)
		for _, src := range t.RecordKey {
			t.keyAt = append(t.keyAt, place(src))
		}
		for _, k := range t.Key {
			if path, ok := d.envelope.before(&t.Columns[k].Source); ok {
				t.beforeAt = append(t.beforeAt, values.add(path))
			}
		}
		for i := range t.When {
			t.whenAt = append(t.whenAt, place(t.When[i].Source))
		}
		for i := range t.DeleteWhen {
			t.deleteAt = append(t.deleteAt, place(t.DeleteWhen[i].Source))
		}
		for i := range t.Soft {
			t.softAt = append(t.softAt, place(t.Soft[i].Source))
		}
		for bit, child := range t.Children {
			c := childDecoder{tableDecoder: tableDecoder{Table: child, index: child.Number}, bit: 1 << bit, at: values.add(d.envelope.row(child.Config.Each))}
			var elements paths
			c.placeColumns(func(src source.Source) int32 {
				switch src.Meta {
				case source.Field:
					return elements.add(src.Path)
				case source.Event:
					return values.add(d.envelope.row(src.Path))
				}
				return place(src)
			})
			if c.set, err = fields.New(elements); err != nil { // elements are JSON in every format
				return err
			}
			t.childDecoders = append(t.childDecoders, c)
		}
		d.tables = append(d.tables, t)
	}
	d.envelope.compile(&values)
	ofValues, ofKeys := formats(d.values.topic)
	d.compileWatch(&values, ofValues)
	if schemas, ok := ofValues.(event.Watching); ok && d.watch.at >= 0 {
		d.values.plan, err = schemas.PlanWatched(values, d.judge)
	} else {
		d.values.plan, err = ofValues.Plan(values)
	}
	if err != nil {
		return err
	}
	if d.keys.plan, err = ofKeys.Plan(keys); err != nil {
		return err
	}
	d.scratches.New = func() any {
		return &scratch{d: d, values: make([]event.Value, len(values)), keys: make([]event.Value, len(keys)), unwanted: make([]bool, len(d.tables))}
	}
	return nil
}

// placeColumns finds the places of the columns' sources.
func (t *tableDecoder) placeColumns(place func(source.Source) int32) {
	for i := range t.Columns {
		if t.Columns[i].Computed != nil || slices.Contains(t.ParentAt, i) {
			t.columnAt = append(t.columnAt, -1)
			continue
		}
		t.columnAt = append(t.columnAt, place(t.Columns[i].Source))
	}
}

// get and put lend a scratch. A topic that feeds no table has no decoder.
func (d *decoder) get() *scratch {
	if d == nil {
		return nil
	}
	return d.scratches.Get().(*scratch)
}

func (d *decoder) put(sc *scratch) {
	if d == nil {
		return
	}
	clear(sc.values) // they hold the last record's memory
	clear(sc.keys)
	if cap(sc.arena) > maxArena {
		sc.arena = nil
	}
	d.scratches.Put(sc)
}

// read reads a record's value or key. Where it can't be read by anybody, or not yet, the refusal stands for that:
// see decode.
func (sc *scratch) read(from *reader, doc []byte, rec *sink.Record, values []event.Value) *pgtext.Refusal {
	err := from.plan.Read(doc, (*headers)(rec), values, &sc.arena)
	if err == nil {
		return nil
	}
	r, err := from.again(err, doc, rec, values, &sc.arena)
	if err != nil {
		sc.failed = err
		return &pgtext.Refusal{}
	}
	return r
}

// readKey reads the paths into a record's key, once a record.
func (sc *scratch) readKey(rec *sink.Record) *pgtext.Refusal {
	if !sc.keyRead {
		sc.keyRead, sc.keyRefused = true, nil
		if r := sc.read(&sc.d.keys, rec.Key, rec, sc.keys); r != nil {
			sc.keyRefused = &pgtext.Refusal{Code: r.Code, Message: "record key: " + r.Message, Plain: r.Plain}
		}
	}
	return sc.keyRefused
}
