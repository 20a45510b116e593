package testconnect

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

// registryTimeout bounds the start of the registry: it takes ten seconds where nobody else has the processors.
const registryTimeout = 3 * time.Minute

// Registry is Apicurio's, which keeps its schemas in memory.
type Registry struct {
	// URL is the one under which it speaks Confluent's protocol; Native is that of its own.
	URL, Native string

	dir  string
	proc *localserver.Process
}

// InstallRegistry makes sure that the registry is in the user's cache directory, and returns a java and its folder.
func InstallRegistry(ctx context.Context) (java, dir string, err error) {
	java, libs, err := testkafka.Jars(ctx, "apicurio-registry-"+Apicurio, "io.apicurio:apicurio-registry-app:"+Apicurio+":tar.gz:all")
	if err != nil {
		return "", "", err
	}
	dir = filepath.Join(filepath.Dir(libs), "unpacked")
	err = localserver.FillOnce(dir, func(tmp string) error {
		return unpack(filepath.Join(libs, "apicurio-registry-app-"+Apicurio+"-all.tar.gz"), tmp)
	})
	return java, dir, err
}

// StartRegistry starts a registry, which keeps its log in a folder, and waits until it answers.
func StartRegistry(ctx context.Context, dir string) (*Registry, error) {
	java, app, err := InstallRegistry(ctx)
	if err != nil {
		return nil, err
	}
	port, err := localserver.FreePort()
	if err != nil {
		return nil, err
	}
	base := fmt.Sprintf("http://127.0.0.1:%d/apis/", port)
	r := &Registry{URL: base + "ccompat/v7", Native: base + "registry/v2", dir: dir}
	r.proc, err = run(r.log(), exec.Command(java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dquarkus.http.host=127.0.0.1", fmt.Sprintf("-Dquarkus.http.port=%d", port), "-Dquarkus.log.level=WARN",
		"-jar", filepath.Join(app, "apicurio-registry-app-"+Apicurio+"-runner.jar")))
	if err != nil {
		return nil, err
	}
	if err := r.wait(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start Apicurio's registry: %w; the end of its log:\n%s", err, localserver.LogTail(r.log(), 0)), r.Kill())
	}
	return r, nil
}

// wait returns once the registry answers.
func (r *Registry) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/subjects", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-tick.C:
		case <-r.proc.Done():
			return fmt.Errorf("it has ended: %w", r.proc.Err())
		case <-ctx.Done():
			return err
		}
	}
}

// Kill ends the registry, which forgets all schemas.
func (r *Registry) Kill() error { return r.proc.Kill() }

func (r *Registry) log() string { return filepath.Join(r.dir, "registry.log") }

// Avro is what a connector is told to write its keys and values as Avro, with schemas of this registry and their ids before the bytes, as Confluent's do.
func (r *Registry) Avro() map[string]string {
	settings := map[string]string{}
	for _, which := range []string{"key.converter", "value.converter"} {
		settings[which] = "io.apicurio.registry.utils.converter.AvroConverter"
		settings[which+".apicurio.registry.url"] = r.Native
		settings[which+".apicurio.registry.auto-register"] = "true"
		settings[which+".apicurio.registry.as-confluent"] = "true"
		settings[which+".apicurio.registry.use-id"] = "contentId"
	}
	return settings
}

// unpack unpacks an archive into dir, and nowhere else.
func unpack(path, dir string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // was read
	plain, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", path, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // nothing is written by it
	for archive := tar.NewReader(plain); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpackEntry(root, h, archive)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", path, err)
		}
	}
}

func unpackEntry(root *os.Root, h *tar.Header, content io.Reader) error {
	name := filepath.Clean(h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := root.Create(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Close())
	}
	return nil
}
