package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/sink"
)

// A topic's name between slashes is a pattern: a regular expression that a whole name has to match. A table of patterns is a
// template, which becomes a table for each topic, or one for several: {1} in its name is what the first group has matched, {0} the
// topic. No topic has a slash in its name.

func isPattern(topic string) bool {
	return len(topic) > 2 && topic[0] == '/' && topic[len(topic)-1] == '/'
}

func compilePattern(pattern string) (*regexp.Regexp, error) {
	return regexp.Compile(`^(?:` + pattern[1:len(pattern)-1] + `)$`)
}

// HasPatterns reports whether the tables are known only with the topics that there are.
func (c *Config) HasPatterns() bool {
	return slices.ContainsFunc(c.Tables, func(t Table) bool { return t.isTemplate() })
}

func (t *Table) isTemplate() bool { return slices.ContainsFunc(t.Sources(), isPattern) }

// placeholder is a group's number or name in braces.
var placeholder = regexp.MustCompile(`\{(\w+)\}`)

// fill puts what the groups of a match have in the place of {N} and {NAME}. Other braces stay.
func fill(text string, groups map[string]string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		if value, ok := groups[p[1:len(p)-1]]; ok {
			return value
		}
		return p
	})
}

// tableName is the name that a template has with the groups of a match: TABLE or SCHEMA.TABLE, quoted where a topic has letters
// that need it, unless the template has quotes itself.
func tableName(template string, groups map[string]string) string {
	name := fill(template, groups)
	if strings.Contains(template, `"`) {
		return name
	}
	parts := strings.Split(name, ".")
	for i, part := range parts {
		parts[i] = pgname.Readable(part)
	}
	return strings.Join(parts, ".")
}

// LeftOut is a topic that a pattern matches, and that is not read.
type LeftOut struct{ Topic, Why string }

// Expanded is a configuration whose patterns have met the topics that there are.
type Expanded struct {
	*Config
	// Made are the names of tables that templates have become; a template without a topic becomes none.
	Made []string
	// LeftOut are topics that patterns match and that are no rows by their nature.
	LeftOut []LeftOut
}

// Expand is the configuration for the topics that there are. A table that is listed by its own name is not made by a template. Its errors are
// *[sink.ConfigError]s.
func (c *Config) Expand(topics []string) (*Expanded, error) {
	topics = slices.Sorted(slices.Values(topics))
	x := &expansion{from: c, topics: topics}
	out := *c
	out.Tables, out.Topics = nil, map[string]Topic{}
	maps.Copy(out.Topics, c.Topics)
	x.out = &Expanded{Config: &out}
	for i := range c.Tables {
		if err := x.table(i); err != nil {
			return nil, err
		}
	}
	maps.DeleteFunc(out.Topics, func(name string, _ Topic) bool { return isPattern(name) })
	slices.SortFunc(x.out.LeftOut, func(a, b LeftOut) int { return strings.Compare(a.Topic, b.Topic) })
	x.out.LeftOut = slices.Compact(x.out.LeftOut)
	return x.out, nil
}

// matches reports whether a pattern of a table matches a topic.
func (c *Config) matches(topic string) bool {
	return slices.ContainsFunc(c.Tables, func(t Table) bool {
		groups, err := matchAny(t.Sources(), topic)
		return groups != nil || err != nil
	})
}

// Reads reports whether the configuration reads a topic, if there is one of the name.
func (c *Config) Reads(topic string) bool {
	if slices.Contains(c.topics(), topic) {
		return true
	}
	x, err := c.Expand([]string{topic})
	return err == nil && slices.Contains(x.topics(), topic)
}

type expansion struct {
	from   *Config
	topics []string
	out    *Expanded
	made   []map[string]string // of each table of out that a template made: the groups
	of     []int               // of each table of out: the entry that made it
}

// table adds what entry i becomes.
func (x *expansion) table(i int) error {
	t := &x.from.Tables[i]
	switch {
	case t.isTemplate():
		return x.template(i)
	case t.Strategy == string(sink.Children) && x.parent(i) >= 0:
		for k := range x.out.Tables { // the parent's come before
			if x.of[k] == x.parent(i) {
				child := *t
				child.Parent = x.out.Tables[k].Name
				if err := x.add(i, child, x.made[k]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	x.append(i, *t, nil)
	return nil
}

// parent is the entry of a template that is the parent of entry i; -1 if its parent is none.
func (x *expansion) parent(i int) int {
	tables := x.from.Tables
	for k := i - 1; k >= 0; k-- {
		if tables[k].Name == tables[i].Parent && tables[k].isTemplate() {
			return k
		}
	}
	return -1
}

// template adds the tables that entry i becomes, in the order of their first topics.
func (x *expansion) template(i int) error {
	t := &x.from.Tables[i]
	var names []string
	topics, groups := map[string][]string{}, map[string]map[string]string{}
	for _, topic := range union(x.topics, t.Sources()) {
		match, err := x.match(t, topic)
		if err != nil {
			return err
		}
		if match == nil {
			continue
		}
		settings, err := x.from.settingsOf(topic)
		if err != nil {
			return err
		}
		e := settings.Envelope
		debezium := e != nil && (e.Like == "debezium" || e.Like == "flattened")
		if why := notRows(topic, x.topics, debezium); why != "" && !slices.Contains(t.Sources(), topic) {
			x.out.LeftOut = append(x.out.LeftOut, LeftOut{topic, why})
			continue
		}
		if settings != (Topic{}) {
			x.out.Topics[topic] = settings
		}
		name := tableName(t.Name, match)
		if topics[name] == nil {
			names, groups[name] = append(names, name), match
		}
		topics[name] = append(topics[name], topic)
	}
	for _, name := range names {
		if x.listed(name) {
			continue
		}
		made := *t
		made.Topic, made.Topics, made.Except = "", topics[name], nil
		if err := x.add(i, made, groups[name]); err != nil {
			return err
		}
	}
	return nil
}

// union is the topics that there are and those that are named, sorted.
func union(topics, named []string) []string {
	named = slices.DeleteFunc(slices.Clone(named), isPattern)
	all := slices.Sorted(slices.Values(append(named, topics...)))
	return slices.Compact(all)
}

// match is what the groups of the first of a template's patterns have that match a topic; nil if none does, or the topic is excepted.
func (x *expansion) match(t *Table, topic string) (groups map[string]string, err error) {
	excepted, err := matchAny(t.Except, topic)
	if err != nil || excepted != nil {
		return nil, err
	}
	return matchAny(t.Sources(), topic)
}

// matchAny is what the groups of the first pattern have that matches a topic, or is its name; nil if none does.
func matchAny(patterns []string, topic string) (groups map[string]string, err error) {
	for _, pattern := range patterns {
		if pattern == topic {
			return map[string]string{"0": topic}, nil
		}
		if !isPattern(pattern) {
			continue
		}
		re, err := compilePattern(pattern)
		if err != nil { // Parse has refused it
			return nil, &sink.ConfigError{Problem: fmt.Sprintf("the pattern %s: %v", pattern, err)}
		}
		if found := re.FindStringSubmatch(topic); found != nil {
			groups := map[string]string{}
			for n, name := range re.SubexpNames() {
				groups[strconv.Itoa(n)] = found[n]
				if name != "" {
					groups[name] = found[n]
				}
			}
			return groups, nil
		}
	}
	return nil, nil
}

// settingsOf are a topic's under `topics`: its own, else those of the pattern that matches it.
func (c *Config) settingsOf(topic string) (Topic, error) {
	if own, given := c.Topics[topic]; given {
		return own, nil
	}
	var by []string
	for _, pattern := range slices.Sorted(maps.Keys(c.Topics)) {
		if groups, err := matchAny([]string{pattern}, topic); err != nil {
			return Topic{}, err
		} else if groups != nil {
			by = append(by, pattern)
		}
	}
	switch len(by) {
	case 0:
		return Topic{}, nil
	case 1:
		return c.Topics[by[0]], nil
	}
	return Topic{}, &sink.ConfigError{Problem: fmt.Sprintf("topic %s is matched by %s, which both have settings under `topics`", topic, strings.Join(by[:2], " and ")), Fix: "give the topic settings of its own there"}
}

// settle gives the topics that feed tables by their own names the settings of the patterns that match them.
func (c *Config) settle() error {
	for i := range c.Tables {
		for _, topic := range c.Tables[i].Sources() {
			if isPattern(topic) {
				continue
			}
			settings, err := c.settingsOf(topic)
			if err != nil {
				return err
			}
			if settings != (Topic{}) {
				c.Topics[topic] = settings
			}
		}
	}
	if !c.HasPatterns() {
		maps.DeleteFunc(c.Topics, func(name string, _ Topic) bool { return isPattern(name) })
	}
	return nil
}

// listed reports whether the file lists the table by its own name.
func (x *expansion) listed(name string) bool {
	return slices.ContainsFunc(x.from.Tables, func(t Table) bool { return !t.isTemplate() && x.from.qualified(t.Name) == x.from.qualified(name) })
}

// add appends a table that an entry has become, with what the groups of its match say.
func (x *expansion) add(i int, t Table, groups map[string]string) error {
	template := t.Name
	t.Name, t.Create = tableName(template, groups), fill(t.Create, groups)
	for k := range x.out.Tables {
		if x.out.Tables[k].Name == t.Name {
			return &sink.ConfigError{Problem: fmt.Sprintf("tables[%d] and tables[%d] both make the table %s, of the topics %s and %s", x.of[k], i, t.Name,
				strings.Join(x.out.Tables[k].Sources(), ", "), strings.Join(t.Sources(), ", ")), Fix: "except the topics of one of them, or catch more in its name"}
		}
	}
	x.out.Made = append(x.out.Made, t.Name)
	x.append(i, t, groups)
	return nil
}

func (x *expansion) append(i int, t Table, groups map[string]string) {
	x.out.Tables, x.made, x.of = append(x.out.Tables, t), append(x.made, groups), append(x.of, i)
}

// notRows says of a topic why its records are no rows, whatever pattern matches it; "" of others. Debezium writes its heartbeats into
// __debezium-heartbeat.PREFIX, where transactions begin and end into PREFIX.transaction, changes of schemas into PREFIX, and the changes
// of tables into PREFIX.SCHEMA.TABLE. Kafka's own topics begin with two underscores, too.
func notRows(topic string, all []string, debezium bool) string {
	beyond := func(prefix string, dots int) bool {
		return slices.ContainsFunc(all, func(other string) bool {
			rest, ok := strings.CutPrefix(other, prefix+".")
			return ok && strings.Count(rest, ".") >= dots
		})
	}
	prefix, transactions := strings.CutSuffix(topic, ".transaction")
	switch {
	case strings.HasPrefix(topic, "__"):
		return "its name begins with two underscores"
	case debezium && transactions && beyond(prefix, 1):
		return "Debezium tells there where transactions begin and end"
	case debezium && beyond(topic, 1):
		return "Debezium tells there of changes of schemas"
	}
	return ""
}
