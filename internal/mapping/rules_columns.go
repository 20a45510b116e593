package mapping

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
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
		if x.From != "" || x.Encoding != "" || x.Zone != "" || x.Unit != "" || x.Rounding != "" || x.Scale != nil {
			c.add(at+".sql", "says it all", "remove from, encoding, zone, unit, scale and rounding")
		}
		if x.Default != nil || x.DefaultFor != "" {
			c.add(at+".sql", "says it all", "remove default, and write coalesce(...), or give a default to the columns that it reads")
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
	c.form(at, x.From, x.Encoding, x.Zone, x.Unit, x.Scale)
	c.standIn(at, name, x)
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
	c.form(at, x.From, x.Encoding, x.Zone, x.Unit, x.Scale)
}

// sameInputs checks that inputs of one name say the same: expressions share them.
func (c *checker) sameInputs() {
	all := map[string]sink.InputConfig{}
	for _, column := range slices.Sorted(maps.Keys(c.table.Columns)) {
		x := c.table.Columns[column]
		for _, name := range slices.Sorted(maps.Keys(x.Inputs)) {
			if other, again := all[name]; again && !reflect.DeepEqual(other, x.Inputs[name]) {
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
func (c *checker) form(at, from, encoding, zone, unit string, scale *int32) {
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
	if scale == nil {
		return
	}
	if *scale < pgtext.MinScale || *scale > pgtext.MaxScale {
		c.add(at+".scale", fmt.Sprintf("must be from %d to %d", pgtext.MinScale, pgtext.MaxScale), "write how many digits stand after the point")
	}
	if src, err := source.Parse(from, "field"); err == nil && !src.Read() {
		c.excess(at+".scale", "is for what a payload has, and "+from+" is beside it", "remove it")
	}
}

// standIn checks what a column takes for null, or where there is nothing.
func (c *checker) standIn(at, name string, x sink.ColumnConfig) {
	c.oneOf(at+".default_for", string(x.DefaultFor), string(sink.DefaultForBoth), string(sink.DefaultForAbsent), string(sink.DefaultForNull))
	_, soft := c.table.SoftDelete[name]
	switch {
	case x.Default == nil && x.DefaultFor != "":
		c.excess(at+".default_for", "says for what the column takes its default, and there is none", "give it as default")
	case x.Default == nil:
	case slices.Contains(c.table.Key, name):
		c.excess(at+".default", "is of the key: events of rows that have nothing to do with each other would write one row", "remove it")
	case name == c.table.Version:
		c.excess(at+".default", "is of the version: an event that has none would be older, or newer, than others by a guess", "remove it")
	case soft:
		c.excess(at+".default", "is of a column that events which write the row set to null", "remove it, or the column from soft_delete")
	}
}

// KnownZone reports whether there is a time zone of the name, the same one on every host.
func KnownZone(name string) bool {
	_, err := time.LoadLocation(name)
	return err == nil && name != "" && name != "Local"
}
