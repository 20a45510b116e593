package mapping

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/sink"
)

// Problem is something that is wrong with a configuration, whatever the database says.
type Problem struct {
	// Path of the key, as the configuration file has it: tables[0].columns.at.unit.
	Path string
	// OnKey: the key should not be there, whatever its value is.
	OnKey bool
	// Text goes on from the name of the key, Fix says what to do; it may be empty.
	Text, Fix string
	// Given is the value that is wrong, if one is. If it should have been one of some, Known are these.
	Given string
	Known []string

	subject string // the key for who has no file: table orders: key
}

// Err is the problem for who has no file.
func (p *Problem) Err() *sink.ConfigError {
	e := &sink.ConfigError{Problem: p.subject, Fix: p.Fix}
	if p.Given != "" {
		e.Problem += fmt.Sprintf(" %q", p.Given)
	}
	e.Problem += " " + p.Text
	if e.Fix == "" && len(p.Known) > 0 {
		e.Fix = "there is " + strings.Join(p.Known, ", ")
	}
	return e
}

// Refused are problems as an error, each a *sink.ConfigError, joined; nil if there are none.
func Refused(problems []Problem) error {
	var errs []error
	for i := range problems {
		errs = append(errs, problems[i].Err())
	}
	return errors.Join(errs...)
}

// Check finds what is wrong with the configuration, as it was given, without its defaults. It needs no database:
// what the catalog has to say to it [Compile] finds out. Stages are the entries whose tables lie in schema oncesink.
func Check(cfg *sink.Config, stages map[string]*tables.Stage) []Problem {
	c := &checker{cfg: cfg}
	c.oneOf("rounding", cfg.Rounding, pgtext.RoundingAllow, pgtext.RoundingRefuse)
	c.oneOf("postgres.synchronous_commit", cfg.SynchronousCommit, "on", "off")
	c.letters(&cfg.DeadLetters)
	c.topicsRead()
	first := map[string]int{} // entry of each table
	for i := range cfg.Tables {
		tc := &cfg.Tables[i]
		c.prefix, c.table = fmt.Sprintf("tables[%d]", i), tc
		name, ok := c.name(stages[tc.Name] != nil)
		if before, again := first[name]; again && ok {
			c.add("name", fmt.Sprintf("is the table of tables[%d], too", before), "list it once, with all its topics").Given = tc.Name
		}
		first[name] = i
		c.entry(i)
	}
	return c.problems
}

type checker struct {
	cfg      *sink.Config
	prefix   string // of the table at hand: tables[0]
	table    *sink.TableConfig
	problems []Problem
}

// add adds a problem of a key of the table at hand, or, without one, of the configuration.
func (c *checker) add(key, text, fix string) *Problem {
	p := Problem{Path: key, Text: text, Fix: fix, subject: strings.TrimPrefix(key, "postgres.")}
	if c.table != nil {
		p.Path, p.subject = c.prefix+"."+key, fmt.Sprintf("table %s: %s", c.table.Name, key)
	}
	c.problems = append(c.problems, p)
	return &c.problems[len(c.problems)-1]
}

// excess adds the problem that a key is there.
func (c *checker) excess(key, text, fix string) *Problem {
	p := c.add(key, text, fix)
	p.OnKey = true
	return p
}

// letters checks what is done about dead letters. Zeros are defaults.
func (c *checker) letters(d *sink.DeadLetters) {
	if d.MaxRatio < 0 || d.MaxRatio > 1 {
		c.add("dead_letters.max_ratio", "must lie between 0 and 1: 0.1 is a tenth of the records, 1 is all of them", "").Given = fmt.Sprint(d.MaxRatio)
	}
	if d.Window < 0 || d.Window > 0 && d.Window < 100 {
		c.add("dead_letters.window", "must be at least 100 records", "").Given = fmt.Sprint(d.Window)
	}
	if d.RetryRate < 0 {
		c.add("dead_letters.retry_rate", "must be at least 1 a second", "").Given = fmt.Sprint(d.RetryRate)
	}
}

func (c *checker) oneOf(key, value string, names ...string) {
	if value != "" && !slices.Contains(names, value) {
		c.add(key, "must be "+strings.Join(names[:len(names)-1], ", ")+" or "+names[len(names)-1], "").Given = value
	}
}

// name checks the name of the table at hand, and returns it in one spelling: without a schema it is in the first one
// of the search path.
func (c *checker) name(stage bool) (qualified string, ok bool) {
	name := c.table.Name
	path := c.cfg.SearchPath
	if path == "" {
		path = DefaultSearchPath
	}
	schema, table, err := pgname.Qualify(name, path)
	switch given, _, _ := pgname.Split(name); {
	case name == "":
		c.add("name", "is required", "TABLE or SCHEMA.TABLE")
		return "", false
	case err != nil:
		c.add("name", "must be TABLE or SCHEMA.TABLE", `write a name with a dot in double quotes, as in "a.b"`).Given = name
		return "", false
	case given == "oncesink" && !stage:
		c.add("name", "is in the schema oncesink, which holds the positions", "use another schema").Given = name
	}
	return pgx.Identifier{schema, table}.Sanitize(), true
}

// entry checks the rest of the table at hand.
func (c *checker) entry(i int) {
	tc := c.table
	c.oneOf("strategy", string(tc.Strategy), string(sink.Upsert), string(sink.Append), string(sink.Children))
	c.oneOf("guard", string(tc.Guard), string(sink.GuardEngine), string(sink.GuardNone))
	c.oneOf("tombstones", string(tc.Tombstones), string(sink.DeleteRows), string(sink.IgnoreTombstones))
	given := map[string]bool{
		"topics": len(tc.Topics) > 0, "key": len(tc.Key) > 0, "version": tc.Version != "", "record_key": len(tc.RecordKey) > 0,
		"parent": tc.Parent != "", "each": tc.Each != "", "parent_key": len(tc.ParentKey) > 0, "guard": tc.Guard != "", "tombstones": tc.Tombstones != "",
		"when": len(tc.When) > 0, "otherwise": tc.Otherwise != "", "delete_when": len(tc.DeleteWhen) > 0, "soft_delete": len(tc.SoftDelete) > 0, "truncate": tc.Truncate != "",
	}
	refuse := func(text, fix string, keys ...string) {
		for _, key := range keys {
			if given[key] {
				c.excess(key, text, fix)
			}
		}
	}
	switch tc.Strategy {
	case sink.Children:
		refuse("has no meaning for strategy children, whose parent's event decides", "remove it", "topics", "version", "record_key", "tombstones", "guard",
			"when", "otherwise", "delete_when", "soft_delete", "truncate")
		c.children(i)
	case sink.Append:
		c.topics()
		refuse("has no meaning for strategy append, which keeps one row for each event", "remove it", "key", "version", "record_key", "otherwise", "delete_when", "soft_delete", "truncate")
		if tc.Tombstones == sink.DeleteRows {
			c.add("tombstones", "has no meaning for strategy append, which deletes no row", "remove it, or ignore them")
		}
	default:
		c.topics()
		if len(tc.Key) == 0 {
			c.add("key", "is required", "the columns of the table's primary key, such as [order_id] (or strategy: append)")
		}
		c.recordKey()
	}
	if tc.Strategy != sink.Children {
		refuse("is for strategy children", "remove it, or set the strategy", "parent", "each", "parent_key")
	}
	if tc.Strategy != sink.Append {
		c.key()
	}
	for k, accepted := range tc.Accept {
		if code, _, _ := strings.Cut(accepted, ":"); !slices.Contains(LintCodes(), code) {
			p := c.add(fmt.Sprintf("accept[%d]", k), "is no finding that there is", "")
			p.Given, p.Known = code, LintCodes()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tc.Columns)) {
		c.column(name, tc.Columns[name])
	}
	c.sameInputs()
	c.deletions()
	c.created()
	c.newFields()
}

// created checks that there is a schema to make the table of.
func (c *checker) created() {
	if c.table.Create != sink.CreateAuto {
		return
	}
	if topic := c.schemaless(); topic != "" {
		c.add("create", "is auto, and the records of topic "+topic+" have no schema (format json)", "write the table's statement: `oncesink new` drafts one by what records look like")
	}
}

// schemaless is a topic of the table at hand whose records have no schema; "" if all have one.
func (c *checker) schemaless() string {
	topics := c.table.Topics
	for i := range c.cfg.Tables {
		if c.table.Strategy == sink.Children && c.cfg.Tables[i].Name == c.table.Parent {
			topics = c.cfg.Tables[i].Topics
		}
	}
	i := slices.IndexFunc(topics, func(topic string) bool {
		values, _ := FormatsOf(c.cfg.Topics[topic])
		return values == sink.JSON
	})
	if i < 0 {
		return ""
	}
	return topics[i]
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func (c *checker) topics() {
	topics := c.table.Topics
	if len(topics) == 0 {
		c.add("topics", "is required", "the topic that feeds the table, or several")
	}
	for i, topic := range topics {
		key := fmt.Sprintf("topics[%d]", i)
		switch {
		case !topicName.MatchString(topic):
			c.add(key, "is not a topic's name", "letters, digits, dots, underscores and hyphens").Given = topic
		case slices.Contains(topics[:i], topic):
			c.add(key, "is listed twice", "").Given = topic
		}
	}
}

func (c *checker) key() {
	tc := c.table
	for i, k := range tc.Key {
		at := fmt.Sprintf("key[%d]", i)
		switch {
		case k == "":
			c.add(at, "is empty", "name a column")
		case slices.Contains(tc.Key[:i], k):
			c.add(at, "is listed twice", "").Given = k
		case tables.IsEngine(k):
			c.add(at, "is the engine's column", "name columns that events fill").Given = k
		}
	}
	switch {
	case tc.Version == "" || tc.Strategy == sink.Children:
	case slices.Contains(tc.Key, tc.Version):
		c.add("version", "is a key column, and so the same for all events of a key", "remove it").Given = tc.Version
	case tables.IsEngine(tc.Version):
		c.add("version", "is the engine's column", "name a column that events fill").Given = tc.Version
	}
}

// recordKey checks how a tombstone names its row.
func (c *checker) recordKey() {
	tc := c.table
	switch {
	case tc.Tombstones == sink.IgnoreTombstones && len(tc.RecordKey) > 0 && !eventsMayDelete(c.cfg, tc):
		c.add("record_key", "has no meaning with tombstones: ignore", "")
	case tc.Tombstones == sink.DeleteRows && len(tc.RecordKey) == 0 && deriveRecordKey(c.cfg, tc) == nil:
		column := "id"
		if len(tc.Key) > 0 {
			column = tc.Key[0]
		}
		c.add("record_key", "is required for tombstones: delete", "it says which row a record key names, such as {"+column+": $key}")
	}
	if len(tc.RecordKey) == 0 {
		return
	}
	for _, column := range slices.Sorted(maps.Keys(tc.RecordKey)) {
		at, from := "record_key."+column, tc.RecordKey[column]
		if !slices.Contains(tc.Key, column) {
			p := c.excess(at, "is not a key column", "")
			p.Given, p.Known = column, tc.Key
		}
		if src, err := source.Parse(from, ""); err != nil || src.Meta != source.Key && src.Meta != source.KeyJSON {
			c.add(at, "must be $key (the whole record key), $key_json (what it says as JSON) or $key.PATH (a field of it)", "").Given = from
		}
	}
	for _, column := range tc.Key {
		if _, ok := tc.RecordKey[column]; !ok {
			c.add("record_key", "does not say where the key column "+column+" comes from", "")
		}
	}
}
