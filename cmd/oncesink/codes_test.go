package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/pgerr"
)

const codesFile = "../../docs/reference/codes.md"

// The reference of codes is made from where they are defined.
func TestCodesAreCurrent(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Codes

<!-- Made from the code: go test ./cmd/oncesink -run TestCodesAreCurrent -update -->

## Exit codes

| code | means |
|---|---|
`)
	for _, c := range constants(t, "main.go", "exit") {
		fmt.Fprintf(&b, "| %s | %s |\n", c.value, c.comment)
	}
	b.WriteString(`
A supervisor should restart on 1, and may give up on 2: starting it again changes nothing. [Which command ends with what](../monitoring.md#exit-codes).

## Reasons of a halted partition

As ` + "`oncesink status --json`" + `, the label ` + "`reason`" + ` and the page have them; each leads to what to do.

| reason | means |
|---|---|
`)
	for _, c := range constants(t, "../../consumer/reason.go", "Reason") {
		reason := strings.Trim(c.value, `"`)
		fmt.Fprintf(&b, "| [%s](../runbook.md#%[1]s) | %s |\n", reason, c.comment)
	}
	b.WriteString(`
## Codes of dead letters

Of oncesink's own decoders. What to do about each is in [the cookbook](../dead-letters.md#mend-the-cause).

| code | says of the record |
|---|---|
`)
	for _, code := range pgerr.Codes() {
		if strings.HasPrefix(code, "ONS") {
			fmt.Fprintf(&b, "| %s | %s |\n", code, pgerr.Meaning(code))
		}
	}
	fmt.Fprintf(&b, "| none, or `handler` | %s, without a code of its own |\n", pgerr.Meaning(""))
	b.WriteString(`
PostgreSQL's own, by SQLSTATE, are those of [its manual](https://www.postgresql.org/docs/current/errcodes-appendix.html). Any of them may be in a letter, where one record is to blame
([rules 17 and 18](../semantics.md#c-what-is-poison)). Of these ` + "`oncesink dead-letters`" + ` says without the message, which may quote values:

| SQLSTATE | says of the record |
|---|---|
`)
	for _, code := range pgerr.Codes() {
		if !strings.HasPrefix(code, "ONS") {
			fmt.Fprintf(&b, "| %s | %s |\n", code, pgerr.Meaning(code))
		}
	}
	b.WriteString(`
## What the ledger raises

| SQLSTATE | means |
|---|---|
| OS001 | a transaction is fenced: a partition has another owner, or an operator has moved it. Nothing of it is committed; no letter has this code |
| OS002 | more records of a partition are dead letters than ` + "`dead_letters:`" + ` allows: it halts, before the transaction in which that would be |
`)
	if *update {
		if err := os.WriteFile(codesFile, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(codesFile); err != nil || string(got) != b.String() {
		t.Errorf("docs/reference/codes.md is out of date: run go test ./cmd/oncesink -run TestCodesAreCurrent -update (%v)", err)
	}
}

// Every code that the program gives to a letter, or the ledger raises, has its line in the references.
func TestEveryCodeIsTold(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	told, cookbook := read(codesFile), read("../../docs/dead-letters.md")
	defined := regexp.MustCompile(`"(ONS\d\d|OS\d{3})"|errcode = '(OS\d{3})'`)
	var codes []string
	for _, pattern := range []string{"../../internal/*/*.go", "../../offsets/*.go", "../../consumer/*.go", "../../sink/*.go", "../../offsets/sql/*.sql"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s (%v)", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "/internal/test") {
				continue
			}
			for _, m := range defined.FindAllStringSubmatch(read(file), -1) {
				codes = append(codes, m[1]+m[2])
			}
		}
	}
	slices.Sort(codes)
	codes = slices.Compact(codes)
	if len(codes) < 12 {
		t.Fatalf("only %d codes found: nothing is shown", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(told, "\n| "+code+" |") {
			t.Errorf("docs/reference/codes.md has no line for %s: give it a meaning in internal/pgerr", code)
		}
		if strings.HasPrefix(code, "ONS") && !strings.Contains(cookbook, "\n| "+code+" |") {
			t.Errorf("docs/dead-letters.md does not say what to do about %s", code)
		}
	}
}

type constant struct{ value, comment string }

// constants are those of a file whose names begin so, with what their comments say.
func constants(t *testing.T, path, prefix string) []constant {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var out []constant
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, prefix) || len(spec.Values) == 0 {
			return true
		}
		value, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		comment := strings.Join(strings.Fields(spec.Doc.Text()+" "+spec.Comment.Text()), " ")
		if comment == "" {
			t.Errorf("%s: %s has no comment", path, spec.Names[0].Name)
		}
		out = append(out, constant{value.Value, strings.TrimPrefix(comment, spec.Names[0].Name+" is ")})
		return true
	})
	if len(out) < 3 {
		t.Fatalf("%s has no constants of the name %s...", path, prefix)
	}
	return out
}
