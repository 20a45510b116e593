//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

// prometheus is a server that scrapes the members each second or two, with the alerts as they are deployed.
type prometheus struct {
	process *localserver.Process
	url     string
}

func startPrometheus(dir string, ports []int) (*prometheus, error) {
	path, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, fmt.Errorf("%w: install Prometheus (of Debian: apt-get install prometheus)", err)
	}
	rules, err := filepath.Abs("deploy/prometheus/rules.yaml")
	if err != nil {
		return nil, err
	}
	targets := []string{}
	for _, p := range ports {
		targets = append(targets, fmt.Sprintf("127.0.0.1:%d", p))
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"global":         map[string]string{"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "5s"},
		"rule_files":     []string{rules},
		"scrape_configs": []any{map[string]any{"job_name": "oncesink", "static_configs": []any{map[string]any{"targets": targets}}}},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	port, err := localserver.FreePort()
	if err != nil {
		return nil, err
	}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	log, err := os.Create(filepath.Join(dir, "prometheus.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the child writes it
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "prometheus"), "--web.listen-address="+at)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := localserver.Start(cmd, syscall.SIGKILL)
	return &prometheus{p, "http://" + at}, err
}

// get asks the API of Prometheus.
func (p *prometheus) get(ctx context.Context, path string, query url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var got struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		return err
	}
	if got.Status != "success" {
		return fmt.Errorf("%s %s: %s", path, query.Get("query"), got.Error)
	}
	return json.Unmarshal(got.Data, into)
}

// alert is one that Prometheus has.
type alert struct {
	Labels, Annotations map[string]string
	State               string
	ActiveAt            time.Time
}

// alerts are those that fire, but for the tickets of which the name is left out.
func (p *prometheus) alerts(ctx context.Context) (firing []alert, err error) {
	var got struct{ Alerts []alert }
	if err := p.get(ctx, "alerts", nil, &got); err != nil {
		return nil, err
	}
	for _, a := range got.Alerts {
		if a.State == "firing" {
			firing = append(firing, a)
		}
	}
	return firing, nil
}

// value is the sum of what an expression gives now, and of how many series.
func (p *prometheus) value(ctx context.Context, expr string) (sum float64, series int, err error) {
	var got struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(ctx, "query", url.Values{"query": {expr}}, &got); err != nil {
		return 0, 0, err
	}
	for _, r := range got.Result {
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			return 0, 0, err
		}
		sum += v
	}
	return sum, len(got.Result), nil
}

// sample is a value at a time.
type sample struct {
	at time.Time
	v  float64
}

// over is what an expression gave, each second or two.
func (p *prometheus) over(ctx context.Context, expr string, from, to time.Time) (out []sample, err error) {
	var got struct {
		Result []struct{ Values [][2]any }
	}
	stamp := func(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }
	if err := p.get(ctx, "query_range", url.Values{"query": {expr}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {"2"}}, &got); err != nil {
		return nil, err
	}
	for _, r := range got.Result {
		for _, x := range r.Values {
			v, err := strconv.ParseFloat(x[1].(string), 64)
			if err != nil {
				return nil, err
			}
			out = append(out, sample{time.UnixMilli(int64(x[0].(float64) * 1000)), v})
		}
	}
	return out, nil
}
