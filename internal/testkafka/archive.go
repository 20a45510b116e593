package testkafka

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/oncesink/oncesink/internal/localserver"
)

// archived returns the installation with its classes as one broker has left them in the user's cache directory, loaded and
// verified: that is two fifths of what the start of a broker takes. Java goes without where the file is none of its own.
func (in installation) archived(ctx context.Context) (installation, error) {
	path, err := in.archive(ctx)
	if err != nil {
		return in, fmt.Errorf("archive Kafka's classes: %w", err)
	}
	in.options = []string{"-XX:SharedArchiveFile=" + path, "-Xlog:cds=off", "-Xlog:cds+dynamic=off"}
	return in, nil
}

// archive makes the file, the first time, by a broker that it starts and ends.
func (in installation) archive(ctx context.Context) (string, error) {
	cache, err := localserver.CacheDir()
	if err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, in.java, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", in.java, err)
	}
	const name = "classes.jsa"
	id := sha256.Sum256(append([]byte(in.java+"\n"), version...))
	dir := filepath.Join(cache, fmt.Sprintf("kafka-%s-classes-%x", Version, id[:6]))
	err = localserver.FillOnce(dir, func(tmp string) error {
		k := &RealCluster{in: in, dir: filepath.Join(tmp, "data")}
		k.in.options = []string{"-XX:ArchiveClassesAtExit=" + filepath.Join(tmp, name)}
		if err := os.Mkdir(k.dir, 0o755); err != nil {
			return err
		}
		if err := k.launchAnywhere(ctx, 1); err != nil {
			return errors.Join(err, k.killAll())
		}
		p := k.nodes[0].process()
		ctx, cancel := context.WithTimeout(ctx, startTimeout)
		defer cancel()
		if err := p.Signal(syscall.SIGTERM); err != nil {
			return errors.Join(err, k.killAll())
		}
		select {
		case <-p.Done():
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("end the broker: %w", ctx.Err()), k.killAll())
		}
		return os.RemoveAll(k.dir)
	})
	return filepath.Join(dir, name), err
}
