package pgserver

import (
	"archive/tar"
	"archive/zip"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/xi2/xz"

	"github.com/oncesink/oncesink/internal/localserver"
)

const (
	// repositoryVariable names a mirror of Maven Central.
	repositoryVariable = "ONCESINK_MAVEN_REPOSITORY"
	mavenCentral       = "https://repo1.maven.org/maven2"
	// artifact holds relocatable servers, one jar per platform and version, made from PostgreSQL's own releases.
	artifact = "/io/zonky/test/postgres/embedded-postgres-binaries-"
	// downloadTimeout bounds the download of one file.
	downloadTimeout = 10 * time.Minute
)

// Download returns the directory of initdb and postgres of a version that is kept in
// the user's cache directory, and fetches it from Maven Central (or the mirror that
// ONCESINK_MAVEN_REPOSITORY names; HTTPS_PROXY counts) the first time.
func Download(ctx context.Context, version string) (string, error) {
	full, err := fullVersion(version)
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "postgresql-"+full+"-"+platform())
	err = localserver.FillOnce(dir, func(tmp string) error { return fetch(ctx, full, tmp) })
	if err != nil {
		return "", fmt.Errorf("get PostgreSQL %s: %w; install it instead (Debian: apt-get install postgresql), or name a mirror of Maven Central in %s", full, err, repositoryVariable)
	}
	return filepath.Join(dir, "bin"), nil
}

// cacheDir returns a directory that the server's account can execute from: root's own cache usually isn't.
func cacheDir() (string, error) {
	a, err := runAs()
	if err != nil {
		return "", err
	}
	dir, err := localserver.CacheDir()
	if a == nil {
		return dir, err
	}
	if err == nil {
		if err = os.MkdirAll(dir, 0o755); err == nil && a.canReach(dir) == nil {
			return dir, nil
		}
	}
	return "/var/cache/oncesink", nil
}

// platform returns the artifact's name of the system we run on.
func platform() string {
	arch := runtime.GOARCH
	if arch == "arm64" {
		arch = "arm64v8"
	}
	if _, err := os.Stat("/etc/alpine-release"); err == nil {
		arch += "-alpine"
	}
	return runtime.GOOS + "-" + arch
}

// fetch downloads a version, checks it, and unpacks it into dir.
func fetch(ctx context.Context, version, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	base := strings.TrimRight(os.Getenv(repositoryVariable), "/")
	if base == "" {
		base = mavenCentral
	}
	name := artifact + platform()
	url := base + name + "/" + version + "/" + filepath.Base(name) + "-" + version + ".jar"
	jar := filepath.Join(dir, "download.jar")
	if err := get(ctx, url, jar); err != nil {
		return err
	}
	if err := verify(ctx, url, jar); err != nil {
		return err
	}
	if err := unpackJar(jar, dir); err != nil {
		return fmt.Errorf("unpack %s: %w", url, err)
	}
	if !hasServer(filepath.Join(dir, "bin")) {
		return fmt.Errorf("unpack %s: no server in it", url)
	}
	return os.Remove(jar)
}

// errNotFound is the answer for a file that the repository doesn't have.
var errNotFound = errors.New("not found")

// get downloads a file.
func get(ctx context.Context, url, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err // names the method and the URL
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return fmt.Errorf("get %s: %w", url, errNotFound)
	default:
		return fmt.Errorf("get %s: %s", url, resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	return nil
}

// verify compares a downloaded file with the checksum that the repository keeps beside it.
func verify(ctx context.Context, url, path string) error {
	for _, sum := range []struct {
		suffix string
		hash   hash.Hash
	}{{".sha256", sha256.New()}, {".sha1", sha1.New()}} {
		err := get(ctx, url+sum.suffix, path+sum.suffix)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path + sum.suffix)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(sum.hash, f)
		if err = errors.Join(err, f.Close(), os.Remove(path+sum.suffix)); err != nil {
			return err
		}
		want, _, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
		if got := hex.EncodeToString(sum.hash.Sum(nil)); got != strings.ToLower(want) {
			return fmt.Errorf("check %s: its %s is %s, want %s", url, sum.suffix[1:], got, want)
		}
		return nil
	}
	return fmt.Errorf("check %s: the repository has no checksum for it", url)
}

// unpackJar unpacks the one archive that a jar holds.
func unpackJar(path, dir string) error {
	jar, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer jar.Close()
	for _, f := range jar.File {
		if strings.HasSuffix(f.Name, ".txz") {
			r, err := f.Open()
			if err != nil {
				return err
			}
			return errors.Join(unpackArchive(r, dir), r.Close())
		}
	}
	return errors.New("no archive in it")
}

// unpackArchive unpacks a compressed tar archive into dir, and nowhere else.
func unpackArchive(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	plain, err := xz.NewReader(r, 0)
	if err != nil {
		return err
	}
	for archive := tar.NewReader(plain); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackEntry(root, h, archive); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func unpackEntry(root *os.Root, h *tar.Header, content io.Reader) error {
	name := filepath.Clean(h.Name)
	// The archive is read by another account than the one that unpacks it, whatever its modes and our umask say.
	mode := os.FileMode(0o644)
	if h.Mode&0o111 != 0 {
		mode = 0o755
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		return root.Chmod(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Chmod(mode), f.Close())
	}
	return nil
}
