package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Line and Column count from 1; 0 if the problem has no place.
	Line, Column int
	// Path of the key, for example tables[0].key; empty for the whole file.
	Path    string
	Message string

	// missing says that the place is that of the section in which a key is missing.
	missing bool
	// onKey says that the key itself is wrong, whatever its value is.
	onKey bool
	// guarded says that the place is that of an unknown key beside a secret, whose value may be one.
	guarded bool
	snippet string
}

// Error holds all problems of one file, in the order of the file.
type Error struct {
	File     string
	Problems []Problem
}

func newError(file string, data []byte, problems []Problem) *Error {
	lines := strings.Split(string(data), "\n")
	secret := secretParts(lines)
	for i := range problems {
		if p := &problems[i]; p.Line > 0 && p.Line <= len(lines) && !p.missing {
			p.snippet = snippet(lines[p.Line-1], secret[p.Line-1], *p)
		}
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{File: file, Problems: problems}
}

// Error returns one line for each problem, with the place in the file.
func (e *Error) Error() string { return strings.Join(e.lines(false), "\n") }

// Blocks returns each problem with its line of the file, secrets hidden, for a person.
func (e *Error) Blocks() []string { return e.lines(true) }

func (e *Error) lines(snippets bool) []string {
	var out []string
	for _, p := range e.Problems {
		s := e.File
		if p.Line > 0 {
			s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
		}
		if p.Path != "" {
			s += ": " + p.Path
		}
		s += ": " + p.Message
		if snippets && p.snippet != "" {
			s += "\n" + p.snippet
		}
		out = append(out, s)
	}
	return out
}

// snippet shows a line of the file with a mark under the column. What begins at
// byte secret of the line (-1: nothing) is hidden, and so is the value of an unknown key
// beside a secret: it may be a mistyped password.
func snippet(line string, secret int, p Problem) string {
	line = strings.TrimRight(line, "\r")
	mark := min(max(p.Column-1, 0), utf8.RuneCountInString(line))
	if p.guarded {
		start := len(string([]rune(line)[:mark]))
		if end := strings.IndexByte(line[start:], ':'); end >= 0 && (secret < 0 || start+end < secret) {
			secret = start + end + 1
		}
	}
	if secret >= 0 && strings.TrimSpace(line[secret:]) != "" {
		line = line[:secret] + " " + hidden
		mark = min(mark, utf8.RuneCountInString(line))
	}
	// A long line is cut on both sides of the mark.
	runes := []rune(line)
	if cut := mark - 60; cut > 0 {
		runes, mark = runes[cut:], mark-cut
	}
	if len(runes) > 90 {
		runes = append(runes[:90], []rune("...")...)
	}
	shown := strings.ReplaceAll(string(runes), "\t", " ")
	return fmt.Sprintf("%5d | %s\n      | %s^", p.Line, shown, strings.Repeat(" ", mark))
}

var (
	// A key that may name a secret, mistyped ones included, a URL, or a password within a value.
	secretKey = regexp.MustCompile(`(?i)\w*(ur[il]|dsn|pas|pw|secret|token|credential)\w*["']?\s*:|://|pass\w*\s*=`)
	lineKey   = regexp.MustCompile(`^\s*(-\s+)*[{,]?\s*["']?\w+["']?\s*:(\s|$)`)
)

// secretParts returns, for each line, from which byte on it may hold a secret, -1
// if it can't. It looks at the text alone, so that it works for what is not
// valid YAML: a secret begins after its key and ends where a line begins with
// another key.
func secretParts(lines []string) []int {
	out := make([]int, len(lines))
	inSecret := false
	for i, line := range lines {
		m := secretKey.FindStringIndex(line)
		switch {
		case inSecret && !lineKey.MatchString(line):
			out[i] = 0
		case m != nil:
			out[i], inSecret = m[1], true
		default:
			out[i], inSecret = -1, false
		}
	}
	return out
}

// inSecret reports whether a place lies where a line may hold a secret: what looks like a key there can be a piece of one that is not in
// quotes.
func inSecret(data []byte, at *token.Position) bool {
	lines := strings.Split(string(data), "\n")
	if at == nil || at.Line < 1 || at.Line > len(lines) {
		return true
	}
	runes := []rune(lines[at.Line-1])
	from := secretParts(lines)[at.Line-1]
	return from >= 0 && len(string(runes[:min(max(at.Column-1, 0), len(runes))])) >= from
}

var quoted = regexp.MustCompile("\"[^\"]*\"?|'[^']*'?|`[^`]*`?")

// quoteless removes from a message of the YAML parser what it quotes.
func quoteless(message string) string {
	message = strings.Join(strings.Fields(quoted.ReplaceAllString(message, "")), " ")
	if message == "found character that cannot start any token" {
		return message + ": YAML has no tabs before a key, only spaces; quote a value that begins with @, ` or %"
	}
	return message
}
