package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is how one mapping of a table differs from another.
type Difference struct {
	// What differs, in the words of the configuration: "columns.discount", "when.status", "key".
	What []string `json:"what,omitempty"`
	// AtOnce says why processes of both must not write the table beside each other; empty: they may. Rows have the same key in both then, and
	// the same event wins.
	AtOnce string `json:"at_once,omitempty"`
}

// Compare returns how a mapping differs from the one before, by their definitions. One before that is not known ("") differs in nothing
// that can be named, and may not run beside.
func Compare(before, now string) (d Difference, err error) {
	if before == "" {
		return Difference{AtOnce: "what the mapping was is not on record"}, nil
	}
	var was, is map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal([]byte(before), &was), json.Unmarshal([]byte(now), &is)); err != nil {
		return d, fmt.Errorf("read a mapping's definition: %w", err)
	}
	var identity []string
	for _, name := range union(was, is) {
		if same(was[name], is[name]) {
			continue
		}
		switch name {
		case "columns":
			for _, c := range unlike(was[name], is[name]) {
				d.What = append(d.What, "columns."+c)
				if decides(was, c) || decides(is, c) {
					identity = append(identity, "columns."+c)
				}
			}
		case "when":
			for _, path := range unlike(was[name], is[name]) {
				d.What = append(d.What, "when."+path)
			}
		case "guarded":
			d.What, identity = append(d.What, "guard"), append(identity, "guard")
		default:
			d.What, identity = append(d.What, name), append(identity, name)
		}
	}
	if len(identity) > 0 {
		d.AtOnce = strings.Join(identity, ", ") + ": which row an event is about, which event wins, or what deletes it would be decided in two ways"
	}
	return d, nil
}

// decides reports whether a column names the row, or orders its events.
func decides(definition map[string]json.RawMessage, column string) bool {
	var key []string
	var version string
	var parent map[string]string
	_ = json.Unmarshal(definition["key"], &key) // absent or of another kind: it decides nothing
	_ = json.Unmarshal(definition["version"], &version)
	_ = json.Unmarshal(definition["parent_key"], &parent)
	_, ofParent := parent[column]
	return slices.Contains(key, column) || column == version || ofParent
}

// unlike names the entries of two objects that differ.
func unlike(a, b json.RawMessage) (names []string) {
	was, is := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	_ = json.Unmarshal(a, &was) // null, where there is none
	_ = json.Unmarshal(b, &is)
	for _, name := range union(was, is) {
		if !same(was[name], is[name]) {
			names = append(names, name)
		}
	}
	return names
}

func union(a, b map[string]json.RawMessage) []string {
	all := map[string]json.RawMessage{}
	maps.Copy(all, a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

// same compares JSON texts as PostgreSQL's jsonb may have rewritten them; null is absent.
func same(a, b json.RawMessage) bool {
	x, y := any(nil), any(nil)
	_ = json.Unmarshal(a, &x) // absent
	_ = json.Unmarshal(b, &y)
	return string(encode(x)) == string(encode(y))
}
