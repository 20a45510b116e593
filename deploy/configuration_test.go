package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/oncesink/oncesink/internal/config"
)

// TestConfigurationIsRead: the program takes what the chart makes of a configuration, with the secrets as files, the Job's and the processes'.
func TestConfigurationIsRead(t *testing.T) {
	secrets := t.TempDir()
	for name, url := range map[string]string{"postgres": "postgres://oncesink:one@db/orders", "owner": "postgres://owner:two@db/orders"} {
		if err := os.Mkdir(filepath.Join(secrets, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(secrets, name, "url"), []byte(url+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lookup := func(name string) (string, bool) { return "orders-oncesink-1", name == "POD_NAME" }
	rendered, err := render(t, parse(t, read(t, "kubernetes/values.yaml")), object{"workload": "StatefulSet"})
	if err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{}
	for _, o := range rendered {
		given := at(o, "data", "oncesink.yaml")
		if given == nil {
			continue
		}
		text, err := yaml.Marshal(given)
		if err != nil {
			t.Fatal(err)
		}
		name := id(o)
		cfg, err := config.Parse(name, []byte(strings.ReplaceAll(string(text), "/run/secrets/oncesink", secrets)), lookup)
		if err != nil {
			t.Fatal(err)
		}
		urls[name] = string(cfg.Postgres.URL)
		if cfg.Kafka.InstanceID != "orders-oncesink-1" {
			t.Errorf("%s: instance_id %q", name, cfg.Kafka.InstanceID)
		}
	}
	if urls["ConfigMap/orders-oncesink"] != "postgres://oncesink:one@db/orders" || urls["ConfigMap/orders-oncesink-init"] != "postgres://owner:two@db/orders" {
		t.Errorf("the URLs are %v", urls)
	}
}
