package e2e

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/oncesink/oncesink/internal/testpg"
)

// mirror is a database that one oncesink makes like the source, and how.
type mirror struct {
	*testpg.Database
	t         *testing.T
	name      string
	prefix    string // of the topics
	config    string
	columns   []column
	version   string // its type, if items has one
	truncates string // the dead letter of a truncate
	proc      *process
}

// how a mirror is configured.
type how struct {
	topic     string // the entry of each topic
	items     string // more of the table items, indented
	version   string // the type of its column, if it has one
	registry  string // a line
	columns   []column
	truncate  string // ignore, or the default
	truncates string // the dead letter of a truncate
}

const refused = "ONS41|public.pairs"

// mirror makes a database of its own and the configuration of an oncesink that fills it.
func (r *replica) mirror(name, prefix string, h how) *mirror {
	r.t.Helper()
	r.source.Do("create database " + name)
	url := strings.Replace(r.server.URL(), "/postgres?", "/"+name+"?", 1)
	statements := tables(h.columns, false)
	if h.version != "" {
		statements = append(statements, "alter table items add column version "+h.version)
	}
	m := &mirror{Database: testpg.Open(r.t, url, statements...), t: r.t, name: name, prefix: prefix, columns: h.columns, version: h.version, truncates: h.truncates}
	m.config = filepath.Join(r.t.TempDir(), name+".yaml")
	text := strings.NewReplacer("BROKERS", strings.Join(r.kafka.Brokers, `", "`), "PREFIX", prefix, "NAME", name, "URL", url, "TOPIC", h.topic, "ITEMS\n", h.items,
		"TRUNCATE", cmp.Or(h.truncate, "refuse"), "REGISTRY", h.registry).Replace(`
kafka: {brokers: ["BROKERS"], group: PREFIX-NAME, session_timeout: 6s}
postgres: {url: "URL"}
REGISTRY
topics:
  PREFIX.public.items: TOPIC
  PREFIX.public.pairs: TOPIC
tables:
  - name: items
    topic: PREFIX.public.items
    key: [id]
ITEMS
  - name: pairs
    topic: PREFIX.public.pairs
    key: [a, b]
    truncate: TRUNCATE
`)
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	m.run("init")
	r.mirrors = append(r.mirrors, m)
	return m
}

func (m *mirror) command(args ...string) *exec.Cmd {
	return exec.Command(binary(m.t), append(args, "--config", m.config)...)
}

func (m *mirror) run(args ...string) string {
	m.t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		config, _ := os.ReadFile(m.config)
		m.t.Fatalf("%s: oncesink %s: %v\n%s\n%s", m.name, strings.Join(args, " "), err, out, config)
	}
	return string(out)
}

func (m *mirror) start() { m.proc = start(m.t, m.command("run")) }

func (m *mirror) stop(how syscall.Signal) {
	m.t.Helper()
	if err := m.proc.Process.Signal(how); err != nil {
		m.t.Fatal(err)
	}
	<-m.proc.done
}

// accepts is what rebuild and verify of items have to be told of a compacted topic where the table has a version: that the last event of a key has the highest one.
func (m *mirror) accepts(args ...string) []string {
	if m.version != "" {
		return append(args, "--accept", "compacted")
	}
	return args
}

// unchanged: whatever is sent twice, no row is written again when all is read again.
func (m *mirror) unchanged() {
	m.t.Helper()
	const versions = `select xmin, ctid, id::text from items union all select xmin, ctid, concat(a, b) from pairs order by 3`
	before := m.Lines(versions)
	m.run("replay", "--wait")
	m.stop(syscall.SIGTERM)
	if after := m.Lines(versions); before != after {
		m.t.Errorf("%s: the replay wrote rows:\n%s\nwere\n%s", m.name, after, before)
	}
	// Sent again after a kill, an update without its large values may find that its row is gone by the deletion that is sent again behind it.
	m.Want("", `select topic, partition, "offset", code, message from oncesink.dead_letters where code <> 'ONS30'`)
	m.run(m.accepts("verify", "items")...)
	m.run(m.accepts("verify", "pairs")...)
	m.start()
}

// rebuilt: a row that somebody has changed is put right, and what the log no longer has stays.
func (m *mirror) rebuilt() {
	m.t.Helper()
	m.Do("update items set i2 = -1 where id = (select min(id) from items)")
	out := m.run(m.accepts("rebuild", "items")...)
	m.t.Logf("%s: %s", m.name, out)
	m.Want("0", "select count(*) from items where i2 = -1")
	m.run(m.accepts("verify", "items")...)
}

// rows are those of a table, each with short digests of its columns.
func rows(db *testpg.Database, columns []column) []string {
	db.T.Helper()
	digests := []string{"id"}
	for _, c := range columns {
		digests = append(digests, "left(md5(("+c.compared()+")::text), 6)")
	}
	return append(strings.Split(db.Lines("select "+strings.Join(digests, ", ")+" from items order by id"), "\n"),
		strings.Split(db.Lines("select a, b, n, md5(note) from pairs order by a, b"), "\n")...)
}

// difference says where the mirror is not as the source is; empty: nowhere.
func (r *replica) difference(m *mirror) string {
	r.t.Helper()
	source, target := rows(r.source, m.columns), rows(m.Database, m.columns)
	for i := range max(len(source), len(target)) {
		switch {
		case i >= len(source):
			return "the target has more: " + target[i]
		case i >= len(target):
			return "the target lacks " + source[i]
		case source[i] != target[i]:
			a, b := strings.Split(source[i], "|"), strings.Split(target[i], "|")
			if len(a) == len(m.columns)+1 && len(b) == len(a) && a[0] == b[0] {
				for n, c := range m.columns {
					if a[n+1] != b[n+1] {
						query := "select left((" + c.compared() + ")::text, 60) from items where id = " + a[0]
						return fmt.Sprintf("row %s: %s is %s, at the source %s", a[0], c.name, m.Lines(query), r.source.Lines(query))
					}
				}
			}
			return fmt.Sprintf("%s, at the source %s", target[i], source[i])
		}
	}
	return ""
}

// same waits until all mirrors are as the source is.
func (r *replica) same(when string) {
	r.t.Helper()
	for _, m := range r.mirrors {
		r.sameAs(m, when)
	}
}

func (r *replica) sameAs(m *mirror, when string) {
	r.t.Helper()
	var last string
	defer func() {
		if last != "" {
			r.t.Logf("%s, %s: %s; dead letters: %s", m.name, when, last, m.Lines(`select topic, partition, "offset", code, column_name from oncesink.dead_letters limit 5`))
		}
	}()
	within(r.t, m.name+" is as the source, "+when, func() bool {
		last = r.difference(m)
		return last == ""
	})
}
