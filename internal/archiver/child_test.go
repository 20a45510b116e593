package archiver

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/testenv"
)

// childBrokers is a variable that has the test program archive, and do nothing else.
const childBrokers = "ONCESINK_ARCHIVER_BROKERS"

// archiveInChild archives the topic and into the location that the arguments name.
func archiveInChild(brokers string) int {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...))
	if err == nil {
		var a *archive.Archive
		if a, err = archive.Open(context.Background(), os.Args[2], archive.Options{}); err == nil {
			_, err = Run(context.Background(), Config{Archive: a, Client: client, Topics: os.Args[1:2], FileBytes: 4 << 10, FetchBytes: 2 << 10, UntilEnd: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child archives in a process of its own, which is killed once it has written some bytes. It reports whether that was before it was done.
func (r *rig) child(rng *rand.Rand) (killed bool) {
	r.Helper()
	cmd := exec.CommandContext(r.Context(), os.Args[0], r.topic, r.location)
	cmd.Env = append(os.Environ(), childBrokers+"="+strings.Join(r.brokers, ","))
	var log strings.Builder
	cmd.Stderr = &log
	before := r.written()
	enough := before + rng.Int64N(40<<10)
	r.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var end error
	over := false
	testenv.Eventually(r.T, time.Minute, "bytes in the archive, or the end", func() bool {
		select {
		case end = <-ended:
			over = true
		default:
		}
		return over || r.written() >= enough
	})
	if !over {
		_ = cmd.Process.Kill()
		end = <-ended
	}
	if end == nil {
		return false
	}
	if cmd.ProcessState.ExitCode() >= 0 {
		r.Fatalf("the child failed: %v\n%s", end, log.String())
	}
	return true
}

// written is how much there is, drafts included.
func (r *rig) written() (n int64) {
	_ = filepath.WalkDir(r.location, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
