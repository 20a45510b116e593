package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// patterns checks what only the file can tell of patterns; the rules of tables are tried on a stand-in.
func (v *validator) patterns() {
	used := map[string]bool{}
	for i := range v.cfg.Tables {
		t := &v.cfg.Tables[i]
		path := fmt.Sprintf("tables[%d]", i)
		for k, source := range t.Sources() {
			at := fmt.Sprintf("%s.topics[%d]", path, k)
			if !v.given(path + ".topics") {
				at = path + ".topic"
			}
			v.pattern(at, source)
			used[source] = true
			if _, err := v.groups(source); err == nil {
				v.placeholders(path+".name", at, t.Name, source)
			}
		}
		for k, except := range t.Except {
			v.pattern(fmt.Sprintf("%s.except[%d]", path, k), except)
		}
		if len(t.Except) > 0 && !t.isTemplate() {
			v.keyProblem(path+".except", "has no meaning without a pattern among the topics: remove it")
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(v.cfg.Topics)) {
		v.pattern("topics."+topic, topic)
		if groups := func(known string) bool { g, err := matchAny([]string{topic}, known); return g != nil || err != nil }; isPattern(topic) && !used[topic] && !slices.ContainsFunc(v.cfg.topics(), groups) {
			v.keyProblem("topics."+topic, "is the pattern of no table, and matches the topic of none")
		}
	}
	if v.cfg.HasPatterns() && len(v.cfg.Kafka.Assign) > 0 {
		v.keyProblem("kafka.assign", "names partitions, and a table has a pattern of topics: remove one of them")
	}
	v.positive("kafka.topic_refresh", v.cfg.Kafka.TopicRefresh)
}

func (v *validator) pattern(path, text string) {
	if !isPattern(text) {
		return
	}
	if _, err := compilePattern(text); err != nil {
		v.problem(path, "is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

// groups are the names that a source has for placeholders.
func (v *validator) groups(source string) (names []string, err error) {
	names = []string{"0"}
	if !isPattern(source) {
		return names, nil
	}
	re, err := compilePattern(source)
	if err != nil {
		return nil, err
	}
	for n, name := range re.SubexpNames()[1:] {
		names = append(names, fmt.Sprint(n+1))
		if name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// placeholders refuses those in a template's name that a source has no group for.
func (v *validator) placeholders(path, at, name, source string) {
	groups, _ := v.groups(source)
	for _, p := range placeholder.FindAllStringSubmatch(name, -1) {
		if isPattern(source) && !slices.Contains(groups, p[1]) {
			v.problem(path, "has %s, and the pattern %s has no such group: write parentheses around what it is", p[0], source)
		} else if !isPattern(source) && p[1] != "0" && v.cfg.HasPatterns() {
			v.problem(at, "has no group for %s of the table's name: write a pattern, or an entry of its own", p[0])
		}
	}
}

// standIn is the configuration with each template as one table, for the rules that hold whatever topics there are: entries keep their
// place, and a pattern is a topic.
func (c *Config) standIn() *Config {
	out := *c
	out.Tables, out.Topics = slices.Clone(c.Tables), map[string]Topic{}
	maps.Copy(out.Topics, c.Topics)
	names := map[string]string{}
	named := func(i int, text string) string {
		return placeholder.ReplaceAllString(text, fmt.Sprintf("x%d", i))
	}
	standing := map[string]string{}
	stand := func(source string) string {
		if !isPattern(source) {
			if settings, err := c.settingsOf(source); err == nil && settings != (Topic{}) {
				out.Topics[source] = settings
			}
			return source
		}
		if standing[source] == "" {
			standing[source] = fmt.Sprintf("pattern-%d", len(standing)+1)
			if settings, ok := c.Topics[source]; ok {
				out.Topics[standing[source]] = settings
			}
		}
		return standing[source]
	}
	for i := range out.Tables {
		t := &out.Tables[i]
		parent, ofTemplate := names[t.Parent]
		if ofTemplate {
			t.Parent = parent
		}
		template := t.isTemplate()
		if t.Topic != "" {
			t.Topic = stand(t.Topic)
		}
		t.Topics = slices.Clone(t.Topics)
		for k := range t.Topics {
			t.Topics[k] = stand(t.Topics[k])
		}
		switch {
		case template:
			names[t.Name] = named(i, t.Name)
			t.Name = names[t.Name]
		case ofTemplate:
			t.Name = named(i, t.Name)
		}
		if template && len(t.Key) == 0 && (t.Strategy == "" || t.Strategy == "upsert") {
			t.Key = []string{"key"}
		}
	}
	maps.DeleteFunc(out.Topics, func(name string, _ Topic) bool { return isPattern(name) })
	return &out
}
