package deploy_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/oncesink/oncesink/consumer"
)

var update = flag.Bool("update", false, "write grafana/oncesink.json")

const (
	rulesFile     = "prometheus/rules.yaml"
	dashboardFile = "grafana/oncesink.json"
)

// metrics are those of docs/reference/metrics.md, which is made from the code, with their labels.
func metrics(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{"process_cpu_seconds_total": nil, "process_resident_memory_bytes": nil}
	word := regexp.MustCompile("`([a-z_]+)`")
	for _, m := range regexp.MustCompile("(?m)^\\| `(oncesink_[a-z_]+)` \\| (counter|gauge|histogram) \\| ([^|]*) \\|").FindAllStringSubmatch(read(t, "../docs/reference/metrics.md"), -1) {
		labels := []string{"group"}
		for _, l := range word.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, l[1])
		}
		if m[2] != "histogram" {
			out[m[1]] = labels
			continue
		}
		out[m[1]+"_sum"], out[m[1]+"_count"], out[m[1]+"_bucket"] = labels, labels, append(slices.Clone(labels), "le")
	}
	if len(out) < 50 {
		t.Fatalf("%d metrics in docs/reference/metrics.md", len(out))
	}
	return out
}

var (
	metricName = regexp.MustCompile(`\b((?:oncesink|process)_[a-z_]+)\b(?:\{([^}]*)\})?`)
	labelName  = regexp.MustCompile(`([a-z_]+) *(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	recorded   = regexp.MustCompile(`\b[a-z_]+:[a-z_:]+\b`)
)

// lint says what an expression asks for that is not there.
func lint(expr string, metrics map[string][]string, own map[string]bool) (problems []string) {
	for _, name := range recorded.FindAllString(expr, -1) {
		if !own[name] {
			problems = append(problems, "no rule records "+name)
		}
	}
	labels := map[string]bool{"namespace": true, "job": true, "instance": true}
	expr = recorded.ReplaceAllString(expr, "")
	for _, m := range metricName.FindAllStringSubmatch(expr, -1) {
		known, ok := metrics[m[1]]
		if !ok {
			problems = append(problems, "there is no metric "+m[1])
		}
		for _, l := range known {
			labels[l] = true
		}
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(known, l[1]) && !slices.Contains([]string{"namespace", "job", "instance"}, l[1]) {
				problems = append(problems, m[1]+" has no label "+l[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if l = strings.TrimSpace(l); !labels[l] {
				problems = append(problems, "none of its metrics has the label "+l)
			}
		}
	}
	return problems
}

func TestLint(t *testing.T) {
	t.Parallel()
	known := map[string][]string{"oncesink_a": {"group", "topic"}}
	for expr, want := range map[string]int{
		`sum by (group, topic) (oncesink_a{group="g", job=~"j"})`: 0, `oncesink_b`: 1, `oncesink_a{reason="x"}`: 1,
		`max by (reason) (oncesink_a)`: 1, `group:oncesink_a:max > 1`: 0, `group:oncesink_b:max`: 1,
	} {
		if got := lint(expr, known, map[string]bool{"group:oncesink_a:max": true}); len(got) != want {
			t.Errorf("%s: %q, want %d problems", expr, got, want)
		}
	}
}

type rulesOf struct {
	Groups []struct {
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alertRules(t *testing.T) (all []rule) {
	t.Helper()
	var rules rulesOf
	if err := yaml.Unmarshal([]byte(read(t, rulesFile)), &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// promtool runs Prometheus' own tool, which scripts/setup-tests brings.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		cache, dirErr := os.UserCacheDir()
		if dirErr != nil {
			t.Fatal(dirErr)
		}
		path = filepath.Join(cache, "oncesink", "promtool")
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v (scripts/setup-tests brings promtool)\n%s", strings.Join(args, " "), err, out)
	}
}

// Alerts do what their tests say, each has one in which it fires and one in which it keeps silent, and all that they name is there.
func TestAlerts(t *testing.T) {
	t.Parallel()
	known, own := metrics(t), map[string]bool{}
	rules := alertRules(t)
	for _, r := range rules {
		own[r.Record] = true
	}
	fires, silent := tried(t)
	anchors := headings(t)
	alerts := 0
	for _, r := range rules {
		for _, problem := range lint(r.Expr, known, own) {
			t.Errorf("%s%s: %s", r.Alert, r.Record, problem)
		}
		if r.Alert == "" {
			continue
		}
		alerts++
		if !fires[r.Alert] || !silent[r.Alert] {
			t.Errorf("%s is tried firing: %v, and silent: %v", r.Alert, fires[r.Alert], silent[r.Alert])
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s does not say what happened", r.Alert)
		}
		url, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		if anchor == "{{ $labels.reason }}" {
			anchor = string(consumer.ReasonError) // TestReasons looks for all of them
		}
		if url != runbook || !slices.Contains(anchors, anchor) {
			t.Errorf("%s leads to %s, and there is no such heading", r.Alert, r.Annotations["runbook_url"])
		}
		if !slices.Contains(anchors, strings.ToLower(r.Alert)) {
			t.Errorf("docs/runbook.md has no heading %s", r.Alert)
		}
	}
	if alerts < 10 {
		t.Errorf("%d alerts: nothing is shown", alerts)
	}
	promtool(t, "check", "rules", rulesFile)
	promtool(t, "test", "rules", "prometheus/tests.yaml", "prometheus/tests-days.yaml")
}

// tried are the alerts that tests of promtool expect to fire, and to keep silent.
func tried(t *testing.T) (fires, silent map[string]bool) {
	t.Helper()
	fires, silent = map[string]bool{}, map[string]bool{}
	for _, file := range []string{"prometheus/tests.yaml", "prometheus/tests-days.yaml"} {
		for _, test := range parse(t, read(t, file))["tests"].([]any) {
			for _, x := range at(test, "alert_rule_test").([]any) {
				name := at(x, "alertname").(string)
				if expected, _ := at(x, "exp_alerts").([]any); len(expected) == 0 {
					silent[name] = true
				} else {
					fires[name] = true
				}
			}
		}
	}
	return fires, silent
}

// headings are the anchors of docs/runbook.md, as forges make them.
func headings(t *testing.T) (out []string) {
	t.Helper()
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(read(t, "../docs/runbook.md"), -1) {
		out = append(out, strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// Each reason for which a partition halts has its place in the runbook.
func TestReasons(t *testing.T) {
	t.Parallel()
	anchors := headings(t)
	for _, reason := range consumer.Reasons() {
		if !slices.Contains(anchors, string(reason)) {
			t.Errorf("docs/runbook.md has no heading %s", reason)
		}
	}
}

// The dashboard is what its table says, asks for what is there, and can be read.
func TestDashboard(t *testing.T) {
	t.Parallel()
	made, err := dashboard()
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile(dashboardFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{dashboardFile: string(made), chart + "/files/dashboard.json": string(made), chart + "/files/rules.yaml": read(t, rulesFile)} {
		if read(t, path) != want {
			t.Errorf("%s is not what it is made from: go test ./deploy -run TestDashboard -update", path)
		}
	}
	var d struct {
		Panels []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  struct{ X, Y, W, H int }
			FieldConfig              struct{ Defaults struct{ Unit string } }
			Datasource               struct{ UID string }
			Targets                  []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Name, Type string }
		}
	}
	if err := json.Unmarshal(made, &d); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"datasource", "group", "job", "instance"}) {
		t.Errorf("variables %q", names)
	}
	known, titles, ids, cells := metrics(t), map[string]bool{}, map[int]bool{}, map[[2]int]string{}
	shown := map[string]bool{}
	var exprs []string
	for _, p := range d.Panels {
		if p.Title == "" || titles[p.Title] || ids[p.ID] {
			t.Errorf("panel %d %q: its title or number is another's, or missing", p.ID, p.Title)
		}
		titles[p.Title], ids[p.ID] = true, true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
					t.Fatalf("%q lies over %q, or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%q lacks a description, a unit, queries, or takes a source of its own", p.Title)
		}
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
			for _, problem := range lint(target.Expr, known, nil) {
				t.Errorf("%q: %s", p.Title, problem)
			}
			for _, m := range metricName.FindAllStringSubmatch(target.Expr, -1) {
				shown[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(m[1], "_bucket"), "_sum"), "_count")] = true
				if !strings.Contains(m[2], `instance=~"$instance"`) || !strings.Contains(m[2], `job=~"$job"`) {
					t.Errorf("%q: %s is not of the processes that were picked", p.Title, m[1])
				}
				if counts := strings.HasSuffix(m[1], "_total") || strings.HasSuffix(m[1], "_bucket"); counts && !strings.Contains(target.Expr, m[0]+"[$__rate_interval]") {
					t.Errorf("%q: %s is a counter, and not taken over $__rate_interval", p.Title, m[1])
				}
			}
			if p.Type == "timeseries" && target.LegendFormat == "" {
				t.Errorf("%q: a line without a name", p.Title)
			}
		}
	}
	if len(exprs) < 40 || len(shown) < 35 {
		t.Errorf("%d expressions of %d metrics: nothing is shown", len(exprs), len(shown))
	}
	promtool(t, "check", "rules", asRules(t, exprs))
}

// asRules writes the expressions of panels into a file of rules: promtool reads no others.
func asRules(t *testing.T, exprs []string) string {
	t.Helper()
	var list []object
	for i, expr := range exprs {
		expr = strings.NewReplacer("$__rate_interval", "1m", "$group", "g", "$job", "j", "$instance", "i").Replace(expr)
		list = append(list, object{"record": fmt.Sprintf("panel:query%d", i), "expr": expr})
	}
	text, err := yaml.Marshal(object{"groups": []object{{"name": "panels", "rules": list}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Compose's Prometheus reads the rules that are there.
func TestComposeRules(t *testing.T) {
	t.Parallel()
	files := parse(t, read(t, "prometheus/prometheus.yml"))["rule_files"].([]any)
	if len(files) != 1 || "prometheus/"+files[0].(string) != rulesFile {
		t.Errorf("rule_files: %v", files)
	}
}
