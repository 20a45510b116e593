package testkafka

import (
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pins has the checksums of what Maven brings, of each set of jars a file as sha256sum writes it. A new set gets its own by
//
//	cd ~/.cache/oncesink/NAME/libs && sha256sum * > .../internal/testkafka/pins/NAME.sha256
//
// after a look at what was brought.
//
//go:embed pins/*.sha256
var pins embed.FS

// verify reports whether the files of a folder are those of a set: all of them, no others, and with the checksums that are pinned.
func verify(pins fs.FS, name, dir string) error {
	path := "pins/" + name + ".sha256"
	text, err := fs.ReadFile(pins, path)
	if err != nil {
		return fmt.Errorf("check %s: internal/testkafka/%s is not there, which pins the checksums of its files", name, path)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(text)) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		want[file] = sum
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("check %s: %w", name, err)
	}
	var wrong []error
	for _, e := range entries {
		got, err := checksum(filepath.Join(dir, e.Name()))
		if err != nil {
			return fmt.Errorf("check %s: %w", name, err)
		}
		if got != want[e.Name()] {
			wrong = append(wrong, fmt.Errorf("%s has the SHA-256 %s, pinned is %q", e.Name(), got, want[e.Name()]))
		}
		delete(want, e.Name())
	}
	for _, file := range slices.Sorted(maps.Keys(want)) {
		wrong = append(wrong, fmt.Errorf("%s was not brought", file))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("check %s: these are not the files that internal/testkafka/%s pins; look at what Maven Central, or the mirror in ONCESINK_MAVEN_REPOSITORY, sends: %w",
			name, path, errors.Join(wrong...))
	}
	return nil
}

func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), errors.Join(err, f.Close())
}
