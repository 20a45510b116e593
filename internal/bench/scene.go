package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testkafka"
)

// scene is where and with what a benchmark ran.
type scene struct {
	Began      time.Time
	Oncesink   string // the tree's version
	Cores      int
	Processor  string
	MemoryGB   float64
	Kafka      string
	PostgreSQL string
	Settings   map[string]string
	Records    int
	Rounds     int
}

// look finds out about the machine and the servers.
func look(ctx context.Context, pg *pgx.Conn) (s scene, err error) {
	s = scene{Began: time.Now().UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Kafka: testkafka.Version, Settings: maps.Clone(settings)}
	version, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		version = []byte("unknown")
	}
	s.Oncesink = strings.TrimSpace(string(version))
	s.Processor = procValue("/proc/cpuinfo", "model name")
	if kb, err := strconv.ParseFloat(strings.TrimSuffix(procValue("/proc/meminfo", "MemTotal"), " kB"), 64); err == nil {
		s.MemoryGB = kb / (1 << 20)
	}
	if err := pg.QueryRow(ctx, "show server_version").Scan(&s.PostgreSQL); err != nil {
		return s, err
	}
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes", "wal_compression"} {
		var value string
		if err := pg.QueryRow(ctx, "select current_setting($1)", name).Scan(&value); err != nil {
			return s, err
		}
		s.Settings[name] = value
	}
	if s.Settings["fsync"] != "on" {
		return s, fmt.Errorf("fsync is %s", s.Settings["fsync"])
	}
	return s, nil
}

// procValue returns the value of the first line of a name in one of the kernel's lists.
func procValue(path, name string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// String is the scene as a sentence below a table.
func (s scene) String() string {
	var set []string
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		set = append(set, name+"="+s.Settings[name])
	}
	on := fmt.Sprintf("%d cores", s.Cores)
	if s.Processor != "" {
		on += " (" + s.Processor + ")"
	}
	return fmt.Sprintf("%d events, median of %d round(s), on %s with %.0f GB of memory, %s. oncesink %s; Apache Kafka %s; PostgreSQL %s with %s.",
		s.Records, s.Rounds, on, s.MemoryGB, s.Began.Format("2006-01-02"), s.Oncesink, s.Kafka, s.PostgreSQL, strings.Join(set, ", "))
}
