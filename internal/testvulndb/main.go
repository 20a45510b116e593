// Command testvulndb says where govulncheck finds the list of known vulnerabilities: it prints the list's URL.
// That is Go's own server where it answers, and elsewhere a folder that it makes from the module golang.org/x/vulndb,
// in which the same entries come through a module proxy, some days later.
//
//	testvulndb FOLDER
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const server = "https://vuln.go.dev"

// Where the server can't be reached the answer is at once a refusal, or never.
const patience = 5 * time.Second

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "testvulndb: say in which folder the list may be made")
		os.Exit(2)
	}
	url, err := locate(context.Background(), server, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "testvulndb:", err)
		os.Exit(1)
	}
	fmt.Println(url)
}

func locate(ctx context.Context, server, folder string) (string, error) {
	unreachable := answers(ctx, server)
	if unreachable == nil {
		return server, nil
	}
	entries, err := download(ctx)
	if err != nil {
		return "", fmt.Errorf("neither the server nor the module has the list: %w", errors.Join(unreachable, err))
	}
	folder, err = filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if err := build(entries, folder); err != nil {
		return "", fmt.Errorf("make the list: %w", err)
	}
	return "file://" + filepath.ToSlash(folder), nil
}

// answers reports why a server is of no use.
func answers(ctx context.Context, server string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/index/db.json", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", server, response.Status)
	}
	// A proxy's page in its place is no list.
	var meta struct {
		Modified time.Time `json:"modified"`
	}
	return json.NewDecoder(io.LimitReader(response.Body, 1<<10)).Decode(&meta)
}

// download returns the folder of the entries of the newest version of the module. The go command holds it to the checksum database.
func download(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", "golang.org/x/vulndb@latest")
	out, err := cmd.Output()
	var module struct{ Dir, Error string }
	if unread := json.Unmarshal(out, &module); unread != nil {
		return "", errors.Join(err, unread)
	}
	if module.Error != "" {
		return "", errors.New(module.Error)
	}
	return filepath.Join(module.Dir, "data", "osv"), err
}

// An entry is what the index needs of a vulnerability in the OSV format.
type entry struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
	Affected []struct {
		Package struct {
			Name string `json:"name"` // of a module
		} `json:"package"`
	} `json:"affected"`
}

type indexed struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
}

type module struct {
	Path  string    `json:"path"`
	Vulns []indexed `json:"vulns"`
}

// build makes the files of Go's vulnerability database, as govulncheck reads it, from a folder of entries.
func build(entries, folder string) error {
	files, err := filepath.Glob(filepath.Join(entries, "GO-*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s has no entries", entries)
	}
	for _, name := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
	}
	byPath := map[string][]indexed{}
	var newest time.Time
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		if err := os.WriteFile(filepath.Join(folder, "ID", e.ID+".json"), data, 0o644); err != nil {
			return err
		}
		if e.Modified.After(newest) {
			newest = e.Modified
		}
		for _, a := range e.Affected {
			known := byPath[a.Package.Name]
			if len(known) == 0 || known[len(known)-1].ID != e.ID { // one entry may name a module twice
				byPath[a.Package.Name] = append(known, indexed{e.ID, e.Modified})
			}
		}
	}
	modules := make([]module, 0, len(byPath))
	for path, vulns := range byPath {
		modules = append(modules, module{path, vulns})
	}
	slices.SortFunc(modules, func(a, b module) int { return cmp.Compare(a.Path, b.Path) })
	return errors.Join(
		write(filepath.Join(folder, "index", "modules.json"), modules),
		write(filepath.Join(folder, "index", "db.json"), map[string]time.Time{"modified": newest}))
}

func write(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
