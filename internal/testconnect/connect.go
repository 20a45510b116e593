// Package testconnect runs Kafka Connect with Debezium over a PostgreSQL, and Apicurio's registry, for tests and examples.
package testconnect

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

const (
	// Debezium is the version of the connector that writes the events.
	Debezium = "3.5.0.Final"
	// Apicurio is the version of the registry and of its converter of Avro.
	Apicurio = "2.6.13.Final"
)

// Install makes sure that Connect, Debezium and Apicurio's converter are in the user's cache directory: one class path, on which Maven
// has chosen among their versions, since as a plugin with jars of its own a task of Debezium doesn't start. It returns a java and their folder.
func Install(ctx context.Context) (java, libs string, err error) {
	return testkafka.Jars(ctx, "connect-debezium-"+Debezium,
		"org.apache.kafka:connect-runtime:"+testkafka.Version, "org.apache.kafka:connect-json:"+testkafka.Version,
		"io.debezium:debezium-connector-postgres:"+Debezium,
		"io.apicurio:apicurio-registry-utils-converter:"+Apicurio, testkafka.Logger)
}

// Worker is a standalone Kafka Connect. It is for one goroutine.
type Worker struct {
	java, libs string
	dir        string
	brokers    []string
	connectors []string // files of properties
	proc       *localserver.Process
}

// New returns a worker that isn't started yet, and keeps its files, also how far its connectors are, in a folder.
func New(ctx context.Context, dir string, brokers []string) (*Worker, error) {
	java, libs, err := Install(ctx)
	return &Worker{java: java, libs: libs, dir: dir, brokers: brokers}, err
}

// Add gives the worker a connector, which runs from the next start on.
func (w *Worker) Add(name string, settings map[string]string) error {
	path, err := w.properties(name, settings, map[string]string{"name": name})
	w.connectors = append(w.connectors, path)
	return err
}

// Start starts the worker, which listens to nobody but this machine. It doesn't wait for it.
func (w *Worker) Start(settings map[string]string) error {
	port, err := localserver.FreePort()
	if err != nil {
		return err
	}
	worker, err := w.properties("worker", map[string]string{
		"bootstrap.servers": strings.Join(w.brokers, ","), "listeners": fmt.Sprintf("http://127.0.0.1:%d", port), "plugin.discovery": "service_load",
		"offset.storage.file.filename": filepath.Join(w.dir, "offsets"),
		"key.converter":                "org.apache.kafka.connect.json.JsonConverter",
		"value.converter":              "org.apache.kafka.connect.json.JsonConverter",
		// A null of a column that has a default is that default, unless this is false.
		"value.converter.replace.null.with.default": "false",
	}, settings)
	if err != nil {
		return err
	}
	w.proc, err = run(w.log(), exec.Command(w.java, append([]string{
		"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(w.libs, "*"), "org.apache.kafka.connect.cli.ConnectStandalone", worker,
	}, w.connectors...)...))
	return err
}

// Kill ends the worker as a machine that fails does. Without a worker it does nothing.
func (w *Worker) Kill() error {
	if w.proc == nil {
		return nil
	}
	return w.proc.Kill()
}

// Done is closed when the worker has ended, which it does by itself if it can't start a connector.
func (w *Worker) Done() <-chan struct{} { return w.proc.Done() }

// LogTail is what the worker wrote last.
func (w *Worker) LogTail() string { return string(localserver.LogTail(w.log(), 0)) }

func (w *Worker) log() string { return filepath.Join(w.dir, "connect.log") }

// properties writes settings, of which the later ones count, and returns the path of the file.
func (w *Worker) properties(name string, settings ...map[string]string) (path string, err error) {
	all := map[string]string{}
	for _, s := range settings {
		maps.Copy(all, s)
	}
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%s\n", k, all[k])
	}
	path = filepath.Join(w.dir, name+".properties")
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

// run starts a program that writes to a log, in whose folder it works.
func run(log string, cmd *exec.Cmd) (*localserver.Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	defer f.Close() //nolint:errcheck // the child writes it
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(log), f, f
	return localserver.Start(cmd, syscall.SIGKILL)
}

// Postgres is what a connector of Debezium is told that reads the tables of schema public of a database, from now on and as they are, into topics
// that begin with a prefix. prefix also names its slot and its publication.
func Postgres(source, prefix string) (map[string]string, error) {
	u, err := url.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("the source is no URL") //nolint:perfsprint // without the URL, which may have a password
	}
	slot := strings.ReplaceAll(prefix, "-", "_")
	return map[string]string{
		"connector.class":   "io.debezium.connector.postgresql.PostgresConnector",
		"topic.prefix":      prefix,
		"database.hostname": u.Hostname(), "database.port": u.Port(), "database.user": u.User.Username(), "database.password": "none",
		"database.dbname": strings.TrimPrefix(u.Path, "/"),
		"plugin.name":     "pgoutput", "slot.name": slot, "publication.name": slot, "publication.autocreate.mode": "filtered",
		"schema.include.list":          "public",
		"heartbeat.interval.ms":        "1000",
		"provide.transaction.metadata": "true",
		"poll.interval.ms":             "50",
		// Topics that nobody has created: heartbeats, transactions.
		"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
	}, nil
}
