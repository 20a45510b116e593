package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/internal/fields"
)

// metaSources is what an error says there is beside fields.
const metaSources = "$topic, $partition, $offset, $timestamp, $key, $key_json, $key.PATH, $header.NAME, $value"

// parseSource compiles ColumnConfig.From, or an entry of TableConfig.RecordKey.
// Where from is empty, the source is the field named def, whatever characters that has.
func parseSource(from, def string) (source, error) {
	if from == "" {
		if def == "" {
			return source{}, errors.New("no source")
		}
		return source{path: fields.Escape(def)}, nil
	}
	if !strings.HasPrefix(from, "$") {
		return source{path: from}, checkPath(from)
	}
	switch from {
	case "$topic":
		return source{meta: metaTopic}, nil
	case "$partition":
		return source{meta: metaPartition}, nil
	case "$offset":
		return source{meta: metaOffset}, nil
	case "$timestamp":
		return source{meta: metaTimestamp}, nil
	case "$value":
		return source{meta: metaValue}, nil
	case "$key":
		return source{meta: metaKey}, nil
	case "$key_json":
		return source{meta: metaKeyJSON}, nil
	}
	if path, ok := strings.CutPrefix(from, "$key."); ok {
		return source{meta: metaKey, path: path}, checkPath(path)
	}
	if name, ok := strings.CutPrefix(from, "$header."); ok && name != "" {
		return source{meta: metaHeader, header: name}, nil
	}
	return source{}, fmt.Errorf("%q is no source: there are %s, and paths of fields such as customer.id", from, metaSources)
}

func checkPath(path string) error {
	_, err := fields.New([]string{path})
	return err
}

// raw reports whether the source gives bytes rather than a JSON value.
func (s source) raw() bool {
	return s.meta == metaHeader || s.meta == metaValue || s.meta == metaKey && s.path == ""
}
