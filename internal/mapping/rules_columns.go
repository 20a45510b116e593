package mapping

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

func (c *checker) column(name string, x sink.ColumnConfig) {
	tc, at := c.table, "columns."+name
	if tables.IsEngine(name) {
		c.excess(at, "is the engine's column", "leave it out of columns")
	}
	if x.SQL != "" {
		if x.From != "" || x.Encoding != "" || x.Zone != "" || x.Unit != "" || x.Rounding != "" {
			c.add(at+".sql", "says it all", "remove from, encoding, zone, unit and rounding")
		}
		if slices.Contains(tc.Key, name) || name == tc.Version {
			c.add(at+".sql", "computes the key, or the version", "take it from a field of the event")
		}
		for _, input := range slices.Sorted(maps.Keys(x.Inputs)) {
			c.input(at+".inputs."+input, input, x.Inputs[input])
		}
		return
	}
	if len(x.Inputs) > 0 {
		c.excess(at+".inputs", "are what an sql expression reads", "write the expression as sql")
	}
	c.source(at+".from", x.From, name)
	c.form(at, x.From, x.Encoding, x.Zone, x.Unit)
	c.oneOf(at+".rounding", x.Rounding, pgtext.RoundingAllow, pgtext.RoundingRefuse)
}

func (c *checker) input(at, name string, x sink.InputConfig) {
	if tables.IsEngine(name) {
		c.excess(at, "has the name of the engine's column", "give the input another name, and its field as from")
	}
	if x.Type == "" {
		c.add(at+".type", "is required", "as what the expression reads the field, such as bigint")
	}
	c.source(at+".from", x.From, name)
	c.form(at, x.From, x.Encoding, x.Zone, x.Unit)
}

// sameInputs checks that inputs of one name say the same: expressions share them.
func (c *checker) sameInputs() {
	all := map[string]sink.InputConfig{}
	for _, column := range slices.Sorted(maps.Keys(c.table.Columns)) {
		x := c.table.Columns[column]
		for _, name := range slices.Sorted(maps.Keys(x.Inputs)) {
			if other, again := all[name]; again && other != x.Inputs[name] {
				c.add("columns."+column+".inputs."+name, "is another one's input of the same name, with something else in it", "give one of them another name")
			}
			all[name] = x.Inputs[name]
		}
	}
}

// source checks where a value comes from.
func (c *checker) source(at, from, name string) {
	if from == "" {
		return
	}
	parse := source.Parse
	if c.table.Strategy == sink.Children {
		parse = source.ParseChild
	}
	if _, err := parse(from, name); err != nil {
		c.refusedSource(at, err)
	}
}

func (c *checker) refusedSource(at string, err error) {
	var e *source.Error
	if !errors.As(err, &e) {
		c.add(at, err.Error(), "")
		return
	}
	p := c.add(at, e.Problem, e.Fix)
	p.Given, p.Known = e.Text, e.Known
}

// form checks how a value is written.
func (c *checker) form(at, from, encoding, zone, unit string) {
	c.oneOf(at+".encoding", encoding, "base64", "hex", pgtext.EncodingJSON)
	switch {
	case zone == "Local":
		c.add(at+".zone", "is another one on every host", "name it, as in Europe/Berlin").Given = zone
	case zone != "" && !KnownZone(zone):
		c.add(at+".zone", "is not a known time zone", "write a name such as UTC or Europe/Berlin").Given = zone
	}
	c.oneOf(at+".unit", unit, pgtext.Units...)
	if unit != "" && from == "$timestamp" {
		c.excess(at+".unit", "is for numbers, and $timestamp is a time", "remove it")
	}
}

// KnownZone reports whether there is a time zone of the name, the same one on every host.
func KnownZone(name string) bool {
	_, err := time.LoadLocation(name)
	return err == nil && name != "" && name != "Local"
}
