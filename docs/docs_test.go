// Package docs_test keeps the documents honest: what they name must exist.
package docs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

const root = ".."

// rules is how many rules docs/semantics.md states.
const rules = 35

func TestEveryRuleHasAHeading(t *testing.T) {
	var got []int
	for _, m := range regexp.MustCompile(`(?m)^### Rule (\d+): \S`).FindAllStringSubmatch(read(t, "docs/semantics.md"), -1) {
		n, _ := strconv.Atoi(m[1])
		got = append(got, n)
	}
	var want []int
	for n := range rules {
		want = append(want, n+1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("headings of rules: got %v, want %v", got, want)
	}
}

// Comments wrap: "rules 17\n// and 18".
var (
	wrap     = regexp.MustCompile(`\n[ \t]*(//|--|#)?[ \t]*`)
	citation = regexp.MustCompile(`(?i)rules?[ _]?(\d+)((?:(?:, | and |, and |-| to )\d+)*)`)
	number   = regexp.MustCompile(`(, | and |-| to )?(\d+)`)
)

// cited returns the numbers of the rules that a text cites.
func cited(text string) []int {
	var out []int
	for _, m := range citation.FindAllStringSubmatch(wrap.ReplaceAllString(text, " "), -1) {
		first, _ := strconv.Atoi(m[1])
		out = append(out, first)
		for _, more := range number.FindAllStringSubmatch(m[2], -1) {
			n, _ := strconv.Atoi(more[2])
			if last := out[len(out)-1]; more[1] == "-" || more[1] == " to " {
				for k := last + 1; k < n; k++ {
					out = append(out, k)
				}
			}
			out = append(out, n)
		}
	}
	return out
}

func TestCited(t *testing.T) {
	tests := []struct {
		text string
		want []int
	}{
		{"(rule 12)", []int{12}},
		{"func TestRule7Second(t *testing.T)", []int{7}},
		{"// by rules 17\n\t// and 18: x", []int{17, 18}},
		{"rules 3, 4 and 6-8.", []int{3, 4, 6, 7, 8}},
		{"no rule at all", nil},
	}
	for _, tt := range tests {
		if got := cited(tt.text); !slices.Equal(got, tt.want) {
			t.Errorf("cited(%q) = %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestCitedRulesExist(t *testing.T) {
	for _, path := range files(t, ".go", ".sql", ".md", ".yml", ".yaml") {
		if path == "docs/docs_test.go" {
			continue
		}
		for _, n := range cited(read(t, path)) {
			if n < 1 || n > rules {
				t.Errorf("%s cites rule %d: there are rules 1 to %d", path, n, rules)
			}
		}
	}
}

func TestEveryRuleHasATest(t *testing.T) {
	tested := map[int]bool{}
	for _, path := range files(t, "_test.go") {
		if path == "docs/docs_test.go" {
			continue
		}
		for _, n := range cited(read(t, path)) {
			tested[n] = true
		}
	}
	for n := 1; n <= rules; n++ {
		if !tested[n] {
			t.Errorf("no test names rule %d", n)
		}
	}
}

func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, path := range files(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			to := path
			if target != "" {
				to = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", path, m[1])
			} else if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s links to %s: there is no such heading", path, m[1])
			}
		}
	}
}

// What the program says of the runbook is there, and each part of the runbook is led to: an alert by its rule, a reason by the halt, the others by what
// the program says.
func TestRunbookHeadings(t *testing.T) {
	headings := anchors(read(t, "docs/runbook.md"))
	call := regexp.MustCompile(`docs\.Runbook\("([^"]+)"\)`)
	found := 0
	led := map[string]bool{}
	for _, path := range files(t, ".go") {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range call.FindAllStringSubmatch(read(t, path), -1) {
			found++
			led[m[1]] = true
			if !slices.Contains(headings, m[1]) {
				t.Errorf("%s leads to docs/runbook.md#%s: there is no such heading", path, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("nothing leads to the runbook")
	}
	for _, rule := range regexp.MustCompile(`runbook\.md#(\w+)"`).FindAllStringSubmatch(read(t, "deploy/prometheus/rules.yaml"), -1) {
		led[rule[1]] = true
	}
	led["oncesinkpartitionhalted"] = true // its rule leads to the reason
	for _, reason := range consumer.Reasons() {
		led[string(reason)] = true
	}
	parts := anchors(strings.Join(regexp.MustCompile(`(?m)^### .+$`).FindAllString(read(t, "docs/runbook.md"), -1), "\n"))
	for _, part := range parts {
		if !led[part] {
			t.Errorf("nothing leads to docs/runbook.md#%s", part)
		}
	}
	if len(parts) < 20 {
		t.Errorf("%d parts found in docs/runbook.md", len(parts))
	}
}

// anchors are the names that GitHub gives to headings.
func anchors(markdown string) []string {
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(markdown, -1) {
		out = append(out, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// TestFunctionsOfRulesExist: functions that a rule says it is kept by stand in the files that it names.
func TestFunctionsOfRulesExist(t *testing.T) {
	named := regexp.MustCompile("(?:`([A-Za-z._]+)`(?:,| and) )?`([A-Za-z._]+)` in\\s`([a-z][A-Za-z0-9_/]*\\.(?:go|sql))`")
	found := 0
	for _, m := range named.FindAllStringSubmatch(read(t, "docs/semantics.md"), -1) {
		text, err := os.ReadFile(filepath.Join(root, m[3]))
		if err != nil {
			continue // TestNamedFilesExist tells
		}
		for _, name := range m[1:3] {
			if name == "" {
				continue
			}
			found++
			if !defines(string(text), name) {
				t.Errorf("docs/semantics.md looks for %s in %s, where it is not", name, m[3])
			}
			// A later migration may have made it anew.
			for _, path := range files(t, ".sql") {
				if dir := filepath.Dir(m[3]); filepath.Dir(path) == dir && path > m[3] && strings.HasSuffix(m[3], ".sql") && defines(read(t, path), name) {
					t.Errorf("docs/semantics.md looks for %s in %s, and %s has it as it is now", name, m[3], path)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d names: nothing is shown", found)
	}
}

// defines reports whether a text in Go or SQL has the definition of a name.
func defines(text, name string) bool {
	word := name[strings.LastIndexByte(name, '.')+1:] + `\b`
	return regexp.MustCompile(`(?m)^((func (\([^)]*\) )?|type |var |const )` + word + `[ (=\[]|\t` + word + ` +[=a-z[*]|create (or replace )?function oncesink\.` + word + `)`).MatchString(text)
}

// What stands in backquotes and looks like a file or folder of this repository is one.
func TestNamedFilesExist(t *testing.T) {
	file := regexp.MustCompile("`((?:offsets|sink|consumer|internal|cmd|docs|examples|testdata)/[A-Za-z0-9_./-]+)`")
	for _, path := range files(t, ".md") {
		for _, m := range file.FindAllStringSubmatch(read(t, path), -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", path, m[1])
			}
		}
	}
}

func TestNamedFunctionsExist(t *testing.T) {
	var sql strings.Builder
	for _, path := range files(t, ".sql") {
		sql.WriteString(read(t, path))
	}
	function := regexp.MustCompile(`\boncesink\.([a-z_]+)\(`)
	for _, path := range files(t, ".md") {
		for _, m := range function.FindAllStringSubmatch(read(t, path), -1) {
			if !strings.Contains(sql.String(), "create function oncesink."+m[1]+"(") {
				t.Errorf("%s calls oncesink.%s, which the ledger does not have", path, m[1])
			}
		}
	}
}

// The SQL of the README, of docs/operating.md and of the runbook runs, in its order, as an operator would run it.
func TestSQLExamples(t *testing.T) {
	ctx, url := t.Context(), testpg.URL(t)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := offsets.Init(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if err := schema.Init(ctx, conn, sink.Config{}); err != nil {
		t.Fatal(err)
	}
	pool, _, err := offsets.NewPool(ctx, url, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var firsts []offsets.First
	for p := range int32(6) {
		firsts = append(firsts, offsets.First{Partition: offsets.Partition{Topic: "orders", Partition: p}, TopicID: offsets.NewToken(), Offset: 100})
	}
	if err := offsets.New(pool, "orders-sink", offsets.Options{}).Begin(ctx, firsts); err != nil {
		t.Fatal(err)
	}
	// Letters of every kind: text, a schema registry's prefix, a NUL, a cut UTF-8 sequence, a tombstone, nothing.
	if _, err := conn.Exec(ctx, `insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", value, headers, code, message, recorded_at)
		select 'orders-sink', gen_random_uuid(), 'orders', 0, 0, n, v, '[]', 'ONS01', 'it is broken', timestamptz '2026-01-01' + n * interval '1 s'
		  from (values (1, convert_to('{"id":"ü"}', 'UTF8')), (2, '\x00000000057b226964223a317d'), (3, '\x6100'), (4, '\xc3'), (5, null), (6, '')) l (n, v)`); err != nil {
		t.Fatal(err)
	}
	events := ""
	blocks := regexp.MustCompile("(?ms)^```sql\n(.*?)^```$").FindAllStringSubmatch(read(t, "README.md")+read(t, "docs/operating.md"), -1)
	for _, m := range blocks {
		if _, err := conn.Exec(ctx, m[1]); err != nil {
			t.Errorf("%v\n%s", err, m[1])
		} else if strings.Contains(m[1], "oncesink.dead_letters") {
			query := "select string_agg(coalesce(event, '-'), ' ') from (" + strings.TrimSuffix(strings.TrimSpace(m[1]), ";") + ")"
			if err := conn.QueryRow(ctx, query+" letters").Scan(&events); err != nil {
				t.Errorf("%v\n%s", err, query)
			}
		}
	}
	if want := `{"id":"ü"} \x00000000057b226964223a317d \x6100 \xc3 - `; events != want {
		t.Errorf("the query for dead letters shows %q, want %q", events, want)
	}
	if len(blocks) < 3 {
		t.Errorf("%d blocks of SQL found in README.md and docs/operating.md, want at least 3", len(blocks))
	}
	blocks = regexp.MustCompile("(?ms)^```sql\n(.*?)^```$").FindAllStringSubmatch(read(t, "docs/runbook.md"), -1)
	for _, m := range blocks {
		if _, err := conn.Exec(ctx, m[1]); err != nil {
			t.Errorf("%v\n%s", err, m[1])
		}
	}
	if len(blocks) < 2 {
		t.Errorf("%d blocks of SQL found in docs/runbook.md, want at least 2", len(blocks))
	}
}

// Go code in docs/library.md is code that the compiler has seen.
func TestGoExamples(t *testing.T) {
	example := read(t, "consumer/example_handler_test.go")
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllStringSubmatch(read(t, "docs/library.md"), -1)
	for _, m := range blocks {
		if !strings.Contains(example, m[1]) {
			t.Errorf("this Go code of docs/library.md is not in consumer/example_handler_test.go:\n%s", m[1])
		}
	}
	if len(blocks) == 0 {
		t.Error("docs/library.md has no Go code")
	}
}

func TestConfigurationExamples(t *testing.T) {
	lookup := func(name string) (string, bool) {
		if strings.HasSuffix(name, "REGISTRY_URL") {
			return "http://localhost:8081", true
		}
		if strings.HasSuffix(name, "URL") {
			return "postgres://sink@localhost/shop", true
		}
		return "value", true
	}
	block := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	n := 0
	load := func(name, text string) {
		n++
		if _, err := config.Parse(name, []byte(text), lookup); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	for _, path := range files(t, ".md") {
		for _, m := range block.FindAllStringSubmatch(read(t, path), -1) {
			load(path, m[1])
		}
	}
	for _, path := range files(t, ".yaml") {
		if strings.HasPrefix(path, "examples/") {
			load(path, read(t, path))
		}
	}
	if n < 3 {
		t.Errorf("%d examples found: the README should have one, examples/ two", n)
	}
}

// The reference of the configuration has every key: it is made in package config by a walk of its own.
func TestConfigurationKeys(t *testing.T) {
	page := read(t, "docs/reference/configuration.md")
	known := keys(reflect.TypeFor[config.Config](), "")
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Za-z_.\\[\\]]+)` \\|").FindAllStringSubmatch(page, -1) {
		named[m[1]] = true
		if _, ok := known[m[1]]; !ok {
			t.Errorf("docs/reference/configuration.md has the key %s, which does not exist", m[1])
		}
	}
	again := regexp.MustCompile("(?m)^#+ (\\S+)\n\n.*\n\n(?:.*\n\n)?Its keys are those of").FindAllStringSubmatch(page, -1)
	for name := range known {
		section := func(m []string) bool { return name == m[1] || strings.HasPrefix(name, m[1]+".") }
		heading := regexp.MustCompile(`(?m)^#+ ` + regexp.QuoteMeta(name) + `(\.NAME|\[\])?$`)
		if !named[name] && !slices.ContainsFunc(again, section) && !heading.MatchString(page) {
			t.Errorf("docs/reference/configuration.md does not have the key %s", name)
		}
	}
}

// keys are the paths of a configuration's leaves, and whether each has to be given.
func keys(typ reflect.Type, prefix string) map[string]bool {
	out := map[string]bool{}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if tag == "" {
			continue
		}
		path, inner := prefix+tag, f.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case inner.Kind() == reflect.Struct && tagged(inner):
			for k, required := range keys(inner, path+".") {
				out[k] = required && options != "omitempty"
			}
			if inner == reflect.TypeFor[config.Envelope]() { // or a text
				out[path] = false
			}
		case inner.Kind() == reflect.Slice && inner.Elem().Kind() == reflect.Struct && tagged(inner.Elem()):
			for k, required := range keys(inner.Elem(), path+"[].") {
				out[k] = required
			}
		case inner.Kind() == reflect.Map && inner.Elem().Kind() == reflect.Struct:
			out[path] = false
			for k := range keys(inner.Elem(), path+".NAME.") {
				out[k] = false
			}
		default:
			out[path] = options != "omitempty"
		}
	}
	return out
}

// tagged tells a section of the configuration from a value that is a struct.
func tagged(typ reflect.Type) bool {
	return typ.NumField() > 0 && typ.Field(0).Tag.Get("yaml") != ""
}

// files lists the repository's files with one of the endings, by path from its root.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !d.IsDir() && slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(path, e) }) {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Each alert of docs/monitoring.md is silent while all is well, and speaks when what it is about has happened.
func TestAlerts(t *testing.T) {
	ctx, url := t.Context(), testpg.URL(t)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := offsets.Init(ctx, conn); err != nil {
		t.Fatal(err)
	}
	if err := schema.Init(ctx, conn, sink.Config{}); err != nil {
		t.Fatal(err)
	}
	pool, _, err := offsets.NewPool(ctx, url, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	ledger := offsets.New(pool, "orders-sink", offsets.Options{})
	at := offsets.Partition{Topic: "orders"}
	if err := ledger.Begin(ctx, []offsets.First{{Partition: at, TopicID: offsets.NewToken(), Offset: 100}}); err != nil {
		t.Fatal(err)
	}
	var alerts []string
	for _, m := range regexp.MustCompile("(?ms)^```sql\n(.*?);\n```$").FindAllStringSubmatch(read(t, "docs/monitoring.md"), -1) {
		alerts = append(alerts, m[1])
	}
	if len(alerts) != 4 {
		t.Fatalf("%d alerts in SQL, want 4", len(alerts))
	}
	rings := func(alert int) bool {
		t.Helper()
		var n int
		if err := conn.QueryRow(ctx, "select count(*) from ("+alerts[alert]+") alert").Scan(&n); err != nil {
			t.Fatalf("%v\n%s", err, alerts[alert])
		}
		return n > 0
	}
	own := func(instance string) string {
		return "update oncesink.offsets set owner = 'host, pid 1, instance " + instance + "'"
	}
	if _, err := conn.Exec(ctx, "set application_name = 'oncesink 12345678'; "+own("12345678")); err != nil {
		t.Fatal(err)
	}
	for i := range alerts {
		if rings(i) {
			t.Errorf("alert %d rings, and all is well", i+1)
		}
	}
	for i, happens := range []string{
		"update oncesink.offsets set halted = 'offsets are missing'",
		"update oncesink.offsets set halted = null, stuck = 'the disk is full'",
		`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", headers, code, message, recorded_at)
			values ('orders-sink', gen_random_uuid(), 'orders', 0, 0, 1, '[]', 'ONS01', 'it is broken', now())`,
		own("87654321"),
	} {
		if _, err := conn.Exec(ctx, happens); err != nil {
			t.Fatal(err)
		}
		if !rings(i) {
			t.Errorf("alert %d is silent after %s", i+1, happens)
		}
	}
}

// In psql, \\df+ oncesink.* says of each function whether it is for people.
func TestFunctionsAreDescribed(t *testing.T) {
	ctx, url := t.Context(), testpg.URL(t)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := errors.Join(offsets.Init(ctx, conn), schema.Init(ctx, conn, sink.Config{})); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(ctx, `select proname || ': ' || coalesce(obj_description(oid, 'pg_proc'), '') from pg_proc where pronamespace = 'oncesink'::regnamespace`)
	if err != nil {
		t.Fatal(err)
	}
	described, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	operators := 0
	for _, d := range described {
		switch {
		case strings.Contains(d, ": For operators: "):
			operators++
		case !strings.Contains(d, ": Internal: "):
			t.Errorf("the function %s is not described as one for operators, nor as internal", d)
		}
	}
	if operators < 9 {
		t.Errorf("%d functions for operators: nothing is shown", operators)
	}
}

// What an operator reads says what to do, and sends nobody to look up a number.
func TestMessagesCiteNoRules(t *testing.T) {
	message := regexp.MustCompile("(?m)^[^\n]*[\"`][^\"`\n]*\\(rules? \\d+[^\n]*$")
	for _, path := range files(t, ".go") {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/test") {
			continue
		}
		for _, line := range message.FindAllString(read(t, path), -1) {
			if !strings.HasPrefix(strings.TrimSpace(line), "//") {
				t.Errorf("%s: %s", path, strings.TrimSpace(line))
			}
		}
	}
}

// The walk of rebuild.md is what a script does.
func TestWalk(t *testing.T) {
	text, err := os.ReadFile("rebuild.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../cmd/oncesink/testdata/script/walk.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, walk, _ := strings.Cut(string(text), "## A new column, and no downtime\n\n```\n")
	walk, _, found := strings.Cut(walk, "```\n")
	if !found {
		t.Fatal("rebuild.md has no walk")
	}
	rest := string(script)
	for line := range strings.Lines(walk) {
		command, _, _ := strings.Cut(line, "#")
		if command = strings.TrimSpace(command); command == "" {
			continue
		}
		_, after, found := strings.Cut(rest, command)
		if !found {
			t.Errorf("the script does not do, in this order: %s", command)
			continue
		}
		rest = after
	}
}
