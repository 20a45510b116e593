package protobuf

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/testenv"
)

// reference says what a message is by what package dynamicpb makes of it: as JSON decoded, with numbers as json.Number.
type reference struct {
	types *dynamicpb.Types
	bad   bool // a date, a time or an Any that is none
}

func (r *reference) message(m protoreflect.Message) any {
	md := m.Descriptor()
	n := func(name protoreflect.Name) int64 { return m.Get(md.Fields().ByName(name)).Int() }
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		t := time.Unix(n("seconds"), n("nanos")).UTC()
		r.bad = r.bad || n("nanos") < 0 || n("nanos") >= 1e9 || n("seconds") < -62135596800 || n("seconds") > 253402300799
		return t.Format("2006-01-02T15:04:05.999999999Z")
	case "google.protobuf.Duration":
		s, nanos := n("seconds"), n("nanos")
		r.bad = r.bad || s > 315576000000 || s < -315576000000 || nanos <= -1e9 || nanos >= 1e9 || s > 0 && nanos < 0 || s < 0 && nanos > 0
		sign := ""
		if s < 0 || nanos < 0 {
			s, nanos, sign = -s, -nanos, "-"
		}
		fraction := strings.TrimRight(fmt.Sprintf(".%09d", nanos), "0")
		return sign + fmt.Sprint(s) + strings.TrimSuffix(fraction, ".") + "s"
	case "google.protobuf.FieldMask":
		var all []string
		for i := range m.Get(md.Fields().ByNumber(1)).List().Len() {
			all = append(all, m.Get(md.Fields().ByNumber(1)).List().Get(i).String())
		}
		return strings.Join(all, ",")
	case "google.protobuf.Struct":
		return r.field(m, md.Fields().ByNumber(1))
	case "google.protobuf.ListValue":
		return r.field(m, md.Fields().ByNumber(1))
	case "google.protobuf.Value":
		if fd := m.WhichOneof(md.Oneofs().Get(0)); fd != nil {
			return r.field(m, fd)
		}
		return nil
	case "google.protobuf.Any":
		return r.any(m.Get(md.Fields().ByNumber(1)).String(), m.Get(md.Fields().ByNumber(2)).Bytes())
	case "google.type.Date":
		t := time.Date(int(n("year")), time.Month(n("month")), int(n("day")), 0, 0, 0, 0, time.UTC)
		r.bad = r.bad || n("year") < 1 || n("year") > 9999 || n("month") != int64(t.Month()) || n("day") != int64(t.Day())
		return t.Format(time.DateOnly)
	case "google.type.TimeOfDay":
		h, m, s, ns := n("hours"), n("minutes"), n("seconds"), n("nanos")
		r.bad = r.bad || h < 0 || m < 0 || s < 0 || ns < 0 || h > 24 || h == 24 && m+s+ns > 0 || m > 59 || s > 59 || ns > 999_999_999
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%02d:%02d:%02d.%09d", h, m, s, ns), "0"), ".")
	case "google.type.Decimal":
		return m.Get(md.Fields().ByNumber(1)).String()
	case "confluent.type.Decimal":
		v := event.Value{Kind: event.Decimal, Raw: m.Get(md.Fields().ByNumber(1)).Bytes(), Scale: int32(n("scale"))}
		text, err := v.AppendText(nil)
		r.bad = r.bad || err != nil
		return json.Number(text)
	}
	if md.ParentFile().Path() == "google/protobuf/wrappers.proto" {
		return r.scalar(md.Fields().Get(0), m.Get(md.Fields().Get(0)))
	}
	all := map[string]any{}
	for i := range md.Fields().Len() {
		all[string(md.Fields().Get(i).Name())] = r.field(m, md.Fields().Get(i))
	}
	return all
}

func (r *reference) field(m protoreflect.Message, fd protoreflect.FieldDescriptor) any {
	v := m.Get(fd)
	switch {
	case fd.IsList():
		all := []any{}
		for i := range v.List().Len() {
			all = append(all, r.scalar(fd, v.List().Get(i)))
		}
		return all
	case fd.IsMap():
		all := map[string]any{}
		for k, v := range v.Map().Range {
			all[k.String()] = r.scalar(fd.MapValue(), v)
		}
		return all
	case fd.HasPresence() && !m.Has(fd):
		return nil
	}
	return r.scalar(fd, v)
}

func (r *reference) scalar(fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch x := v.Interface().(type) {
	case protoreflect.Message:
		return r.message(x)
	case protoreflect.EnumNumber:
		switch value := fd.Enum().Values().ByNumber(x); {
		case fd.Enum().FullName() == "google.protobuf.NullValue":
			return nil
		case value != nil:
			return string(value.Name())
		}
		return json.Number(fmt.Sprint(x))
	case []byte:
		return base64.StdEncoding.EncodeToString(x)
	case float32:
		return number(float64(x), 32)
	case float64:
		return number(x, 64)
	case string, bool:
		return x
	}
	return json.Number(v.String())
}

func number(f float64, bits int) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(fmt.Sprintf("%vinity", f), "+")
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, bits))
}

func (r *reference) any(url string, value []byte) any {
	if url == "" && len(value) == 0 {
		return map[string]any{}
	}
	mt, err := r.types.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
	if err != nil {
		return map[string]any{"@type": url, "value": base64.StdEncoding.EncodeToString(value)}
	}
	m := mt.New()
	if unmarshal(value, m.Interface()) != nil {
		r.bad = true
		return nil
	}
	v := r.message(m)
	if all, ok := v.(map[string]any); ok && wellKnownOf(m.Descriptor()) == ordinary {
		all["@type"] = url
		return all
	}
	return map[string]any{"@type": url, "value": v}
}

// equal compares JSON, numbers as what they are.
func equal(x, y any) bool {
	switch x := x.(type) {
	case map[string]any:
		y, ok := y.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for k, v := range x {
			if w, ok := y[k]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		y, ok := y.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equal(x[i], y[i]) {
				return false
			}
		}
		return true
	case json.Number:
		y, ok := y.(json.Number)
		if x == y {
			return true
		}
		f, err := strconv.ParseFloat(string(x), 64)
		g, err2 := strconv.ParseFloat(string(y), 64)
		return ok && err == nil && err2 == nil && f == g && strings.ContainsAny(string(x)+string(y), ".e")
	}
	return reflect.DeepEqual(x, y)
}

// compared is a message that is read in both ways.
type compared struct {
	md    protoreflect.MessageDescriptor
	types *dynamicpb.Types
	names []string // of the fields, the paths of plan behind the whole message
	plan  *plan
}

func compare(t testing.TB, schema event.Schema, message string) *compared {
	c := &compared{md: describe(t, schema, message)}
	for i := range c.md.Fields().Len() {
		c.names = append(c.names, string(c.md.Fields().Get(i).Name()))
	}
	c.plan = own(t, schema, message, append([]string{""}, c.names...)...)
	c.types = dynamicpb.NewTypes(filesOf(c.md.ParentFile()))
	return c
}

// check reports how often both ways read the document: it is wrong if what they say differs, and if one of them refuses it without a
// reason.
func (c *compared) check(t *testing.T, doc []byte) bool {
	t.Helper()
	values := make([]event.Value, 1+len(c.names))
	var arena []byte
	err := c.plan.Read(doc, nil, values, &arena)
	m := dynamicpb.NewMessage(c.md)
	if unmarshal(doc, m) != nil {
		return false // of what is overwritten later the other one sees that it is wrong
	}
	r := reference{types: c.types}
	want := r.message(m).(map[string]any)
	if err != nil {
		message := err.(*event.Refusal).Message
		switch {
		case strings.Contains(message, "another type"), strings.HasSuffix(message, errWellKnown.Error()), strings.HasSuffix(message, errDepth.Error()), r.bad:
			return false
		case strings.HasSuffix(message, errEncoding.Error()) && c.md.ParentFile().Syntax() != protoreflect.Proto3: // PostgreSQL would refuse it
			return false
		}
		t.Fatalf("% x: %v, and the other one takes it", doc, err)
	}
	if r.bad {
		t.Fatalf("% x: is no value, and was taken: %s", doc, values[0].Raw)
	}
	decode := func(b []byte) (v any) {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("% x: %s: %v", doc, b, err)
		}
		return v
	}
	if got := decode(values[0].Raw); !equal(got, want) {
		t.Fatalf("% x:\ngot  %s\nwant %v", doc, values[0].Raw, want)
	}
	for i, name := range c.names {
		b, err := values[i+1].AppendJSON(nil)
		if err != nil {
			t.Fatalf("% x: %s: %v", doc, name, err)
		}
		if got := decode(b); !equal(got, want[name]) {
			t.Fatalf("% x: %s:\ngot  %s\nwant %v", doc, name, b, want[name])
		}
	}
	return true
}

// unmarshal is that of package proto, which panics where the key of a map is of another wire type.
func unmarshal(b []byte, m proto.Message) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return proto.UnmarshalOptions{AllowPartial: true, Resolver: (*protoregistry.Types)(nil)}.Unmarshal(b, m)
}

// random fills a message.
type random struct {
	*rand.Rand
	types *dynamicpb.Types
}

func (r random) message(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if r.IntN(3) > 0 || depth > 3 && fd.Message() != nil {
			continue
		}
		switch {
		case fd.IsList():
			for range r.IntN(4) {
				m.Mutable(fd).List().Append(r.value(fd, m.Mutable(fd).List().NewElement(), depth))
			}
		case fd.IsMap():
			for range r.IntN(4) {
				m.Mutable(fd).Map().Set(r.value(fd.MapKey(), protoreflect.Value{}, depth).MapKey(), r.value(fd.MapValue(), m.Mutable(fd).Map().NewValue(), depth))
			}
		default:
			m.Set(fd, r.value(fd, m.NewField(fd), depth))
		}
	}
	// What there are few of that are right.
	set := func(number protoreflect.FieldNumber, v any) {
		fd := fields.ByNumber(number)
		switch fd.Kind() {
		case protoreflect.Int32Kind:
			v = int32(v.(int64))
		}
		m.Set(fd, protoreflect.ValueOf(v))
	}
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp":
		set(1, -62135596800+r.Int64N(253402300800+62135596800))
		set(2, r.Int64N(1e9))
	case "google.protobuf.Duration":
		sign := 1 - 2*r.Int64N(2)
		set(1, sign*r.Int64N(315576000000))
		set(2, sign*r.Int64N(1e9))
	case "google.type.Date":
		set(1, 1+r.Int64N(9999))
		set(2, 1+r.Int64N(12))
		set(3, 1+r.Int64N(28))
	case "google.type.TimeOfDay":
		for number, most := range []int64{24, 60, 60, 1e9} {
			set(protoreflect.FieldNumber(number+1), r.Int64N(most))
		}
	case "confluent.type.Decimal":
		set(1, []byte{byte(r.IntN(256)), byte(r.IntN(256))})
		set(3, int64(r.IntN(30)-10))
	case "google.protobuf.Any":
		name := []string{"acme.common.Point", "acme.shop.Order", "google.protobuf.Timestamp", "google.protobuf.Struct", "no.Such", ""}[r.IntN(6)]
		var b []byte
		if mt, err := r.types.FindMessageByName(protoreflect.FullName(name)); err == nil {
			of := mt.New()
			r.message(of, depth+1)
			b, _ = proto.Marshal(of.Interface())
		}
		set(1, "type/"+name)
		set(2, b)
	}
}

func (r random) value(fd protoreflect.FieldDescriptor, empty protoreflect.Value, depth int) protoreflect.Value {
	n := r.Uint64() >> r.IntN(64)
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		r.message(empty.Message(), depth+1)
		return empty
	case protoreflect.BoolKind:
		return protoreflect.ValueOf(n%2 == 0)
	case protoreflect.EnumKind:
		values := fd.Enum().Values()
		return protoreflect.ValueOf(append([]protoreflect.EnumNumber{77}, values.Get(r.IntN(values.Len())).Number())[min(1, r.IntN(9))])
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOf(int32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOf(int64(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOf(uint32(n))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOf(n)
	case protoreflect.FloatKind:
		return protoreflect.ValueOf(math.Float32frombits(uint32(n)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOf(math.Float64frombits(r.Uint64()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOf([]byte("\x00\xff!"[:r.IntN(4)]))
	}
	return protoreflect.ValueOf([]string{"", "a", "b", "é\"\\\n\x00😀", strings.Repeat("x", r.IntN(200))}[r.IntN(5)])
}

// TestReference compares random messages with what package dynamicpb makes of them: whole, in pieces that merge, and with a byte changed.
func TestReference(t *testing.T) {
	// The two differ about a few messages that are none, such as those of seed 1796025567022819768.
	seed := uint64(testenv.Times(1, int(time.Now().UnixNano())))
	t.Logf("seed %d", seed)
	for _, c := range []*compared{
		compare(t, shop(t), "Order"), compare(t, event.Schema{Text: text(t, "old.proto")}, "Old"), compare(t, event.Schema{Text: text(t, "edition.proto")}, "Event"),
	} {
		r := random{rand.New(rand.NewPCG(seed, 0)), c.types}
		marshal := func() []byte {
			m := dynamicpb.NewMessage(c.md)
			r.message(m, 0)
			b, err := proto.MarshalOptions{AllowPartial: true}.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		both, changed := 0, 0
		const rounds = 1500
		for range rounds {
			x, y := marshal(), marshal()
			if !c.check(t, x) {
				t.Fatalf("% x: is refused", x)
			}
			if c.check(t, append(bytes.Clone(x), y...)) {
				both++
			}
			if len(x) > 0 {
				x[r.IntN(len(x))] = byte(r.IntN(256))
				if c.check(t, x) {
					changed++
				}
			}
		}
		t.Logf("%s: %d of two in one were read, and %d that were changed", c.md.FullName(), both, changed)
		if both < rounds/2 || changed < rounds/10 {
			t.Errorf("%s: %d of two in one were read, and %d that were changed: too few of %d to say anything", c.md.FullName(), both, changed, rounds)
		}
	}
}

func FuzzReference(f *testing.F) {
	c := compare(f, shop(f), "Order")
	for _, message := range []string{
		``, `order_id: 5 customer { id: 7 tags: "a" } status: STATUS_LOST`, `invoice { author { name: "n" } }`, `labels { key: "a" value: "b" } codes: [1, 2]`,
		`attrs { fields { key: "b" value { list_value { values { number_value: 1 } } } } }`, `any { [x/acme.common.Point] { lat: 1 } }`, `placed_at { seconds: 1 nanos: 5 } took { seconds: -1 } total { value: "\001" scale: 2 }`,
	} {
		f.Add(wire(f, c.md, message))
	}
	f.Add(protowire.AppendTag(nil, 900, protowire.StartGroupType))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) < 1<<16 {
			c.check(t, doc)
		}
	})
}
