package verify

import (
	"context"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// decoded is what records become.
type decoded struct {
	// events of the table, and what the decoder says of those that it refuses, by their place.
	events map[place]*bind.Event
	faults map[place]*decode.Fault
}

// decode reads records as a run does, without what that would do about new fields.
func (c *checker) decode(ctx context.Context, r *records) (*decoded, error) {
	d := &decoded{events: map[place]*bind.Event{}, faults: map[place]*decode.Fault{}}
	for at, list := range r.at {
		f := c.byPartition(at)
		if f == nil || len(list) == 0 {
			continue
		}
		p := &decode.Part{}
		p.Claim.Partition, p.Claim.Source = at, f.source
		all := make([]sink.Record, 0, len(list))
		for _, r := range list {
			all = append(all, kafka.Record(r))
		}
		for rest := all; ; {
			n, err := c.sk.AddBlindly(p, rest...)
			if err == nil {
				break
			}
			if err = c.sk.LearnFrom(ctx, c.Schemas, err); err != nil {
				return nil, err
			}
			rest = rest[n:]
		}
		for i := range p.Rows {
			if p.Rows[i].Table == c.table.Number {
				e := &bind.Event{Part: p, Row: int32(i)}
				d.events[place{f.source, e.Offset()}] = e
			}
		}
		for i := range p.Faults {
			d.faults[place{f.source, p.Records[p.Faults[i].Record].Offset}] = &p.Faults[i]
		}
	}
	return d, nil
}

// unreadable is why the event of a fault can't be told of.
func unreadable(f *decode.Fault) string {
	if f.Code == engine.NoSchema {
		return Schema
	}
	return Refused
}

// childrenOf are the rows that an event of the parent brings to a table of children, if it has their array.
func childrenOf(e *bind.Event, parent, c *tables.Table) (rows []bind.Event, has bool) {
	own := &e.Part.Rows[e.Row]
	for bit, t := range parent.Children {
		if t == c {
			has = !own.Tombstone && own.Arrays&(1<<bit) != 0
		}
	}
	if !has {
		return nil, false
	}
	for k := int(e.Row) + 1; k < len(e.Part.Rows) && e.Part.Rows[k].Record == own.Record && e.Part.Rows[k].Table > own.Table; k++ {
		if e.Part.Rows[k].Table == c.Number {
			rows = append(rows, bind.Event{Part: e.Part, Row: int32(k)})
		}
	}
	return rows, true
}
