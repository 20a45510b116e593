package torture

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// played is what is published of a row: all of its runs together.
type played struct {
	result
	Runs  int      `json:"runs"`
	Seeds []uint64 `json:"seeds"`
	Scene scene    `json:"scene"`
}

// scene is where and when it was played.
type scene struct {
	Date, Machine, Kafka, PostgreSQL string
}

// add adds a run.
func (p *played) add(x *result, seed uint64) {
	if p.Runs == 0 {
		p.result = *x
		p.Fired, p.Recovery = maps.Clone(x.Fired), slices.Clone(x.Recovery)
	} else {
		for what, n := range x.Fired {
			p.Fired[what] += n
		}
		p.Recovery = append(p.Recovery, x.Recovery...)
		p.Seconds += x.Seconds
		p.Verdict.Events += x.Verdict.Events
		p.Verdict.Lost += x.Verdict.Lost
		p.Verdict.Doubled += x.Verdict.Doubled
		p.Verdict.Wrong += x.Verdict.Wrong
		p.Verdict.Order += x.Verdict.Order
		p.Verdict.Phantoms += x.Verdict.Phantoms
		p.Reads += x.Reads
		p.Absorbed += x.Absorbed
		p.Fenced += x.Fenced
		p.Unknown += x.Unknown
		p.Note = cmp.Or(x.Note, p.Note)
	}
	slices.Sort(p.Recovery)
	p.Runs++
	p.Seeds = append(p.Seeds, seed)
}

// faults is how many faults fired.
func (p *played) faults() (n int) {
	for _, k := range p.Fired {
		n += k
	}
	return n
}

// publish replaces the lines of the rows that were played in faults.json, and what faults.md has of them. A row of which a run failed keeps
// the line that it had.
func publish(dir string, results []*played) error {
	path := filepath.Join(dir, "faults.json")
	all, err := published(path)
	if err != nil {
		return err
	}
	for _, x := range results {
		if x.Passed {
			all[x.Row] = x
		}
	}
	lines := make([]string, 0, len(all))
	for _, n := range slices.Sorted(maps.Keys(all)) {
		b, err := json.Marshal(all[n])
		if err != nil {
			return err
		}
		lines = append(lines, string(b))
	}
	if err := os.WriteFile(path, []byte("[\n"+strings.Join(lines, ",\n")+"\n]\n"), 0o644); err != nil {
		return err
	}
	page := filepath.Join(dir, "faults.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, _, after, err := around(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(before+render(all)+after), 0o644)
}

// published reads what faults.json has, by row.
func published(path string) (map[int]*played, error) {
	all := map[int]*played{}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	var list []*played
	if err == nil {
		err = json.Unmarshal(b, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	for _, x := range list {
		all[x.Row] = x
	}
	return all, nil
}

const tableBegin, tableEnd = "<!-- rows -->\n", "<!-- end -->"

// around cuts the page at its marks.
func around(text string) (before, table, after string, err error) {
	before, rest, ok := strings.Cut(text, tableBegin)
	table, after, closed := strings.Cut(rest, tableEnd)
	if !ok || !closed {
		return "", "", "", errors.New("it has no marks around the table")
	}
	return before + tableBegin, table, tableEnd + after, nil
}

// render is what the page has between its marks.
func render(all map[int]*played) string {
	var table, fired, idle, notes strings.Builder
	var sum played
	scenes := map[string][]int{}
	for _, x := range rows() {
		p := all[x.n]
		if p == nil || x.not != "" {
			fmt.Fprintf(&idle, "- **%d, %s**: %s.\n", x.n, x.name, cmp.Or(x.not, "not played yet"))
			continue
		}
		v := p.Verdict
		fmt.Fprintf(&table, "| %d | %s | %d | %d | %d | %d %d %d %d %d | %d | %d | %d | %s |\n", x.n, x.name, p.Runs, v.Events, p.faults(),
			v.Lost, v.Doubled, v.Wrong, v.Order, v.Phantoms, p.Absorbed, p.Fenced, p.Unknown, percentiles(p.Recovery))
		words := make([]string, 0, len(p.Fired))
		for _, what := range slices.Sorted(maps.Keys(p.Fired)) {
			words = append(words, fmt.Sprintf("%s: %d", what, p.Fired[what]))
		}
		fmt.Fprintf(&fired, "| %d | %s | %s |\n", x.n, strings.Join(words, "; "), seeds(p.Seeds))
		if p.Note != "" {
			fmt.Fprintf(&notes, "- **%d**: %s.\n", x.n, p.Note)
		}
		sum.add(&p.result, 0)
		sum.Runs += p.Runs - 1
		at := fmt.Sprintf("%s, on %s, with Apache Kafka %s and PostgreSQL %s", p.Scene.Date, p.Scene.Machine, p.Scene.Kafka, p.Scene.PostgreSQL)
		scenes[at] = append(scenes[at], x.n)
	}
	var b strings.Builder
	if table.Len() > 0 {
		b.WriteString("| | fault | runs | events | faults | L D V O P | absorbed | fenced | unknown | recovery in s |\n|---:|---|---:|---:|---:|---|---:|---:|---:|---|\n")
		b.WriteString(table.String())
		v := sum.Verdict
		fmt.Fprintf(&b, "| | **all** | %d | %d | %d | %d %d %d %d %d | %d | %d | %d | %s |\n", sum.Runs, v.Events, sum.faults(), v.Lost, v.Doubled, v.Wrong, v.Order, v.Phantoms,
			sum.Absorbed, sum.Fenced, sum.Unknown, percentiles(sum.Recovery))
		fmt.Fprintf(&b, "\nReaders looked %d times at rows meanwhile.", sum.Reads)
		for _, at := range slices.Sorted(maps.Keys(scenes)) {
			if len(scenes) == 1 {
				fmt.Fprintf(&b, " Played %s.", at)
			} else {
				fmt.Fprintf(&b, " Played %s: %s.", at, numbers(scenes[at]))
			}
		}
		if notes.Len() > 0 {
			b.WriteString("\n\n" + notes.String())
		} else {
			b.WriteString("\n")
		}
		b.WriteString("\nWhich faults fired, each counted by what proves it:\n\n| | faults | seeds |\n|---:|---|---|\n" + fired.String())
	}
	if idle.Len() > 0 {
		b.WriteString("\nNot played:\n\n" + idle.String())
	}
	return b.String() + "\n"
}

// percentiles of milliseconds in order: the median, that below which 99 of 100 are, and the longest, in seconds.
func percentiles(ms []int64) string {
	if len(ms) == 0 {
		return ""
	}
	at := func(p int) float64 { return float64(ms[(len(ms)*p+99)/100-1]) / 1000 }
	return fmt.Sprintf("%.1f / %.1f / %.1f", at(50), at(99), at(100))
}

func seeds(list []uint64) string {
	var words []string
	for _, n := range list {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

func numbers(list []int) string {
	var words []string
	for _, n := range list {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, ", ")
}

// The page has what the file of results says, and both of all rows.
func TestPageIsCurrent(t *testing.T) {
	all, err := published("../../docs/faults.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _, err := around(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := render(all); table != want {
		t.Errorf("docs/faults.md is not what docs/faults.json says; go test ./internal/torture -run TestTorture -rows none -docs ../../docs writes it anew\n%s", want)
	}
	for n, x := range all {
		if !x.Verdict.Clean() || x.faults() == 0 || !slices.ContainsFunc(rows(), func(r row) bool { return r.n == n }) {
			t.Errorf("row %d: %v, %d faults", n, x.Verdict, x.faults())
		}
	}
}

// Rows are from 1 to 35, each once; runs of a row add up.
func TestRows(t *testing.T) {
	for i, x := range rows() {
		if x.n != i+1 {
			t.Errorf("row %d is at place %d", x.n, i+1)
		}
	}
	if n := len(rows()); n != 35 {
		t.Errorf("%d rows", n)
	}
	var p played
	one := &result{Row: 3, Fired: map[string]int{"a": 1}, Recovery: []int64{900}, Absorbed: 4}
	p.add(one, 7)
	p.add(&result{Row: 3, Fired: map[string]int{"a": 1, "b": 2}, Recovery: []int64{100, 2000}, Absorbed: 1}, 8)
	if p.Runs != 2 || p.faults() != 4 || p.Absorbed != 5 || percentiles(p.Recovery) != "0.9 / 2.0 / 2.0" || one.Fired["a"] != 1 || len(one.Recovery) != 1 {
		t.Errorf("%+v, %s, of %+v", p, percentiles(p.Recovery), one)
	}
}
