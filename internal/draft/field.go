package draft

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/connect"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/fields"
)

// object is what objects at one place were seen to have.
type object struct {
	count  int
	order  []string // names, as they were met
	fields map[string]*field
	more   int // names beyond maxNames that were met
	// withheld stands in place of values that are unavailable, in the object itself; nil if nothing does.
	withheld *connect.Placeholder
}

// maxNames bounds the fields that are told apart: an object that is used as a map has no end of them.
const maxNames = 1000

// maxDepth is how deep fields are looked at.
const maxDepth = 3

// field is what was seen at one place.
type field struct {
	present, nulls, bools, integers, fractions, texts, objects, arrays int
	// Of integers. beyond: some don't fit an int64.
	min, max int64
	beyond   bool
	wild     bool // some number, here or within, has so many digits that PostgreSQL may have no room for it
	// Of texts: all of them are such.
	uuids, times, localTimes, dates, digits bool
	longest                                 int
	zero                                    bool // \u0000, here or within
	inner                                   *object
	elements                                *object // of arrays that hold objects alone
	mixed                                   bool    // some array has elements that are no objects
	// What the schema says, if the records have one; plain: it makes nothing else of values.
	typed, typedWhy string
	plain           bool
}

func newObject() *object { return &object{fields: map[string]*field{}} }

func (o *object) add(v event.Value) { o.addAt(v, 1) }

func (o *object) addAt(v event.Value, depth int) {
	o.count++
	for name, member := range fields.Members(v.Raw) {
		f := o.fields[string(name)]
		if f == nil {
			if len(o.order) == maxNames {
				o.more++
				continue
			}
			f = &field{uuids: true, times: true, localTimes: true, dates: true, digits: true}
			o.fields[string(name)] = f
			o.order = append(o.order, string(name))
		}
		if o.withheld.Is(&member) {
			member = event.Value{Kind: event.Null}
		}
		f.add(member, depth)
	}
}

func (f *field) add(v event.Value, depth int) {
	f.present++
	switch v.Kind {
	case event.Null:
		f.nulls++
	case event.Bool:
		f.bools++
	case event.Number:
		f.number(string(v.Raw))
	case event.String:
		f.text(v.Raw)
	case event.Object:
		f.objects++
		f.nested(v.Raw)
		if f.inner == nil {
			f.inner = newObject()
		}
		if depth < maxDepth {
			f.inner.addAt(v, depth+1)
		}
	case event.Array:
		f.arrays++
		f.nested(v.Raw)
		f.array(v, depth)
	}
}

func (f *field) array(v event.Value, depth int) {
	for e := range fields.Elements(v.Raw) {
		if e.Kind != event.Object {
			f.mixed = true
			return
		}
		if f.elements == nil {
			f.elements = newObject()
		}
		if depth < maxDepth {
			f.elements.addAt(e, depth+1)
		}
	}
}

func (f *field) number(text string) {
	if isWild(text) {
		f.wild = true
	}
	if strings.ContainsAny(text, ".eE") {
		f.fractions++
		return
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f.beyond = true
	}
	if f.integers == 0 {
		f.min, f.max = n, n
	}
	f.min, f.max = min(f.min, n), max(f.max, n)
	f.integers++
}

// isWild reports whether a number may be larger, or finer, than PostgreSQL's numeric can hold.
func isWild(text string) bool {
	if len(text) > 1000 {
		return true
	}
	_, exponent, ok := strings.Cut(strings.ToLower(text), "e")
	return ok && len(strings.TrimLeft(exponent, "+-0")) > 3
}

// wildExponent is made when it is asked for: a thousand of a thing take a while to compile.
var wildExponent = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[0-9][eE][+-]?0*[0-9]{4}|[0-9.]{1000}`) })

// nested looks at what PostgreSQL would refuse in jsonb.
func (f *field) nested(raw []byte) {
	f.zero = f.zero || bytes.Contains(raw, []byte(`\u0000`))
	f.wild = f.wild || wildExponent().Match(raw)
}

var (
	uuid      = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	date      = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)
	localTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?$`)
	zonedTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):[0-5]\d)$`)
)

func (f *field) text(raw []byte) {
	said, _ := fields.AppendString(nil, raw) // a valid string gives no error
	s := string(said)
	f.texts++
	f.longest = max(f.longest, len(s))
	f.zero = f.zero || strings.ContainsRune(s, 0)
	f.uuids = f.uuids && uuid.MatchString(s)
	f.dates = f.dates && date.MatchString(s) && isTime("2006-01-02", s)
	f.localTimes = f.localTimes && localTime.MatchString(s) && isTime("2006-01-02T15:04:05", strings.Replace(s, " ", "T", 1))
	f.times = f.times && zonedTime.MatchString(s) && isTime(time.RFC3339, strings.Replace(s, " ", "T", 1))
}

// isTime reports whether there is such a day, and such a time on it, for PostgreSQL as well: it has no year 0.
func isTime(layout, s string) bool {
	_, err := time.Parse(layout, s)
	return err == nil && !strings.HasPrefix(s, "0000")
}

// only reports whether n of the field's values, all but the nulls, are of a kind.
func (f *field) only(n int) bool { return n > 0 && n == f.present-f.nulls }

// fits reports whether a column of a key takes a value.
func fits(typ string, v event.Value) bool {
	s := said(v)
	switch {
	case v.Kind != event.String && v.Kind != event.Number && v.Kind != event.Bool, strings.ContainsRune(s, 0), len(s) > maxKey:
		return false
	case typ == "uuid":
		return uuid.MatchString(s)
	case typ == "date":
		return date.MatchString(s) && isTime("2006-01-02", s)
	case typ == "text":
		return true
	}
	bits := map[string]int{"smallint": 16, "integer": 32}[typ]
	if bits == 0 {
		bits = 64
	}
	_, err := strconv.ParseInt(s, 10, bits)
	return err == nil
}
