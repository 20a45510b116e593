package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What pages for operators tell to run is there: each command of theirs has these flags and takes so many arguments.
func TestRunbookCommands(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile("(?m)^(?:exits \\d )?(oncesink [a-z].*)$|`(oncesink [a-z][^`]*)`")
	lines := 0
	for _, page := range []string{"../../docs/runbook.md", "../../docs/monitoring.md", "../../deploy/prometheus/rules.yaml"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			line, _, _ := strings.Cut(m[1]+m[2], "|")
			line, _, _ = strings.Cut(line, " 2>")
			words := strings.Fields(line)[1:]
			root := newRootCommand()
			found, rest, err := root.Find(words)
			if err != nil || found == root {
				t.Errorf("%s: %s: there is no such command (%v)", page, line, err)
				continue
			}
			lines++
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%s: %s: %v", page, line, err)
				continue
			}
			if args := found.Flags().Args(); found.HasSubCommands() || len(rest) > 0 { // a bare name is only named
				if err := found.ValidateArgs(args); err != nil {
					t.Errorf("%s: %s: %v", page, line, err)
				}
			}
		}
	}
	if lines < 30 {
		t.Errorf("only %d commands: nothing is shown", lines)
	}
}
