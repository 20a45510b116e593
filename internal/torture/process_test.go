package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
)

// process is a running oncesink run.
type process struct {
	r       *rig
	name    string
	log     string
	proc    *localserver.Process
	started time.Time

	mu      sync.Mutex
	metrics map[string]float64 // as they were scraped last
	done    chan struct{}
}

// start starts a sink by a configuration; "" is the row's usual one. It doesn't wait for it.
func (r *rig) start(config string, args ...string) *process {
	r.Helper()
	return r.startWith(r.w.binary, nil, config, args...)
}

// startWith is start, of another program, or with variables of the environment.
func (r *rig) startWith(binary string, env []string, config string, args ...string) *process {
	r.Helper()
	if config == "" {
		config = r.config("", "")
	}
	p := &process{r: r, name: fmt.Sprintf("sink%d", len(r.sinks)), started: time.Now(), metrics: map[string]float64{}, done: make(chan struct{})}
	p.log = filepath.Join(r.dir, p.name+".log")
	f, err := os.Create(p.log)
	r.must(err)
	defer f.Close()
	cmd := exec.Command(binary, append([]string{"run", "-c", config}, args...)...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=2"), env...)
	p.proc, err = localserver.Start(cmd, syscall.SIGKILL)
	r.must(err)
	r.sinks = append(r.sinks, p)
	go p.scrape()
	return p
}

// run runs another command of oncesink, which has to end with 0, and returns what it printed.
func (r *rig) run(args ...string) string {
	r.Helper()
	out, err := r.try(args...)
	if err != nil {
		r.Fatalf("oncesink %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (r *rig) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, r.w.binary, args...).CombinedOutput()
	return string(out), err
}

func (p *process) signal(s syscall.Signal) {
	p.r.Helper()
	p.r.must(p.proc.Signal(s))
}

func (p *process) freeze() { p.r.Helper(); p.signal(syscall.SIGSTOP) }
func (p *process) wake()   { p.r.Helper(); p.signal(syscall.SIGCONT) }

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	_ = p.proc.Signal(syscall.SIGKILL) // it may be gone
	<-p.proc.Done()
	<-p.done
}

// term asks it to end, which it has to do well, and in time.
func (p *process) term() {
	p.r.Helper()
	if p.proc.Exited() {
		return
	}
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	select {
	case <-p.proc.Done():
		<-p.done
		if err := p.proc.Err(); err != nil && !strings.Contains(p.text(), "partition halted") {
			p.r.Errorf("%s ended by SIGTERM: %v\n%s", p.name, err, localserver.LogTail(p.log, 0))
		}
	case <-time.After(60 * time.Second):
		p.r.Errorf("%s doesn't end by SIGTERM\n%s", p.name, localserver.LogTail(p.log, 0))
		p.kill()
	}
}

func (p *process) text() string {
	b, err := os.ReadFile(p.log)
	p.r.must(err)
	return string(b)
}

// logged counts the lines of a log that have a text.
func (p *process) logged(text string) int { return strings.Count(p.text(), text) }

// loggedAny counts a text in the logs of all processes of the row.
func (r *rig) loggedAny(text string) (n int) {
	for _, p := range r.sinks {
		n += p.logged(text)
	}
	return n
}

// address of the admin listener, once it has told.
func (p *process) address() string {
	f, err := os.Open(p.log)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "admin listener" {
			return line.Address
		}
	}
	return ""
}

// series is what is kept of metrics.
var series = regexp.MustCompile(`(?m)^oncesink_(fenced_total|unknown_commits_total|rows_total|retries_total|stuck_sessions_ended_total|rebalances_total)\{(.*)\} (\S+)$`)

// scrape reads the metrics four times a second, as long as the process lives.
func (p *process) scrape() {
	defer close(p.done)
	client := &http.Client{Timeout: time.Second}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	address := ""
	for {
		select {
		case <-p.proc.Done():
			return
		case <-tick.C:
		}
		if address == "" {
			address = p.address()
			continue
		}
		resp, err := client.Get("http://" + address + "/metrics")
		if err != nil {
			continue // frozen, or gone
		}
		var b strings.Builder
		_, err = bufio.NewReader(resp.Body).WriteTo(&b)
		resp.Body.Close()
		if err != nil {
			continue
		}
		p.mu.Lock()
		for _, m := range series.FindAllStringSubmatch(b.String(), -1) {
			if v, err := strconv.ParseFloat(m[3], 64); err == nil {
				p.metrics[m[1]+"{"+m[2]+"}"] = v
			}
		}
		p.mu.Unlock()
	}
}

// metric sums a counter over all processes of the row, those that are gone included; label is a part of its labels.
func (r *rig) metric(name, label string) (sum int) {
	for _, p := range r.sinks {
		p.mu.Lock()
		for key, v := range p.metrics {
			if strings.HasPrefix(key, name+"{") && strings.Contains(key, label) {
				sum += int(v)
			}
		}
		p.mu.Unlock()
	}
	return sum
}
