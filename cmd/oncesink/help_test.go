package main

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// The help of every command fits a terminal of 80 columns.
func TestHelpFits(t *testing.T) {
	n := 0
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.InitDefaultHelpFlag()
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(out.Bytes()) {
			if width := utf8.RuneCount(bytes.TrimRight(line, "\n")); width > helpWidth {
				t.Errorf("%s --help: %d columns: %s", cmd.CommandPath(), width, line)
			}
			n++
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRootCommand())
	if n < 200 {
		t.Errorf("%d lines: nothing is shown", n)
	}
}
