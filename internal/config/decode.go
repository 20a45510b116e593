package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder fills a struct from a parsed document. It goes on after a problem, so
// that a person sees all of them, and unlike the YAML library's own decoder it
// names keys instead of Go types, rounds nothing, and knows where each key stands.
type decoder struct {
	data     []byte                           // the document
	lookup   func(name string) (string, bool) // environment
	anchors  map[string]ast.Node
	at       map[string]*token.Position // key path -> where it stands
	values   map[string]*token.Position // key path -> where its single value stands
	raw      map[string]string          // key path -> its text as it is written, with variables
	problems []Problem
}

func (d *decoder) problem(at *token.Position, path, format string, args ...any) {
	p := Problem{Path: path, Message: fmt.Sprintf(format, args...)}
	if at != nil {
		p.Line, p.Column = at.Line, at.Column
	}
	d.problems = append(d.problems, p)
}

// value decodes n into v. A null leaves v as it is, but for a section such as
// "tls:", which is thereby there, with its defaults.
func (d *decoder) value(path string, n ast.Node, v reflect.Value) {
	written := n
	n = d.resolve(n)
	if n == nil {
		return
	}
	_, null := n.(*ast.NullNode)
	if v.Kind() == reflect.Pointer {
		if null && v.Type().Elem().Kind() != reflect.Struct {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if null {
		if f, ok := v.Addr().Interface().(*DefaultFor); ok && n.GetToken().Type != token.ImplicitNullType { // an empty one is none
			*f = "null" // which is what it stands for
		}
		return
	}
	_, secret := v.Addr().Interface().(*Secret)
	text, isText := d.text(path, n, secret)
	if isText {
		d.values[path] = position(written)
	}
	if s, ok := v.Addr().Interface().(scalar); ok {
		or := ""
		switch s.(type) {
		case *Column, *Input, *Values, *Envelope:
			or = "map"
		case *Condition:
			or = "map"
			if list, ok := n.(*ast.SequenceNode); ok {
				d.sequence(path, list, v.FieldByName("In"))
				return
			}
		}
		if isText {
			if err := s.set(text); err != nil {
				d.problem(position(n), path, "%v", err)
			}
			return
		} else if or == "" {
			d.problem(position(n), path, "must be a single value, and is %s", kindName(n))
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(path, n, v)
	case reflect.Map:
		d.mapping(path, n, v)
	case reflect.Slice:
		if fields, ok := v.Addr().Interface().(*Fields); ok {
			d.fields(path, n, fields)
			return
		}
		d.sequence(path, n, v)
	default:
		if !isText {
			d.problem(position(n), path, "must be a single value, and is %s", kindName(n))
			return
		}
		d.plain(path, n, text, v)
	}
}

// plain decodes a text into a string, a number or a boolean.
func (d *decoder) plain(path string, n ast.Node, text string, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			d.problem(position(n), path, "must be a whole number")
		}
		v.SetInt(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.problem(position(n), path, "must be a number, such as 0.1")
		}
		v.SetFloat(f)
	case reflect.Bool:
		if text != "true" && text != "false" {
			d.problem(position(n), path, "must be true or false")
		}
		v.SetBool(text == "true")
	default:
		panic("config: a field of kind " + v.Kind().String())
	}
}

// structure decodes a map of known keys.
func (d *decoder) structure(path string, n ast.Node, v reflect.Value) {
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		fields[name] = v.Field(i)
		names = append(names, name)
	}
	d.entries(path, n, func(key string, keyAt *token.Position, value ast.Node) {
		field, known := fields[key]
		if !known {
			at := join(path, key)
			if inSecret(d.data, keyAt) {
				at = path
			}
			d.problem(keyAt, at, "unknown key%s", Suggest(key, names))
			d.problems[len(d.problems)-1].guarded = holdsSecret(v.Type())
			return
		}
		d.value(join(path, key), value, field)
	})
}

// holdsSecret reports whether a section has a key whose value is a secret.
func holdsSecret(t reflect.Type) bool {
	for i := range t.NumField() {
		if t.Field(i).Type == reflect.TypeFor[Secret]() {
			return true
		}
	}
	return false
}

// mapping decodes a map of keys that the person names.
func (d *decoder) mapping(path string, n ast.Node, v reflect.Value) {
	v.Set(reflect.MakeMap(v.Type()))
	d.entries(path, n, func(key string, _ *token.Position, value ast.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(join(path, key), value, item)
		v.SetMapIndex(reflect.ValueOf(key), item)
	})
}

// fields decodes a map of names to texts whose order matters.
func (d *decoder) fields(path string, n ast.Node, out *Fields) {
	d.entries(path, n, func(key string, _ *token.Position, value ast.Node) {
		f := Field{Name: key}
		d.value(join(path, key), value, reflect.ValueOf(&f.Text).Elem())
		*out = append(*out, f)
	})
}

// entries calls each for the entries of a map and notes where their keys stand.
func (d *decoder) entries(path string, n ast.Node, each func(key string, at *token.Position, value ast.Node)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.problem(position(n), path, "must be a map of keys, and is %s", kindName(n))
		return
	}
	for it := m.MapRange(); it.Next(); {
		keyNode := it.Key()
		if _, isScalar := keyNode.(ast.ScalarNode); !isScalar || keyNode.IsMergeKey() {
			d.problem(position(keyNode), path, "a key must be a plain text: write merged and computed keys out")
			continue
		}
		key := keyNode.GetToken().Value
		at := join(path, key)
		if first, again := d.at[at]; again {
			if inSecret(d.data, position(keyNode)) {
				at = path
			}
			d.problem(position(keyNode), at, "is given twice, first in line %d", first.Line)
			continue
		}
		d.at[at] = position(keyNode)
		each(key, position(keyNode), it.Value())
	}
}

// sequence decodes a list.
func (d *decoder) sequence(path string, n ast.Node, v reflect.Value) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		d.problem(position(n), path, "must be a list, such as [a, b], and is %s", kindName(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, len(list.Values))) // [] is not the same as nothing
	for i, node := range list.Values {
		item := reflect.New(v.Type().Elem()).Elem()
		at := fmt.Sprintf("%s[%d]", path, i)
		d.at[at] = position(node)
		if r := d.resolve(node); r == nil || r.Type() == ast.NullType {
			d.problem(position(node), at, "is empty")
		}
		d.value(at, node, item)
		v.Set(reflect.Append(v, item))
	}
}

// text returns a scalar as it is written, with environment variables expanded in
// strings.
func (d *decoder) text(path string, n ast.Node, secret bool) (text string, ok bool) {
	if text, ok := glued(n); ok {
		return text, true
	}
	switch n := n.(type) {
	case *ast.StringNode:
		text = n.Value
	case *ast.LiteralNode:
		text = n.Value.Value
	case ast.ScalarNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
	d.raw[path] = text
	text, missing := expand(text, secret, d.lookup)
	for _, m := range missing {
		d.problem(position(n), path, "%s", m)
	}
	return text, true
}

// glued undoes a mistake of the YAML parser, which takes the host:9092 in
// { brokers: [host:9092] } for a map, although no space follows the colon.
func glued(n ast.Node) (string, bool) {
	m, ok := n.(ast.MapNode)
	if !ok {
		return "", false
	}
	it := m.MapRange()
	if !it.Next() {
		return "", false
	}
	key, colon, value := it.Key().GetToken(), it.KeyValue().Start, it.Value().GetToken()
	_, scalar := it.Value().(ast.ScalarNode)
	if it.Next() || !scalar || colon == nil || value == nil || key.Indicator == token.QuotedScalarIndicator || value.Indicator == token.QuotedScalarIndicator {
		return "", false
	}
	k, c, v := key.Position, colon.Position, value.Position
	if k.Line != v.Line || k.Column+utf8.RuneCountInString(key.Value) != c.Column || c.Column+1 != v.Column {
		return "", false
	}
	return key.Value + ":" + value.Value, true
}

// resolve follows anchors, aliases and tags to the node that they stand for. A
// chain that never ends is no node.
func (d *decoder) resolve(n ast.Node) ast.Node {
	for range 100 {
		switch r := n.(type) {
		case *ast.AnchorNode:
			n = r.Value
		case *ast.AliasNode:
			target, ok := d.anchors[r.Value.GetToken().Value]
			if !ok {
				d.problem(position(n), "", "the alias stands for an anchor that is not there")
				return nil
			}
			n = target
		case *ast.TagNode:
			n = r.Value
		default:
			return n
		}
	}
	return nil
}

// Visit notes the anchors; it makes decoder an [ast.Visitor].
func (d *decoder) Visit(n ast.Node) ast.Visitor {
	if a, ok := n.(*ast.AnchorNode); ok {
		d.anchors[a.Name.GetToken().Value] = a.Value
	}
	return d
}

// where returns the place of a key's single value, of the key itself if it has none or
// onKey asks for it, or of the nearest section around it.
func (d *decoder) where(path string, onKey bool) (at *token.Position, exact bool) {
	if at, ok := d.values[path]; ok && !onKey {
		return at, true
	}
	for exact = true; path != ""; exact = false {
		if at, ok := d.at[path]; ok {
			return at, exact
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return nil, false
}

func position(n ast.Node) *token.Position {
	if n == nil || n.GetToken() == nil {
		return nil
	}
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() && n.GetToken().Type == token.MappingValueType {
			return position(it.Key()) // its own token is the colon
		}
	}
	return n.GetToken().Position
}

func kindName(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Suggest returns `; did you mean "NAME"?` for the name nearest to a mistyped one, or,
// if there is none near enough, what there is.
func Suggest(word string, names []string) string {
	best, least := "", len(word)/3+2
	for _, name := range names {
		if n := distance(strings.ToLower(word), strings.ToLower(name)); n < least {
			best, least = name, n
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(names) == 0:
		return ""
	}
	names = slices.Clone(names)
	more := ""
	if len(names) > 20 {
		names, more = names[:20], ", ..."
	}
	return "; there is " + strings.Join(names, ", ") + more
}

// distance is the number of inserted, deleted or replaced bytes between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
