package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What is shown of a configuration is a configuration of the same meaning, and has no secret.
func TestShowIsTheSame(t *testing.T) {
	for _, file := range globs(t, "../../examples/*.yaml", "testdata/valid/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data := read(t, file)
			want, err := Parse(file, data, environment)
			if err != nil {
				t.Fatal(err)
			}
			shown, err := Show(file, data, environment)
			if err != nil {
				t.Fatal(err)
			}
			out := shown.YAML()
			for _, s := range want.secrets() {
				if strings.Contains(out, s) {
					t.Errorf("a secret is shown:\n%s", out)
				}
			}
			got, err := Parse("shown", []byte(strings.NewReplacer(`url: "***"`, "url: postgres://localhost/db", "password: \"***\"", "password: secret").Replace(out)), environment)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			// What is shown has the defaults, so what is compared is shown, too.
			again, err := Show("shown", []byte(out), environment)
			if err != nil {
				again, err = Show("shown", []byte(strings.ReplaceAll(out, `"***"`, "postgres://localhost/db")), environment)
			}
			if err != nil || !reflect.DeepEqual(withoutSecrets(again.Values), withoutSecrets(shown.Values)) {
				t.Errorf("shown again it differs (%v):\n%s", err, out)
			}
			if !reflect.DeepEqual(got.ToSink().Tables, want.ToSink().Tables) && !hasDefaults(got, want) {
				t.Errorf("its tables differ:\n%s", out)
			}
		})
	}
}

func withoutSecrets(m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case map[string]any:
			m[k] = withoutSecrets(v)
		case string:
			if k == "url" || strings.Contains(k, "password") || strings.Contains(k, "secret") {
				m[k] = "-"
			}
		}
	}
	return m
}

// hasDefaults compares the tables without the settings that a default writes out.
func hasDefaults(a, b *Config) bool {
	strip := func(c *Config) []Table {
		out := append([]Table{}, c.Tables...)
		for i := range out {
			out[i].Strategy, out[i].Guard, out[i].Otherwise, out[i].Truncate, out[i].Tombstones, out[i].NewFields = "", "", "", "", "", ""
		}
		return out
	}
	return reflect.DeepEqual(strip(a), strip(b))
}

// The defaults that are shown are those that are in effect.
func TestShownDefaults(t *testing.T) {
	shown, err := Show("minimal", []byte("kafka: {brokers: [b], group: g}\npostgres: {url: postgres://u:secret@h/d}\ntables: [{name: t, topic: t, key: [id]}]\n"), environment)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for path, origin := range shown.Origins {
		if origin == "default" {
			got = append(got, path)
		}
	}
	want := map[string]any{
		"kafka.protocol": "cooperative", "kafka.client_id": "oncesink", "kafka.session_timeout": "45s", "postgres.synchronous_commit": "on", "postgres.time_zone": "UTC",
		"postgres.search_path": "public", "postgres.statement_timeout": "1m", "postgres.lock_timeout": "10s", "postgres.idle_timeout": "10s",
		"postgres.foreign_key_wait": "30s", "start": "earliest", "rounding": "allow",
		"dead_letters.max_ratio": 0.1, "dead_letters.window": int64(10000), "dead_letters.max_consecutive": int64(1000), "dead_letters.retry_rate": 500,
		"limits.writers": 2, "limits.batch_records": 10000, "limits.batch_bytes": "8MiB", "limits.buffer_bytes": "16MiB",
		"limits.decompressed_bytes": "64MiB", "limits.stop_timeout": "20s",
		"admin.listen": AdminListen, "admin.page": true, "admin.actions": false, "admin.payloads": false, "admin.pprof": false, "metrics.partitions": 500,
		"tables[0].strategy": "upsert", "tables[0].guard": "engine", "tables[0].truncate": "refuse", "tables[0].new_fields": "ignore",
	} // and no others: what the reference says of a default is read as one, or not
	for path, value := range want {
		at := any(shown.Values)
		for _, key := range strings.Split(strings.ReplaceAll(path, "[0]", ""), ".") {
			if list, ok := at.([]any); ok {
				at = list[0]
			}
			at = at.(map[string]any)[key]
		}
		if at != value || shown.Origins[path] != "default" {
			t.Errorf("%s: %v (%s), want %v", path, at, shown.Origins[path], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the defaults are of %v", got)
	}
	if strings.Contains(shown.YAML(), "secret") || !strings.Contains(shown.YAML(), "# role u, database d, at h port 5432\n  url: \"***\"") {
		t.Errorf("shown:\n%s", shown.YAML())
	}
}

// What a file has is not shown, whatever key it is for; where it comes from is.
func TestShowOfFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "word")
	if err := os.WriteFile(file, []byte("hunter2hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := "kafka: {brokers: [b], group: g, sasl: {mechanism: PLAIN, username: \"${file:FILE}\", password: \"${file:FILE}\"}}\npostgres: {url: \"postgres://u:${file:FILE}@h/d\"}\ntables: [{name: t, topic: t, key: [id]}]\n"
	shown, err := Show("files", []byte(strings.ReplaceAll(doc, "FILE", file)), environment)
	if err != nil {
		t.Fatal(err)
	}
	all := shown.YAML() + fmt.Sprint(shown.Values, shown.Origins)
	if strings.Contains(all, "hunter2") {
		t.Errorf("shown:\n%s", all)
	}
	for path, want := range map[string]string{"kafka.sasl.username": "line 1, file " + file, "kafka.sasl.password": "line 1, file " + file, "postgres.url": "line 2, file " + file} {
		if shown.Origins[path] != want {
			t.Errorf("%s comes from %q, want %q", path, shown.Origins[path], want)
		}
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Minute: "1m", 90 * time.Second: "1m30s", time.Hour: "1h", 500 * time.Millisecond: "500ms", 20 * time.Second: "20s", time.Hour + 10*time.Second: "1h0m10s"} {
		if got := shortDuration(Duration(d)); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
