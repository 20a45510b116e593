package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/mapping"

	"github.com/oncesink/oncesink/internal/pgname"
)

func (v *validator) table(path string, t *Table) {
	v.tableName(path+".name", t.Name)
	v.oneOf(path+".strategy", t.Strategy, "upsert", "append", "children")
	v.oneOf(path+".guard", t.Guard, "engine", "none")
	v.oneOf(path+".tombstones", t.Tombstones, "delete", "ignore")
	switch t.Strategy {
	case "children":
		v.childrenTable(path, t)
	case "append":
		v.tableTopics(path, t)
		v.appendTable(path, t)
	default:
		v.tableTopics(path, t)
		v.upsertTable(path, t)
	}
	for i, a := range t.Accept {
		if code, _, _ := strings.Cut(a, ":"); a != "" && !slices.Contains(mapping.LintCodes(), code) {
			v.problem(fmt.Sprintf("%s.accept[%d]", path, i), "is no finding that there is%s", Suggest(code, mapping.LintCodes()))
		}
	}
	if t.Strategy != "children" {
		for _, key := range []string{"parent", "each", "parent_key"} {
			if v.given(path + "." + key) {
				v.keyProblem(path+"."+key, "is for strategy children: remove it, or set the strategy")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Columns)) {
		v.column(path+".columns."+name, t.Columns[name], t.Strategy == "children")
	}
}

func (v *validator) tableName(path, name string) {
	schema, _, err := pgname.Split(name) // which everything else reads names by
	switch {
	case name == "":
		v.problem(path, "is required: TABLE or SCHEMA.TABLE")
	case err != nil:
		v.problem(path, `must be TABLE or SCHEMA.TABLE, a name with a dot in double quotes, as in "a.b"`)
	case schema == "oncesink":
		v.problem(path, "is in the schema oncesink, which holds the positions: use another schema")
	}
}

func (v *validator) tableTopics(path string, t *Table) {
	sources := t.Sources()
	switch {
	case t.Topic != "" && len(t.Topics) > 0:
		v.keyProblem(path+".topics", "is given beside topic: use one of them")
	case len(sources) == 0:
		v.problem(path+".topic", "is required: the topic that feeds the table, or topics for several")
	}
	for i, topic := range sources {
		at := path + ".topic"
		if t.Topic == "" {
			at = fmt.Sprintf("%s.topics[%d]", path, i)
		}
		switch {
		case topic != "" && !topicName.MatchString(topic):
			v.problem(at, "is not a topic's name: letters, digits, dots, underscores and hyphens")
		case slices.Contains(sources[:i], topic):
			v.problem(at, "is listed twice")
		}
	}
}

// appendTable refuses what would have no effect.
func (v *validator) appendTable(path string, t *Table) {
	for _, key := range []string{"key", "version", "record_key", "tombstones", "guard"} {
		if v.given(path + "." + key) {
			v.keyProblem(path+"."+key, "has no meaning for strategy append, which keeps one row for each event: remove it")
		}
	}
}

// childrenTable checks what names the parent, which is listed before.
func (v *validator) childrenTable(path string, t *Table) {
	for _, key := range []string{"topic", "topics", "version", "record_key", "tombstones", "guard"} {
		if v.given(path + "." + key) {
			v.keyProblem(path+"."+key, "has no meaning for strategy children, whose parent's event decides: remove it")
		}
	}
	v.required(path+".each", t.Each, "the path of the array whose elements are the children, such as items")
	if len(t.Key) == 0 {
		v.problem(path+".key", "is required: the parent's key and what tells its children apart, such as [order_id, line]")
	}
	var before []string
	for i := range v.cfg.Tables {
		if &v.cfg.Tables[i] == t {
			break
		}
		before = append(before, v.cfg.Tables[i].Name)
	}
	switch {
	case t.Parent == "":
		v.problem(path+".parent", "is required: the table of the events' own rows, listed before")
	case !slices.ContainsFunc(before, func(name string) bool { return v.cfg.qualified(name) == v.cfg.qualified(t.Parent) }):
		v.problem(path+".parent", "is no table that is listed before%s", Suggest(t.Parent, before))
	}
}

func (v *validator) upsertTable(path string, t *Table) {
	if len(t.Key) == 0 {
		v.problem(path+".key", "is required: the columns of the table's primary key, such as [order_id] (or strategy: append)")
	}
	for i, k := range t.Key {
		if k != "" && slices.Contains(t.Key[:i], k) {
			v.problem(fmt.Sprintf("%s.key[%d]", path, i), "is listed twice")
		}
	}
	if t.Version != "" && slices.Contains(t.Key, t.Version) {
		v.problem(path+".version", "is a key column, and so the same for all events of a key: remove it")
	}
	v.recordKey(path, t)
}

var recordKeySource = regexp.MustCompile(`^\$key(_json|\..+)?$`)

func (v *validator) recordKey(path string, t *Table) {
	at := path + ".record_key"
	switch {
	case t.Tombstones == "ignore" && len(t.RecordKey) > 0:
		v.problem(at, "has no meaning with tombstones: ignore")
	case t.Tombstones == "delete" && len(t.RecordKey) == 0:
		v.problem(at, "is required for tombstones: delete: it says which row a record key names, such as {%s: $key}", firstOr(t.Key, "id"))
	}
	if len(t.RecordKey) == 0 {
		return
	}
	for _, column := range slices.Sorted(maps.Keys(t.RecordKey)) {
		if !slices.Contains(t.Key, column) {
			v.keyProblem(at+"."+column, "is not a key column%s", Suggest(column, t.Key))
		}
		if !recordKeySource.MatchString(t.RecordKey[column]) {
			v.problem(at+"."+column, "must be $key (the whole record key), $key_json (what it says as JSON) or $key.PATH (a field of it)")
		}
	}
	for _, column := range t.Key {
		if _, ok := t.RecordKey[column]; !ok {
			v.problem(at, "does not say where the key column %s comes from", column)
		}
	}
}

var (
	metaSource  = regexp.MustCompile(`^\$(topic|partition|offset|timestamp|value|key(_json|\..+)?|header\..+)$`)
	childSource = regexp.MustCompile(`^\$(element|index|event\..+)$`)
	metaNames   = []string{"$topic", "$partition", "$offset", "$timestamp", "$key", "$key_json", "$header.NAME", "$value"}
)

func (v *validator) column(path string, c Column, child bool) {
	if c.SQL != "" {
		if c.From != "" || c.Encoding != "" || c.Zone != "" || c.Unit != "" || c.Rounding != "" {
			v.problem(path+".sql", "says it all: remove from, encoding, zone, unit and rounding")
		}
		for _, name := range slices.Sorted(maps.Keys(c.Inputs)) {
			at, in := path+".inputs."+name, c.Inputs[name]
			v.required(at+".type", in.Type, "as what the expression reads the field, such as bigint")
			v.source(at+".from", in.From, child)
			v.form(at, in.Encoding, in.Zone, in.Unit)
		}
		return
	}
	if len(c.Inputs) > 0 {
		v.keyProblem(path+".inputs", "are what an sql expression reads: write the expression as sql")
	}
	at := path + ".from"
	if !v.given(at) {
		at = path
	}
	switch empty := c.Encoding == "" && c.Zone == "" && c.Unit == "" && c.Rounding == "" && len(c.Inputs) == 0; {
	case v.given(path + ".sql"):
		v.problem(path+".sql", "is empty: write an SQL expression over other columns of the event")
	case c.From == "" && (v.given(at) && at != path || empty):
		v.problem(at, "is empty: write a field's path, such as customer.id")
	default:
		v.source(at, c.From, child)
	}
	v.form(path, c.Encoding, c.Zone, c.Unit)
	v.oneOf(path+".rounding", c.Rounding, "allow", "refuse")
}

// source checks where a value comes from.
func (v *validator) source(at, from string, child bool) {
	switch {
	case strings.HasPrefix(from, "$"):
		names := metaNames
		if child {
			names = append(slices.Clone(names), "$element", "$index", "$event.PATH")
		}
		if !metaSource.MatchString(from) && !(child && childSource.MatchString(from)) {
			v.problem(at, "is no source that there is%s", Suggest(from, names))
		}
	case from != "" && slices.Contains(strings.Split(strings.ReplaceAll(from, `\.`, "_"), "."), ""):
		v.problem(at, "has an empty step: write a path such as customer.id")
	}
}

// form checks how a value is written.
func (v *validator) form(path, encoding, zone, unit string) {
	v.oneOf(path+".encoding", encoding, "base64", "hex")
	v.zone(path+".zone", zone)
	v.oneOf(path+".unit", unit, "s", "ms", "us", "ns", "days")
}

func firstOr(list []string, otherwise string) string {
	if len(list) > 0 {
		return list[0]
	}
	return otherwise
}
