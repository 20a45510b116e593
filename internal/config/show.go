package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/conninfo"
)

// Shown is a configuration as it is in effect: each value with where it comes from, and no secret.
type Shown struct {
	// Values are nested maps, lists and plain values, by the keys of the file.
	Values map[string]any
	// Origins say, by key path such as kafka.brokers or tables[0].name, where a value comes from: "line 3", with the environment variables that are
	// in it, or "default".
	Origins map[string]string

	order map[string][]string // the keys of a section, as the reference has them
	notes map[string]string   // of a value, for people
}

// Show reads a document as [Parse] does, and returns what is in effect.
func Show(file string, data []byte, lookup func(string) (string, bool)) (*Shown, error) {
	cfg, d, err := readDocument(file, data, lookup)
	if err != nil {
		return nil, err
	}
	s := &shower{cfg: cfg, d: d, out: &Shown{Origins: map[string]string{}, order: map[string][]string{}, notes: map[string]string{}}}
	s.out.Values = s.section("", reflect.ValueOf(cfg).Elem())
	if c, err := conninfo.Parse(cfg.Postgres.URL.Reveal()); err == nil {
		s.out.notes["postgres.url"] = fmt.Sprintf("role %s, database %s, at %s port %d", c.ConnConfig.User, c.ConnConfig.Database, c.ConnConfig.Host, c.ConnConfig.Port)
	}
	return s.out, nil
}

// shower walks a configuration.
type shower struct {
	cfg *Config
	d   *decoder
	out *Shown
}

// section is the map of a struct's keys, defaults included.
func (s *shower) section(path string, v reflect.Value) map[string]any {
	out := map[string]any{}
	for i := range v.NumField() {
		field, f := v.Type().Field(i), v.Field(i)
		if !field.IsExported() {
			continue
		}
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		at := join(path, key)
		value, given := s.value(at, f)
		if !given {
			standard, there := defaultOf(v.Type().Name(), key, field.Type)
			if !there || s.meaningless(path, key, v) {
				continue
			}
			value, _ = s.value(at, standard)
			s.out.Origins[at] = "default"
		}
		out[key] = value
		s.out.order[path] = append(s.out.order[path], key)
	}
	return out
}

// meaningless says that a default does not count beside what is given.
func (s *shower) meaningless(path, key string, v reflect.Value) bool {
	k := &s.cfg.Kafka
	switch path + "." + key {
	case "kafka.session_timeout":
		return k.Protocol == "consumer" || len(k.Assign) > 0
	case "kafka.protocol":
		return len(k.Assign) > 0
	case "kafka.topic_refresh":
		return !s.cfg.HasPatterns()
	}
	switch x := v.Interface().(type) {
	case Topic: // an envelope has its own formats
		return x.Envelope != nil && (key == "format" || key == "key_format")
	case Table:
		upserts := x.Strategy == "" || x.Strategy == "upsert"
		switch key {
		case "tombstones":
			return !upserts || len(x.RecordKey) == 0
		case "guard", "new_fields":
			return x.Strategy == "children"
		case "otherwise":
			return !upserts || len(x.When) == 0
		case "truncate":
			return !upserts
		}
	}
	return false
}

// value is what a key has, if it is given.
func (s *shower) value(at string, v reflect.Value) (value any, given bool) {
	_, written := s.d.at[at]
	if written {
		s.out.Origins[at] = s.origin(at)
	}
	switch x := v.Interface().(type) {
	case Secret:
		return s.secret(at, x), x != ""
	case Duration:
		return shortDuration(x), x != 0
	case Size:
		return sizeText(x), x != 0
	case Start:
		return x.String(), x.Given
	case Fields:
		out := map[string]any{}
		for _, f := range x {
			out[f.Name] = f.Text
			s.out.order[at] = append(s.out.order[at], f.Name)
		}
		return out, len(x) > 0
	case Values:
		if len(x) == 1 {
			return x[0], true
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil, false
		}
		value, _ := s.value(at, v.Elem())
		return value, true
	case reflect.Struct:
		out := s.section(at, v)
		return s.short(v, out), len(out) > 0
	case reflect.Map:
		out := map[string]any{}
		keys := slices.Sorted(maps.Keys(stringKeys(v)))
		for _, k := range keys {
			out[k], _ = s.value(join(at, k), v.MapIndex(reflect.ValueOf(k)))
		}
		s.out.order[at] = keys
		return out, len(out) > 0
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i], _ = s.value(fmt.Sprintf("%s[%d]", at, i), v.Index(i))
		}
		return out, !v.IsNil()
	}
	if raw := s.d.raw[at]; v.Kind() == reflect.String && strings.Contains(raw, filePrefix) { // what a file has may be a secret
		return raw, true
	}
	return v.Interface(), written || !v.IsZero()
}

// short is the text that a column, an input, a condition or an envelope may be written as.
func (s *shower) short(v reflect.Value, out map[string]any) any {
	for t, key := range map[reflect.Type]string{
		reflect.TypeFor[Column](): "from", reflect.TypeFor[Input](): "type", reflect.TypeFor[Condition](): "in", reflect.TypeFor[Envelope](): "like",
	} {
		if text, has := out[key]; v.Type() == t && has && len(out) == 1 {
			return text
		}
	}
	return out
}

func stringKeys(v reflect.Value) map[string]bool {
	keys := map[string]bool{}
	for _, k := range v.MapKeys() {
		keys[k.String()] = true
	}
	return keys
}

// origin says where a value that is written stands, and which variables it has.
func (s *shower) origin(at string) string {
	text := fmt.Sprintf("line %d", s.d.at[at].Line)
	var names []string
	for _, ref := range variable.FindAllString(s.d.raw[at], -1) {
		if m := variableName.FindStringSubmatch(ref); m != nil && !slices.Contains(names, m[1]) {
			names = append(names, m[1])
		}
		if file, ok := strings.CutPrefix(ref, filePrefix); ok {
			text += ", file " + strings.TrimSuffix(file, "}")
		}
	}
	if len(names) > 0 {
		text += ", environment " + strings.Join(names, ", ")
	}
	return text
}

// fromElsewhere is a text that has nothing of its own: only names of places that have the value.
var fromElsewhere = regexp.MustCompile(`^(\$\{([A-Za-z_][A-Za-z0-9_]*|file:[^}]*)\})+$`)

// secret is how a secret is written, where that does not have it.
func (s *shower) secret(at string, value Secret) string {
	if raw := s.d.raw[at]; fromElsewhere.MatchString(raw) {
		return raw
	}
	return value.String()
}

// shortDuration is a time span without the zeros at its end.
func shortDuration(d Duration) string {
	text := d.String()
	if t, ok := strings.CutSuffix(text, "m0s"); ok {
		text = t + "m"
	}
	if t, ok := strings.CutSuffix(text, "h0m"); ok {
		text = t + "h"
	}
	return text
}

func sizeText(n Size) string {
	for _, u := range []struct {
		unit string
		size Size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d%s", n/u.size, u.unit)
		}
	}
	return fmt.Sprint(int64(n))
}

var saysDefault = regexp.MustCompile(`Defaults to "?([A-Za-z0-9_:/-]+(?:\.[0-9]+)*(?::[0-9]+)?)"?[.;]`)

// described are what the schema says of each key, by section.
var described = sync.OnceValue(func() map[string]map[string]string {
	type section struct {
		Properties map[string]struct {
			Description string `json:"description"`
		} `json:"properties"`
		OneOf []section `json:"oneOf"`
	}
	var schema struct {
		section
		Definitions map[string]section `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(docs.ConfigSchema), &schema); err != nil {
		panic(err) // it is compiled in, and a test reads it
	}
	schema.Definitions["Config"] = schema.section
	out := map[string]map[string]string{}
	for name, s := range schema.Definitions {
		out[name] = map[string]string{}
		for _, s := range append(s.OneOf, s) {
			for key, p := range s.Properties {
				out[name][key] = p.Description
			}
		}
	}
	return out
})

// defaultOf is the default that the reference gives for a key of a section, where that is a value.
func defaultOf(section, key string, t reflect.Type) (v reflect.Value, there bool) {
	switch section {
	case "Column", "Input", "Condition", "Envelope": // theirs depend on what is beside them
		return v, false
	}
	m := saysDefault.FindStringSubmatch(described()[section][key])
	if m == nil || m[1] == "none" {
		return v, false
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return plainDefault(m[1], t)
}

// plainDefault is a default of a type.
func plainDefault(text string, t reflect.Type) (v reflect.Value, there bool) {
	v = reflect.New(t).Elem()
	if s, ok := v.Addr().Interface().(scalar); ok {
		return v, s.set(text) == nil
	}
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Int64, reflect.Float64, reflect.Bool:
		d := &decoder{}
		d.plain("", nil, text, v)
		return v, len(d.problems) == 0
	}
	return v, false
}
