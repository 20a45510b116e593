package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const referenceFile = "../../docs/reference/cli.md"

// The reference of the command line is the help of each command.
func TestReferenceIsCurrent(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# The command line

<!-- Made from the commands: go test ./cmd/oncesink -run TestReferenceIsCurrent -update -->

`)
	var write func(cmd *cobra.Command)
	write = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "completion" && len(cmd.Commands()) == 0 || cmd.Name() == "help" {
			return
		}
		var help bytes.Buffer
		cmd.InitDefaultHelpFlag()
		cmd.SetOut(&help)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "## %s\n\n```text\n%s\n```\n\n", cmd.CommandPath(), strings.TrimSpace(help.String()))
		if cmd.Name() == "completion" {
			return // its shells are in its help
		}
		for _, sub := range cmd.Commands() {
			write(sub)
		}
	}
	root := newRootCommand()
	root.Version = "" // is the build's
	write(root)
	text := strings.TrimRight(b.String(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(referenceFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil || string(got) != text {
		t.Errorf("docs/reference/cli.md is out of date: run go test ./cmd/oncesink -run TestReferenceIsCurrent -update (%v)", err)
	}
}

// Every command says in one line what it does, and what it prints for a person it prints for a program as well.
func TestCommandsAreAlike(t *testing.T) {
	prints := map[string]bool{ // SQL, records, a story, or an exit code
		"oncesink schema": true, "oncesink generate": true, "oncesink demo": true, "oncesink dead-letters export": true, "oncesink help": true, "oncesink health": true,
	}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") && !strings.HasSuffix(cmd.Short, "..") {
			t.Errorf("%s: %q", cmd.CommandPath(), cmd.Short)
		}
		if cmd.Runnable() && !cmd.HasSubCommands() && !cmd.Hidden && !prints[cmd.CommandPath()] && cmd.Parent().Name() != "completion" && cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRootCommand())
}
