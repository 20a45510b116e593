// Package source is the grammar of `from:`: where in a record a column finds its value.
package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/fields"
)

// Error says why a text is no source.
type Error struct {
	Text string // what was written
	// Problem continues a sentence about the text, Fix is what to do.
	Problem, Fix string
	// Known are the sources that begin with a dollar sign, where the text is none of them.
	Known []string
}

func (e *Error) Error() string { return fmt.Sprintf("%q %s: %s", e.Text, e.Problem, e.Fix) }

// ofRecord and ofChild are the sources of any table, and what children have besides.
var (
	ofRecord = []string{"$topic", "$partition", "$offset", "$timestamp", "$key", "$key_json", "$key.PATH", "$header.NAME", "$value", "$envelope.PATH", "$schema"}
	ofChild  = []string{"$element", "$index", "$event.PATH"}
)

func unknown(from string, known []string) error {
	return &Error{Text: from, Problem: "is no source that there is", Fix: "there are " + strings.Join(known, ", ") + ", and paths of fields such as customer.id", Known: known}
}

// Parse compiles ColumnConfig.From, or an entry of TableConfig.RecordKey.
// Where from is empty, the source is the field named def, whatever characters that has. Its error is an *Error, but
// where there is no def either.
func Parse(from, def string) (Source, error) {
	if from == "" {
		if def == "" {
			return Source{}, errors.New("no source")
		}
		return Source{Path: fields.Escape(def)}, nil
	}
	if !strings.HasPrefix(from, "$") {
		return Source{Path: from}, CheckPath(from)
	}
	switch from {
	case "$topic":
		return Source{Meta: Topic}, nil
	case "$partition":
		return Source{Meta: Partition}, nil
	case "$offset":
		return Source{Meta: Offset}, nil
	case "$timestamp":
		return Source{Meta: Timestamp}, nil
	case "$value":
		return Source{Meta: Value}, nil
	case "$key":
		return Source{Meta: Key}, nil
	case "$schema":
		return Source{Meta: Schema}, nil
	case "$key_json":
		return Source{Meta: KeyJSON}, nil
	}
	if path, ok := strings.CutPrefix(from, "$key."); ok {
		return Source{Meta: Key, Path: path}, CheckPath(path)
	}
	if path, ok := strings.CutPrefix(from, "$envelope."); ok {
		return Source{Meta: Envelope, Path: path}, CheckPath(path)
	}
	if name, ok := strings.CutPrefix(from, "$header."); ok && name != "" {
		return Source{Meta: Header, Header: name}, nil
	}
	return Source{}, unknown(from, ofRecord)
}

// CheckPath reports whether a path of fields can be compiled. Its error is an *Error.
func CheckPath(path string) error {
	if _, err := fields.Split(path); err != nil {
		return &Error{Text: path, Problem: "is no path of fields (" + err.Error() + ")", Fix: "write a path such as customer.id"}
	}
	return nil
}

// OfValue reports whether the source gives what a format has read of the value.
func (s *Source) OfValue() bool {
	return s.Meta == Field || s.Meta == Envelope || s.Meta == Schema
}

// Raw reports whether the source gives bytes rather than a JSON value.
func (s Source) Raw() bool {
	return s.Meta == Header || s.Meta == Value || s.Meta == Key && s.Path == ""
}

// Read reports whether the source gives what a format has read, of the value, the record key or an element.
func (s *Source) Read() bool {
	switch s.Meta {
	case KeyJSON, Event, Element:
		return true
	case Key:
		return s.Path != ""
	}
	return s.OfValue()
}

// Source is a compiled ColumnConfig.From.
type Source struct {
	Meta   meta   // where to look
	Path   string // inside the value or the key; "" for the whole
	Header string // of a header
}

type meta uint8

const (
	Field   meta = iota // a field of the value
	Value               // the whole value
	Key                 // the record key, whole or by path
	KeyJSON             // what the record key says as JSON
	Header
	Topic
	Partition
	Offset
	Timestamp
	Envelope // a field of the event, not of the row in it
	Schema   // the name of the type that the value was written with
	Event    // of children: a field of the event, not of the element
	Element  // the element
	Index    // its number, from 1
)

// ParseChild compiles where a column of children comes from.
func ParseChild(from, def string) (Source, error) {
	switch {
	case from == "$index":
		return Source{Meta: Index}, nil
	case from == "$element":
		return Source{Meta: Element}, nil
	case strings.HasPrefix(from, "$event."):
		path := strings.TrimPrefix(from, "$event.")
		return Source{Meta: Event, Path: path}, CheckPath(path)
	}
	src, err := Parse(from, def)
	if e := (*Error)(nil); errors.As(err, &e) && e.Known != nil {
		err = unknown(from, slices.Concat(e.Known, ofChild))
	}
	return src, err
}

// OfEvent reports whether a source of children gives the same for all elements of an event.
func (s *Source) OfEvent() bool {
	return s.Meta != Field && s.Meta != Element && s.Meta != Index
}
