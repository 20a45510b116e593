//go:build debezium

package e2e

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

// debeziumVersion is what writes the events. Its jars and Connect's are one class path: as a plugin with jars of its own a task doesn't start.
const debeziumVersion = "3.5.0.Final"

// connect is a standalone Kafka Connect with Debezium's connectors for one PostgreSQL.
type connect struct {
	t          *testing.T
	java, libs string
	dir        string
	kafka      *testkafka.RealCluster
	source     *pgx.ConnConfig
	connectors []string // files of properties
	proc       *localserver.Process
}

func newConnect(t *testing.T, kafka *testkafka.RealCluster, source string) *connect {
	t.Helper()
	java, libs, err := testkafka.Jars(t.Context(), "debezium-postgres-"+debeziumVersion,
		"org.apache.kafka:connect-runtime:"+testkafka.Version, "org.apache.kafka:connect-json:"+testkafka.Version,
		"io.debezium:debezium-connector-postgres:"+debeziumVersion, testkafka.Logger)
	if err != nil {
		t.Fatal(err)
	}
	c := &connect{t: t, java: java, libs: libs, dir: t.TempDir(), kafka: kafka}
	if c.source, err = pgx.ParseConfig(source); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.proc != nil {
			if err := c.proc.Kill(); err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Logf("Kafka Connect says:\n%s", localserver.LogTail(c.log(), 0))
		}
	})
	return c
}

func (c *connect) log() string { return filepath.Join(c.dir, "connect.log") }

// add makes a connector, which runs from the next start on. Its topics begin with the prefix.
func (c *connect) add(prefix string, settings map[string]string) {
	c.t.Helper()
	all := map[string]string{
		"name": prefix, "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "topic.prefix": prefix,
		"database.hostname": c.source.Host, "database.port": fmt.Sprint(c.source.Port), "database.user": c.source.User,
		"database.password": "none", "database.dbname": c.source.Database, "plugin.name": "pgoutput",
		"slot.name": slotName(prefix), "publication.name": slotName(prefix), "publication.autocreate.mode": "filtered", "schema.include.list": "public",
		"heartbeat.interval.ms": "1000", "provide.transaction.metadata": "true", "poll.interval.ms": "50",
		"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
	}
	maps.Copy(all, settings)
	c.connectors = append(c.connectors, c.properties(prefix, all))
}

func slotName(prefix string) string { return strings.ReplaceAll(prefix, "-", "_") }

func (c *connect) properties(name string, values map[string]string) (path string) {
	c.t.Helper()
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s=%s\n", k, values[k])
	}
	path = filepath.Join(c.dir, name+".properties")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// start starts the worker. It notes how far it is once in so many milliseconds: what was sent since is sent again after a kill.
func (c *connect) start(noteEvery int) {
	c.t.Helper()
	port, err := localserver.FreePort()
	if err != nil {
		c.t.Fatal(err)
	}
	worker := c.properties("worker", map[string]string{
		"bootstrap.servers": strings.Join(c.kafka.Brokers, ","), "listeners": fmt.Sprintf("http://127.0.0.1:%d", port), "plugin.discovery": "service_load",
		"offset.storage.file.filename": filepath.Join(c.dir, "offsets"), "offset.flush.interval.ms": fmt.Sprint(noteEvery),
		"key.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter": "org.apache.kafka.connect.json.JsonConverter",
		// A null of a column that has a default is that default, unless this is false.
		"value.converter.replace.null.with.default": "false",
	})
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // the child writes it
	cmd := exec.Command(c.java, append([]string{
		"-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", filepath.Join(c.libs, "*"), "org.apache.kafka.connect.cli.ConnectStandalone", worker,
	}, c.connectors...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, log, log
	if c.proc, err = localserver.Start(cmd, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
}

// kill ends the worker as a machine that fails does.
func (c *connect) kill() {
	c.t.Helper()
	if err := c.proc.Kill(); err != nil {
		c.t.Fatal(err)
	}
}
