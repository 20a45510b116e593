package pgserver_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/oncesink/oncesink/internal/pgserver"
)

const (
	// goodArchive holds two scripts of mode 0700, bin/initdb and bin/postgres, that print a version, and a link to one.
	goodArchive = `/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Cf/AMVdADEaShsFkZA3OlG9V3Gz1uQT2IkQonAbexNN15tic70r6rNJbkVqC6RLQH26
65UL531xp7xGLwZr/1nCJm7Yb4qgM8aNh7IWdFFK9OuWIdgPmnFbbZVTZsdnyCLMpaSGhnLqV8WtuIq4P6y9M+idE1AjjrOLAApq
6dsFEW31tBFoxDi+CcTw1AbDpTHPoSPIQbn8gBeaV/IfcX6c8uOy/rvXcF8U76c/YnicWn+1GVDC07wkNtnr2i7lA4bja3ympFKv
BUcAAAAAAJtTs53kw9exAAHhAYBQAADBrciiscRn+wIAAAAABFla`
	// evilArchive holds ../evil.
	evilArchive = `/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4Cf/AF9dABdguMp2M665KbST0FIAU4gDG7wGZIsXETGciXeREKjTC+CkJRQwX+IxI6Zj
lWEAGskr/rU3i9tysctxUSwePTZ/VaGNHNamR/hKMY8a+fkjbsnsrqX2nEIhe8K/4wIAAACWa/RHmUe2nAABe4BQAAAA75Zb2LHE
Z/sCAAAAAARZWg==`
)

// jar packs an archive as the repository does.
func jar(t *testing.T, archive string) []byte {
	t.Helper()
	content, err := base64.StdEncoding.DecodeString(archive)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("postgres.txz")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDownload(t *testing.T) {
	good := jar(t, goodArchive)
	sum := sha1.Sum(good)
	evil := jar(t, evilArchive)
	evilSum := sha1.Sum(evil)
	for _, test := range []struct {
		name, version string
		files         map[string][]byte // by suffix of the address
		wantError     string            // none = success
	}{
		{"good", "18.6", map[string][]byte{".jar": good, ".jar.sha1": []byte(hex.EncodeToString(sum[:]))}, ""},
		{"changed on the way", "18.6", map[string][]byte{".jar": good, ".jar.sha1": []byte(strings.Repeat("0", 40))}, "want 000"},
		{"no checksum", "18.6", map[string][]byte{".jar": good}, "no checksum"},
		{"no such version", "18.99", nil, "not found"},
		{"outside", "18.6", map[string][]byte{".jar": evil, ".jar.sha1": []byte(hex.EncodeToString(evilSum[:]))}, "escapes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var jars atomic.Int32
			repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				version := path.Base(path.Dir(r.URL.Path))
				for suffix, content := range test.files {
					if strings.HasSuffix(r.URL.Path, "-"+version+suffix) && version == "18.6.0" {
						if suffix == ".jar" {
							jars.Add(1)
						}
						w.Write(content)
						return
					}
				}
				http.NotFound(w, r)
			}))
			defer repository.Close()
			cache := tempDir(t)
			if err := os.Chmod(cache, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("XDG_CACHE_HOME", cache)
			t.Setenv("ONCESINK_MAVEN_REPOSITORY", repository.URL+"/")

			dir, err := pgserver.Download(t.Context(), test.version)
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) || !strings.Contains(err.Error(), "apt-get install postgresql") {
					t.Errorf("got %v, want %q and the way out", err, test.wantError)
				}
				if left, _ := filepath.Glob(filepath.Join(cache, "oncesink", "*")); len(left) != 1 || filepath.Ext(left[0]) != ".lock" {
					t.Errorf("left behind %v, want the lock alone", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if again, err := pgserver.Download(t.Context(), test.version); again != dir || err != nil || jars.Load() != 1 {
				t.Errorf("got %s, %v and %d downloads the second time, want %s and one", again, err, jars.Load(), dir)
			}
			if out, err := exec.Command(filepath.Join(dir, "..", "share", "link")).Output(); !strings.Contains(string(out), "18.6") {
				t.Errorf("got output %q, %v", out, err)
			}
			info, err := os.Stat(filepath.Join(dir, "initdb"))
			if err != nil || info.Mode() != 0o755 {
				t.Errorf("got mode %v, %v", info.Mode(), err)
			}
		})
	}
}
