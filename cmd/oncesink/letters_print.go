package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/sink"
)

// screen is how wide a terminal is at least.
const screen = 80

// lettersReport is what `oncesink dead-letters list --json` prints.
type lettersReport struct {
	Group   string       `json:"group"`
	Letters []letterJSON `json:"letters"`
	More    int64        `json:"more"` // that are not listed
}

// letterJSON is a letter with its payload in the form in which it can be read.
type letterJSON struct {
	letters.Letter
	*payloadJSON
}

// payloadJSON is what is of the record. What is no text is in base64 instead.
type payloadJSON struct {
	Message string       `json:"message"`
	Key     *string      `json:"key"`
	Key64   []byte       `json:"key_base64,omitempty"`
	Value   *string      `json:"value"`
	Value64 []byte       `json:"value_base64,omitempty"`
	Headers []headerJSON `json:"headers"`
}

type headerJSON struct {
	Name    string  `json:"name"`
	Name64  []byte  `json:"name_base64,omitempty"`
	Value   *string `json:"value"`
	Value64 []byte  `json:"value_base64,omitempty"`
}

func lettersJSON(list []letters.Letter) []letterJSON {
	out := make([]letterJSON, 0, len(list))
	for _, l := range list {
		j := letterJSON{Letter: l}
		if p := l.Payload; p != nil {
			j.payloadJSON = &payloadJSON{Message: p.Message, Headers: []headerJSON{}}
			j.Key, j.Key64 = asText(p.Key)
			j.Value, j.Value64 = asText(p.Value)
			for _, h := range p.Headers {
				var one headerJSON
				if name, raw := asText([]byte(h.Key)); name != nil {
					one.Name = *name
				} else {
					one.Name64 = raw
				}
				one.Value, one.Value64 = asText(h.Value)
				j.Headers = append(j.Headers, one)
			}
		}
		out = append(out, j)
	}
	return out
}

// asText returns bytes as text if they are one, and as they are if not.
func asText(b []byte) (*string, []byte) {
	if b == nil || !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}

// printLetters lists letters: as a table, or, with what is of their records, one below the other.
func printLetters(w io.Writer, list []letters.Letter, payload bool) {
	if payload {
		for i := range list {
			l := &list[i]
			printWrapped(w, "", l.Place()+" "+when(l.Recorded)+" "+whatRefused(l)+", "+whatBecame(l))
			for _, line := range payloadLines(l.Payload) {
				fmt.Fprintln(w, text.Snip("  "+oneLine(line), screen, "…"))
			}
		}
		return
	}
	if len(list) == 0 {
		return
	}
	if t := letterTable(list); text.LongestLineLen(t) <= screen {
		fmt.Fprint(w, t)
	} else {
		for i := range list {
			l := &list[i]
			fmt.Fprintln(w, l.Place())
			printWrapped(w, "  ", fmt.Sprintf("%s %s, %s, %s", short(l.Recorded), whatRefused(l), l.Status, times(l.Attempts)))
		}
	}
	printMeanings(w, list)
}

// letterTable lists letters in lines, which are as long as their names make them.
func letterTable(list []letters.Letter) string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Format.Header = text.FormatDefault
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	t.SetStyle(style)
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 6, Align: text.AlignRight, AlignHeader: text.AlignRight}})
	t.AppendHeader(table.Row{"letter", "since", "code", "refused by", "status", "tries"})
	for i := range list {
		l := &list[i]
		t.AppendRow(table.Row{l.Place(), short(l.Recorded), codeOf(l.Code), targetOf(l), l.Status, l.Attempts})
	}
	var b strings.Builder
	for line := range strings.Lines(t.Render()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// times says how often a record was refused.
func times(n int32) string {
	if n == 1 {
		return "tried once"
	}
	return fmt.Sprintf("tried %d times", n)
}

// printMeanings says what the codes of a list mean.
func printMeanings(w io.Writer, list []letters.Letter) {
	var said []string
	for i := range list {
		if !slices.Contains(said, list[i].Code) {
			said = append(said, list[i].Code)
			printWrapped(w, "", codeOf(list[i].Code)+": "+list[i].Reason)
		}
	}
}

// printMore says how many there are beside those that are listed.
func printMore(w io.Writer, listed int, all int64, unfiltered bool) {
	switch more := all - int64(listed); {
	case all == 0 && unfiltered:
		fmt.Fprintln(w, "no dead letters are open")
	case all == 0:
		fmt.Fprintln(w, "no such dead letters")
	case more > 0:
		printWrapped(w, "", fmt.Sprintf("%s more: use --limit or filters such as --code; stats counts them", thousands(int(more))))
	}
}

// printLetter shows one letter.
func printLetter(w io.Writer, l *letters.Letter) {
	say := func(name, value string) {
		if value != "" {
			const width = 11
			fmt.Fprintf(w, "%-*s %s\n", width, name, strings.ReplaceAll(text.WrapSoft(value, screen-width-1), "\n", "\n"+strings.Repeat(" ", width+1)))
		}
	}
	say("letter", l.Place())
	if l.Generation > 0 {
		say("generation", fmt.Sprintf("%d: the topic was recreated before it", l.Generation))
	}
	say("status", whatBecame(l))
	say("code", codeOf(l.Code)+": "+l.Reason)
	say("refused by", targetOf(l))
	say("constraint", printable(l.Constraint))
	say("since", when(l.Recorded))
	if !l.Tried.Equal(l.Recorded) {
		say("last tried", when(l.Tried))
	}
	if l.Time != nil {
		say("record of", when(*l.Time))
	}
	say("size", "key "+bytesOf(l.KeyBytes)+", value "+bytesOf(l.ValueBytes))
	if l.Payload == nil {
		printWrapped(w, "", "the message, which may quote the record, and the record itself: --payload")
		return
	}
	for _, line := range payloadLines(l.Payload) {
		fmt.Fprintln(w, line)
	}
}

// payloadLines are what is of the record, whole.
func payloadLines(p *letters.Payload) []string {
	value := legible(p.Value)
	if p.Value == nil {
		value = "none: a tombstone"
	}
	lines := []string{"message     " + legible([]byte(p.Message)), "value       " + value}
	if p.Key != nil {
		lines = slices.Insert(lines, 1, "key         "+legible(p.Key))
	}
	for _, h := range p.Headers {
		lines = append(lines, "header      "+headerText(h))
	}
	return lines
}

func headerText(h sink.Header) string {
	if h.Value == nil {
		return legible([]byte(h.Key))
	}
	return legible([]byte(h.Key)) + ": " + legible(h.Value)
}

// legible is a text without what a terminal would act on, or hexadecimal digits of what is none.
func legible(b []byte) string {
	if !utf8.Valid(b) || slices.Contains(b, 0) {
		return fmt.Sprintf(`\x%x`, b)
	}
	var s strings.Builder
	for _, r := range string(b) {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			s.WriteRune(r)
		} else {
			s.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return s.String()
}

func oneLine(s string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(s)
}

func when(t time.Time) string { return t.Format("2006-01-02 15:04:05Z") }

// short is a time without its year.
func short(t time.Time) string { return t.Format("01-02 15:04:05") }

func bytesOf(n *int64) string {
	if n == nil {
		return "none"
	}
	if *n == 1 {
		return "1 byte"
	}
	return thousands(int(*n)) + " bytes"
}

// codeOf names a code, and the one of a handler's errors, which have none.
func codeOf(code string) string {
	if code == "" {
		return "handler"
	}
	return printable(code)
}

func targetOf(l *letters.Letter) string { return printable(letters.Target(l.Table, l.Column)) }

// whatRefused names the code and what refused the record.
func whatRefused(l *letters.Letter) string {
	if target := targetOf(l); target != "" {
		return codeOf(l.Code) + ", " + target
	}
	return codeOf(l.Code)
}

// whatBecame says what became of a letter.
func whatBecame(l *letters.Letter) string {
	s := l.Status
	if l.Late {
		s += " (late)"
	}
	if l.Settled != nil {
		s += " " + when(*l.Settled)
		if l.SettledBy != "" {
			s += " by " + printable(l.SettledBy)
		}
	}
	if l.Attempts > 1 {
		s += fmt.Sprintf(", refused %d times", l.Attempts)
	}
	return s
}

// printKinds says which letters there are of each kind.
func printKinds(w io.Writer, indent string, kinds []letters.Kind) {
	const most = 20
	for i, k := range kinds {
		if i == most {
			fmt.Fprintf(w, "%s%d more kind(s): `oncesink dead-letters stats`\n", indent, len(kinds)-most)
			return
		}
		printWrapped(w, indent, kindText(&k, k.Topic+", "))
	}
}

func kindText(k *letters.Kind, topic string) string {
	what := topic + codeOf(k.Code)
	if target := printable(letters.Target(k.Table, k.Column)); target != "" {
		what += ", " + target
	}
	return fmt.Sprintf("%s x %s: %s", thousands(int(k.Letters)), what, k.Reason)
}
