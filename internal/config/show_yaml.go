package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// YAML writes what is shown as a configuration, each line with where its values come from. Secrets apart it can be read again.
func (s *Shown) YAML() string {
	var b strings.Builder
	s.mapping(&b, "", "", s.Values)
	return b.String()
}

// keys are those of a map, in the order in which they are shown.
func (s *Shown) keys(path string, m map[string]any) []string {
	if order := s.order[path]; len(order) == len(m) {
		return order
	}
	return slices.Sorted(maps.Keys(m))
}

func (s *Shown) mapping(b *strings.Builder, path, indent string, m map[string]any) {
	for _, key := range s.keys(path, m) {
		at := join(path, key)
		if note := s.notes[at]; note != "" {
			fmt.Fprintf(b, "%s# %s\n", indent, note)
		}
		s.entry(b, at, indent, indent+text(key)+":", m[key])
	}
}

// entry writes a key, or the dash of a list, and what follows it.
func (s *Shown) entry(b *strings.Builder, path, indent, head string, value any) {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			s.line(b, head+" {}", path)
			return
		}
		fmt.Fprintln(b, head)
		s.mapping(b, path, indent+"  ", v)
	case []any:
		if flow, ok := inline(v); ok && utf8.RuneCountInString(head)+len(flow) < 60 {
			s.line(b, head+" "+flow, path)
			return
		}
		fmt.Fprintln(b, head)
		for i, item := range v {
			at := fmt.Sprintf("%s[%d]", path, i)
			m, isMap := item.(map[string]any)
			if !isMap || len(m) == 0 {
				s.entry(b, at, indent+"  ", indent+"  -", item)
				continue
			}
			var inner strings.Builder
			s.mapping(&inner, at, indent+"    ", m)
			b.WriteString(indent + "  - " + strings.TrimPrefix(inner.String(), indent+"    "))
		}
	case string:
		if strings.Contains(v, "\n") {
			s.block(b, indent, head, v)
			return
		}
		if folded := fold(v, indent+"  "); folded != "" && utf8.RuneCountInString(head+" "+text(v)) > lineWidth {
			s.line(b, head+" >-", path)
			b.WriteString(folded)
			return
		}
		s.line(b, head+" "+text(v), path)
	default:
		s.line(b, head+" "+marshalled(v), path)
	}
}

// block writes a text of several lines.
func (s *Shown) block(b *strings.Builder, indent, head, value string) {
	style := " |-"
	if strings.HasSuffix(value, "\n") {
		style = " |"
	}
	if strings.HasPrefix(value, " ") || strings.HasSuffix(value, "\n\n") || strings.ContainsAny(value, "\t\r") {
		fmt.Fprintln(b, head+" "+marshalled(value))
		return
	}
	fmt.Fprintln(b, head+style)
	for line := range strings.SplitSeq(strings.TrimSuffix(value, "\n"), "\n") {
		if line != "" {
			line = indent + "  " + line
		}
		fmt.Fprintln(b, line)
	}
}

// lineWidth is what a terminal has that nobody made wider.
const lineWidth = 80

// fold is a long text in lines that YAML reads as one, "" if it can't be one.
func fold(value, indent string) string {
	words := strings.Split(value, " ")
	if len(words) < 2 || slices.Contains(words, "") || strings.ContainsAny(value, "\t\r\n") {
		return ""
	}
	var b strings.Builder
	line := indent + words[0]
	for _, w := range words[1:] {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > lineWidth {
			b.WriteString(line + "\n")
			line = indent + w
		} else {
			line += " " + w
		}
	}
	return b.String() + line + "\n"
}

// line writes a line with where its value comes from, in a column of its own while there is room.
func (s *Shown) line(b *strings.Builder, line, path string) {
	origin := s.Origins[path]
	if origin == "" || strings.HasSuffix(path, "]") {
		fmt.Fprintln(b, line)
		return
	}
	if utf8.RuneCountInString(line)+len(origin)+4 <= lineWidth {
		fmt.Fprintf(b, "%-40s  # %s\n", line, origin)
		return
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
	if strings.HasPrefix(line[len(indent):], "- ") { // nothing may stand between a dash and its key
		fmt.Fprintln(b, line)
		return
	}
	fmt.Fprintf(b, "%s# %s\n%s\n", indent, origin, line)
}

// inline is a list of plain values on one line.
func inline(list []any) (string, bool) {
	var items []string
	for _, item := range list {
		switch v := item.(type) {
		case map[string]any, []any:
			return "", false
		case string:
			if strings.Contains(v, "\n") {
				return "", false
			}
			item := text(v)
			if strings.Contains(item, ",") && item == v {
				item = quotedText(v)
			}
			items = append(items, item)
		default:
			items = append(items, marshalled(v))
		}
	}
	return "[" + strings.Join(items, ", ") + "]", true
}

// simple is a text that needs no quotes, unless it is a word that means something else.
var simple = regexp.MustCompile(`^[A-Za-z0-9_./][A-Za-z0-9_./,@+=() -]*$`)

// text writes a text, in quotes where it could be read as something else.
func text(s string) string {
	if simple.MatchString(s) && !strings.HasPrefix(s, "/") && !strings.HasSuffix(s, " ") {
		return marshalled(s)
	}
	return quotedText(s)
}

func quotedText(s string) string {
	if strings.ContainsAny(s, "\\\"\n\t\r") || !utf8.ValidString(s) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return `"` + s + `"`
}

func marshalled(v any) string {
	out, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimRight(string(out), "\n")
}
