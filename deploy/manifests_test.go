package deploy_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestManifests: the manifests are what the chart gives today.
func TestManifests(t *testing.T) {
	optional := []string{"PodMonitor", "ScaledObject"}
	tests := []struct {
		file   string
		values object
		of     func(kind string) bool
	}{
		{"oncesink.yaml", object{}, func(kind string) bool { return !slices.Contains(optional, kind) }},
		{"statefulset.yaml", object{"workload": "StatefulSet"}, func(kind string) bool { return !slices.Contains(optional, kind) }},
		{"monitoring.yaml", object{"keda": object{"enabled": true}}, func(kind string) bool { return slices.Contains(optional, kind) }},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			rendered, err := render(t, parse(t, read(t, "kubernetes/values.yaml")), tt.values)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.DeleteFunc(rendered, func(o object) bool { return !tt.of(o["kind"].(string)) })
			got := documents(t, read(t, "kubernetes/"+tt.file))
			if len(got) != len(want) {
				t.Fatalf("%d objects, and the chart gives %d", len(got), len(want))
			}
			for i := range want {
				if a, b := text(t, got[i]), text(t, want[i]); a != b {
					t.Errorf("%s is not what the chart gives; run make deploy. Got\n%s\nwant\n%s", id(want[i]), a, b)
				}
			}
		})
	}
}

func text(t *testing.T, o object) string {
	t.Helper()
	out, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// one renders and returns the only object of a kind.
func one(t *testing.T, kind string, overlays ...object) object {
	t.Helper()
	rendered, err := render(t, append([]object{parse(t, read(t, "kubernetes/values.yaml"))}, overlays...)...)
	if err != nil {
		t.Fatal(err)
	}
	found := slices.DeleteFunc(rendered, func(o object) bool { return o["kind"] != kind })
	if len(found) != 1 {
		t.Fatalf("%d objects of kind %s", len(found), kind)
	}
	return found[0]
}

func TestGracePeriod(t *testing.T) {
	pod := []any{"spec", "template", "spec", "terminationGracePeriodSeconds"}
	for stop, want := range map[string]uint64{"": 30, "45s": 55, "2m": 130} {
		values := object{}
		if stop != "" {
			values["config"] = object{"limits": object{"stop_timeout": stop}}
		}
		if got := at(one(t, "Deployment", values), pod...); got != want {
			t.Errorf("stop_timeout %q: %v seconds, want %d", stop, got, want)
		}
	}
	if got := at(one(t, "Deployment", object{"terminationGracePeriodSeconds": 99}), pod...); got != uint64(99) {
		t.Errorf("set to 99: %v", got)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		values object
		says   string
	}{
		{object{"config": ""}, "--set-file"},
		{object{"config": "a: [b"}, "not YAML"},
		{object{"config": object{"limits": object{"stop_timeout": "1m30s"}}}, "terminationGracePeriodSeconds"},
		{object{"config": object{"kafka": object{"brokers": []any{"${KAFKA_BROKERS}"}}}, "keda": object{"enabled": true}}, "keda.bootstrapServers"},
		{object{"keda": object{"enabled": true, "maxReplicas": 0}}, "keda.maxReplicas"},
	}
	for _, tt := range tests {
		if _, err := render(t, parse(t, read(t, "kubernetes/values.yaml")), tt.values); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%v: got %v, want %q", tt.values, err, tt.says)
		}
	}
}

// TestConfigurationAsText: the file as it is gives what the map gives, and says more of admin than the chart does.
func TestConfigurationAsText(t *testing.T) {
	values := parse(t, read(t, "kubernetes/values.yaml"))
	config := values["config"].(object)
	config["admin"] = object{"page": true}
	asText, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	render := func(config any) object {
		o := one(t, "Deployment", object{"config": config, "init": object{"enabled": false}})
		return object{"workload": o, "config": one(t, "ConfigMap", object{"config": config, "init": object{"enabled": false}})}
	}
	fromMap, fromText := text(t, render(config)), text(t, render(string(asText)))
	if fromMap != fromText {
		t.Errorf("a map gives\n%s\ntext gives\n%s", fromMap, fromText)
	}
	admin := at(render(config), "config", "data", "oncesink.yaml", "admin").(object)
	if admin["page"] != true || admin["listen"] != ":9187" {
		t.Errorf("admin is %v", admin)
	}
}

// TestRestricted: the pods keep to the restricted pod security standard, and write nowhere.
func TestRestricted(t *testing.T) {
	for _, kind := range []string{"Deployment", "StatefulSet", "Job"} {
		workload := "Deployment"
		if kind == "StatefulSet" {
			workload = kind
		}
		pod := at(one(t, kind, object{"workload": workload}), "spec", "template", "spec")
		security := at(pod, "containers", 0, "securityContext")
		for what, ok := range map[string]bool{
			"runs as nobody":      at(pod, "securityContext", "runAsNonRoot") == true && at(pod, "securityContext", "runAsUser") == uint64(65532),
			"has seccomp":         at(pod, "securityContext", "seccompProfile", "type") == "RuntimeDefault",
			"gains no privileges": at(security, "allowPrivilegeEscalation") == false,
			"has no capabilities": slices.Equal(at(security, "capabilities", "drop").([]any), []any{"ALL"}) && at(security, "capabilities", "add") == nil,
			"writes nowhere":      at(security, "readOnlyRootFilesystem") == true,
			"has no token":        at(pod, "automountServiceAccountToken") == false,
		} {
			if !ok {
				t.Errorf("%s: not so: it %s", kind, what)
			}
		}
		for _, volume := range at(pod, "volumes").([]any) {
			if v := volume.(object); v["secret"] == nil && v["configMap"] == nil {
				t.Errorf("%s: a volume that is neither secret nor configuration: %v", kind, v)
			}
		}
	}
}

// TestStaticMembers: only pods that keep their names are static members.
func TestStaticMembers(t *testing.T) {
	for workload, want := range map[string]any{"Deployment": nil, "StatefulSet": "${POD_NAME}"} {
		config := one(t, "ConfigMap", object{"workload": workload, "init": object{"enabled": false}})
		if got := at(config, "data", "oncesink.yaml", "kafka", "instance_id"); got != want {
			t.Errorf("%s: instance_id %v, want %v", workload, got, want)
		}
		env := at(one(t, workload, object{"workload": workload}), "spec", "template", "spec", "containers", 0, "env")
		if named := at(env, 0, "name") == "POD_NAME"; named != (want != nil) {
			t.Errorf("%s: environment %v", workload, env)
		}
	}
}

// TestRulesOfChart: what the chart gives to the Prometheus operator and to Grafana is what their folders have.
func TestRulesOfChart(t *testing.T) {
	rule := one(t, "PrometheusRule", object{"prometheusRule": object{"enabled": true}})
	if want := parse(t, read(t, "prometheus/rules.yaml"))["groups"]; text(t, object{"groups": at(rule, "spec", "groups")}) != text(t, object{"groups": want}) {
		t.Error("the PrometheusRule has other groups than the file")
	}
	all, err := render(t, parse(t, read(t, "kubernetes/values.yaml")), object{"dashboards": object{"enabled": true}})
	if err != nil {
		t.Fatal(err)
	}
	found := slices.IndexFunc(all, func(o object) bool { return id(o) == "ConfigMap/orders-oncesink-dashboard" })
	if found < 0 {
		t.Fatal("no ConfigMap has the dashboard")
	}
	var want bytes.Buffer
	if err := json.Compact(&want, []byte(read(t, "grafana/oncesink.json"))); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := json.Compact(&got, []byte(at(all[found], "data", "oncesink.json").(string))); err != nil || got.String() != want.String() {
		t.Errorf("the dashboard in the ConfigMap is another one (%v)", err)
	}
}
