package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What docs/dead-letters.md prints is what the script runs: each line of its code.
func TestCookbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/dead-letters.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/script/dead_letters.txtar")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, block := range regexp.MustCompile("(?ms)^```(?:sql)?\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		for line := range strings.Lines(block[1]) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			lines++
			if !regexp.MustCompile(`(?m)(^|^ +|^exits \d |^exec )` + regexp.QuoteMeta(line) + `$`).Match(script) {
				t.Errorf("the script dead_letters.txtar does not run: %s", line)
			}
		}
	}
	if lines < 20 {
		t.Errorf("only %d lines: nothing is shown", lines)
	}
}
