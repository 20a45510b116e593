// Package looks says what payloads look like that could not be read as what they were taken for. It knows bytes alone:
// no mapping, no table and no topic, and it says nothing of their contents but the names of fields.
package looks

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Like says what all of these values look like, as what follows "they look like"; "" if they don't look alike, or like nothing
// that is known. Tombstones (nil) are left out.
func Like(values [][]byte) string {
	said, names := "", map[string]int{}
	n := 0
	for _, v := range values {
		if v == nil {
			continue
		}
		like, fields := one(v)
		if n++; n > 1 && like != said {
			return ""
		}
		said = like
		for _, name := range fields {
			names[name]++
		}
	}
	if said != objects {
		return said
	}
	var common []string
	for name, count := range names {
		if count == n && plain.MatchString(name) {
			common = append(common, name)
		}
	}
	slices.Sort(common)
	switch more := len(common) - mostNames; {
	case len(common) == 0:
		return objects + " with no field in common"
	case more > 0:
		return objects + " with the fields " + strings.Join(common[:mostNames], ", ") + " and more"
	}
	return objects + " with the fields " + strings.Join(common, ", ")
}

// Plain reports whether that is what Like says of JSON objects that are nothing else it knows.
func Plain(like string) bool { return strings.HasPrefix(like, objects) }

const (
	objects   = "JSON objects"
	mostNames = 8
)

// plain is a name that is one: an object that is used as a map may have anything for a name.
var plain = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$-]{0,39}$`)

// one says what a value looks like, and of an object that is nothing else its fields.
func one(v []byte) (like string, fields []string) {
	switch {
	case len(v) == 0:
		return "nothing: they are empty", nil
	case v[0] == 0 && len(v) > 5 && json.Valid(v[5:]):
		return jsonSchema, nil
	case v[0] == 0 && len(v) >= 5:
		return registry, nil
	case bytes.HasPrefix(v, []byte("Obj\x01")):
		return "Avro files", nil
	case bytes.HasPrefix(v, []byte{0x1f, 0x8b}):
		return "gzip", nil
	case bytes.HasPrefix(v, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return "zstd", nil
	}
	if !json.Valid(v) {
		switch {
		case !utf8.Valid(v):
			return binary, nil
		case len(bytes.TrimSpace(v)) > 0 && bytes.ContainsRune([]byte("{["), rune(bytes.TrimSpace(v)[0])):
			return "JSON that is cut off or damaged", nil
		case bytes.HasPrefix(bytes.TrimSpace(v), []byte("<")):
			return "XML", nil
		}
		return "text that is no JSON", nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(v, &object) != nil || object == nil {
		switch bytes.TrimSpace(v)[0] {
		case '[':
			return "JSON arrays: one record has several events", nil
		case '"':
			return "JSON texts: maybe JSON that was encoded twice", nil
		}
		return "single JSON values", nil
	}
	if base, change := rows(object); base != nil {
		return envelope(object, base, change), nil
	}
	for name := range object {
		fields = append(fields, name)
	}
	return objects, fields
}

// What records look like that a setting of their topic reads.
const (
	registry   = "records of a schema registry (a zero byte and the id of a schema begin them): Avro or Protobuf"
	jsonSchema = "JSON of a schema registry (a zero byte and the id of a schema begin them)"
	binary     = "a binary format"
	changes    = "change events of Debezium"
	withSchema = "JSON of Kafka Connect with its schema"
)

// Setting says what the configuration needs to read records that look so, as a sentence's end; "" if nothing is known.
func Setting(topic, like string) string {
	set := func(what string) string {
		if !plain.MatchString(strings.ReplaceAll(topic, ".", "_")) {
			topic = strconv.Quote(topic)
		}
		return "`topics: {" + topic + ": {" + what + "}}`"
	}
	const where = ", or format: protobuf, and `registry: {urls: [URL]}` say how they are read"
	switch like {
	case registry:
		return set("format: avro") + where
	case binary:
		return "if their headers name a schema of a registry, " + set("format: avro") + where
	case jsonSchema, withSchema:
		return set("format: connect-json") + " reads them so that columns name fields of the row"
	case changes:
		return set("envelope: debezium") + " reads them so that columns name fields of the row, and deletes are known"
	}
	return ""
}

// envelope says what an object with its row at a path is.
func envelope(object map[string]json.RawMessage, base []string, change bool) string {
	connect := len(object) == 2 && hasType(object["schema"])
	switch {
	case change && len(base) > 1 && !connect:
		return "change events of Debezium beside a schema that is none of Kafka Connect's: the fields of a row lie in payload.after, as in `from: payload.after.id`"
	case change:
		return changes
	case base[0] == "data":
		return "CloudEvents: the fields lie in data, as in `from: data.id`"
	case !connect:
		return "JSON beside a schema that is none of Kafka Connect's: the fields lie in payload, as in `from: payload.id`"
	}
	return withSchema
}

// hasType reports whether a schema may be one of Kafka Connect's.
func hasType(schema json.RawMessage) bool {
	var s struct{ Type string }
	return string(schema) == "null" || json.Unmarshal(schema, &s) == nil && s.Type != ""
}

// Rows says at which path the fields of a row lie in all of these objects, and whether they are changes, which may have
// none there. The path is empty if the objects are no envelopes, or differ.
func Rows(objects [][]byte) (base []string, change bool) {
	for i, o := range objects {
		var object map[string]json.RawMessage
		if json.Unmarshal(o, &object) != nil {
			return nil, false
		}
		b, c := rows(object)
		if i > 0 && (!slices.Equal(b, base) || c != change) {
			return nil, false
		}
		base, change = b, c
	}
	return base, change
}

// rows is Rows of one object.
func rows(object map[string]json.RawMessage) (base []string, change bool) {
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { _, ok := object[n]; return !ok })
	}
	switch {
	case has("schema", "payload"):
		var payload map[string]json.RawMessage
		if json.Unmarshal(object["payload"], &payload) == nil && isChange(payload) {
			return []string{"payload", "after"}, true
		}
		return []string{"payload"}, false
	case isChange(object):
		return []string{"after"}, true
	case has("specversion", "type", "source", "data"):
		return []string{"data"}, false
	}
	return nil, false
}

// isChange reports whether an object is an envelope of Debezium.
func isChange(object map[string]json.RawMessage) bool {
	_, op := object["op"]
	_, after := object["after"]
	_, before := object["before"]
	_, source := object["source"]
	rowless := string(object["op"]) == `"t"` || string(object["op"]) == `"m"` // a truncate and a message have neither
	return op && (after || before || rowless) && source
}

// Flattened reports whether all of these objects are what Debezium's ExtractNewRecordState makes of changes, and say what has
// happened to their rows.
func Flattened(objects [][]byte) bool {
	for _, o := range objects {
		var object struct {
			Deleted *json.RawMessage `json:"__deleted"`
			Op      *json.RawMessage `json:"__op"`
		}
		if json.Unmarshal(o, &object) != nil || object.Deleted == nil && object.Op == nil {
			return false
		}
	}
	return len(objects) > 0
}
