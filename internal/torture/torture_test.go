package torture

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/torture/wire"
)

var options struct {
	rows, docs, keep string
	seed             uint64
	runs             int
	soak             time.Duration
}

func TestMain(m *testing.M) {
	flag.StringVar(&options.rows, "rows", "", "rows to play: numbers separated by commas, all, none, or those of a test if it is empty")
	flag.Uint64Var(&options.seed, "seed", 0, "seed of what is random; 0 draws one")
	flag.IntVar(&options.runs, "runs", 1, "how often each row is played, of seeds that follow each other")
	flag.DurationVar(&options.soak, "for", 0, "how long the soak (row 35) lasts")
	flag.StringVar(&options.docs, "docs", "", "folder of faults.json and faults.md, in which the lines of the rows that are played are written anew")
	flag.StringVar(&options.keep, "keep", "", "folder in which histories and logs are kept")
	flag.Parse()
	os.Exit(testpg.Main(m))
}

// row is a line of the matrix.
type row struct {
	n    int
	name string
	play func(r *rig)
	// Not played: why.
	not string
}

// quick are the rows that every run of the tests plays.
var quick = []int{2, 4, 19}

// TestTorture plays rows.
func TestTorture(t *testing.T) {
	seed := cmp.Or(options.seed, rand.Uint64N(1_000_000)+1)
	t.Logf("-seed %d", seed)
	chosen, err := choose(options.rows)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: options.keep}
	if w.dir == "" {
		w.dir = t.TempDir()
	} else if w.dir, err = filepath.Abs(w.dir); err != nil {
		t.Fatal(err)
	}
	if len(chosen) > 0 {
		w.build(t)
	}
	var results []*played
	for _, x := range rows() {
		if !slices.Contains(chosen, x.n) || x.not != "" {
			continue
		}
		sum := &played{}
		results = append(results, sum)
		for i := range options.runs {
			seed := seed + uint64(i)
			passed := t.Run(fmt.Sprintf("%d_%s_of_%d", x.n, strings.ReplaceAll(x.name, " ", "_"), seed), func(t *testing.T) {
				if x.play == nil {
					t.Fatal("this row is not built")
				}
				r := newRig(t, w, x, seed)
				defer func() { // after a failure, too
					r.report()
					sum.add(r.res, seed)
				}()
				x.play(r)
				r.finish()
			})
			sum.Passed = passed && (i == 0 || sum.Passed)
		}
		sum.Scene = w.scene()
	}
	if options.docs != "" {
		if err := publish(options.docs, results); err != nil {
			t.Fatal(err)
		}
	}
}

// choose reads the numbers of rows.
func choose(text string) (chosen []int, err error) {
	switch text {
	case "":
		return quick, nil
	case "none":
		return nil, nil
	case "all":
		for _, x := range rows() {
			chosen = append(chosen, x.n)
		}
		return chosen, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || !slices.ContainsFunc(rows(), func(x row) bool { return x.n == n }) {
			return nil, fmt.Errorf("-rows %s: there is no row %q: they go from 1 to 35", text, word)
		}
		chosen = append(chosen, n)
	}
	return chosen, nil
}

// world is what rows share.
type world struct {
	t          *testing.T // of the whole run
	dir        string     // for logs and histories
	binary     string
	postgresql string // the version of the shared server

	kafka *cluster // of one broker, behind a wire
}

// scene is where and when this is.
func (w *world) scene() scene {
	return scene{Date: time.Now().UTC().Format(time.DateOnly), Machine: fmt.Sprintf("%d cores, %s/%s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH),
		Kafka: testkafka.Version, PostgreSQL: w.postgresql}
}

// build builds the program.
func (w *world) build(t *testing.T) {
	w.binary = filepath.Join(t.TempDir(), "oncesink")
	if out, err := exec.Command("go", "build", "-o", w.binary, "../../cmd/oncesink").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
}

// cluster is an Apache Kafka with a wire in front of each broker.
type cluster struct {
	*testkafka.RealCluster
	wires []*wire.Proxy
}

func startCluster(t testing.TB, nodes int) *cluster {
	c := &cluster{}
	c.RealCluster = testkafka.StartBehind(t, nodes, func(inner string) (string, error) {
		p, err := wire.Listen(inner)
		if err != nil {
			return "", err
		}
		t.Cleanup(func() { _ = p.Close() })
		c.wires = append(c.wires, p)
		return p.Addr(), nil
	})
	return c
}

// shared returns the cluster of one broker that most rows use.
func (w *world) shared(t *testing.T) *cluster {
	if w.kafka == nil {
		w.kafka = startCluster(w.t, 1)
	}
	for _, p := range w.kafka.wires {
		p.Heal()
	}
	return w.kafka
}
