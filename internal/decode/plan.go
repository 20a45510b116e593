package decode

import (
	"slices"
	"sync"

	"github.com/oncesink/oncesink/internal/fields"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/target"
)

// decoder turns the records of one topic into rows. All its tables' paths are
// found in one pass over a value. It is immutable and safe for concurrent use.
type decoder struct {
	Limit        int         // maxRecordBytes, but for tests
	values, keys *fields.Set // paths into values and into record keys
	tables       []tableDecoder
	scratches    sync.Pool // of *scratch
}

// tableDecoder is a table with the places of its columns' paths.
type tableDecoder struct {
	*target.Table
	index    int32   // into plan.tables
	columnAt []int32 // by column: index of its path; -1 without one
	keyAt    []int32 // the same of recordKey
	brood    []childDecoder
}

// scratch is what decoding a record needs and the next one may use again.
type scratch struct {
	d            *decoder
	values, keys []fields.Value
	keyRead      bool
	keyRefused   *pgtext.Refusal
	key          fields.Value // the key as a whole
}

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
	Tables []*target.Table
	// Decoders of the topics; a topic that feeds no table has none.
	Decoders map[string]*decoder
	// catalog is all that was read of the tables: plans of one catalog decode alike.
	catalog string
}

// Compile makes the decoder of each topic.
func Compile(m *mapping.Mapping) (*Plan, error) {
	decoders := make(map[string]*decoder, len(m.Topics))
	for topic, tables := range m.Topics {
		var err error
		if decoders[topic], err = compileDecoder(m, tables); err != nil {
			return nil, err
		}
	}
	return &Plan{m.Tables, decoders, m.Catalog}, nil
}

func compileDecoder(m *mapping.Mapping, tables []int32) (*decoder, error) {
	d := &decoder{Limit: MaxRecordBytes}
	var values, keys paths
	place := func(src source.Source) int32 {
		switch {
		case src.Meta == source.Field:
			return values.add(src.Path)
		case src.Meta == source.Key && src.Path != "":
			return keys.add(src.Path)
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
		for bit, child := range t.Children {
			c := childDecoder{tableDecoder: tableDecoder{Table: child, index: child.Number}, bit: 1 << bit, at: values.add(child.Config.Each)}
			var elements paths
			c.placeColumns(func(src source.Source) int32 {
				switch src.Meta {
				case source.Field:
					return elements.add(src.Path)
				case source.Event:
					return values.add(src.Path)
				}
				return place(src)
			})
			var err error
			if c.set, err = fields.New(elements); err != nil {
				return nil, err
			}
			t.brood = append(t.brood, c)
		}
		d.tables = append(d.tables, t)
	}
	var err error
	if d.values, err = fields.New(values); err != nil {
		return nil, err
	}
	if d.keys, err = fields.New(keys); err != nil {
		return nil, err
	}
	d.scratches.New = func() any {
		return &scratch{d: d, values: make([]fields.Value, d.values.Len()), keys: make([]fields.Value, d.keys.Len())}
	}
	return d, nil
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
	sc.key = fields.Value{}
	d.scratches.Put(sc)
}

// readKey reads a record's key, which has to be JSON, and the paths into it, once a record.
func (sc *scratch) readKey(key []byte) *pgtext.Refusal {
	if !sc.keyRead {
		sc.keyRead, sc.keyRefused = true, pgtext.RefusalOf(sc.d.keys.Extract(key, sc.keys))
		if sc.keyRefused != nil {
			sc.keyRefused.Message = "record key: " + sc.keyRefused.Message
			return sc.keyRefused
		}
		sc.key = fields.Document(key)
	}
	return sc.keyRefused
}
