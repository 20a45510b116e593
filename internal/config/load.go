package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds the configuration file; the YAML parser is recursive.
const maxFile = 1 << 20

// Load reads and checks the file. Its error is an *Error.
func Load(file string) (*Config, error) {
	data, err := ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, data, os.LookupEnv)
}

// ReadFile reads a configuration's text. Its error is an *Error.
func ReadFile(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, unreadable(file, "there is no such file: name the configuration with --config FILE, or in ONCESINK_CONFIG")
	case err != nil:
		return nil, unreadable(file, "read configuration: %v", errors.Unwrap(err))
	case info.IsDir():
		return nil, unreadable(file, "is a directory: name a file")
	case info.Size() > maxFile:
		return nil, unreadable(file, tooLarge)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, unreadable(file, "read configuration: %v", errors.Unwrap(err))
	}
	return data, nil
}

// ReadFrom is [ReadFile] of a stream, such as the standard input, that file names in errors.
func ReadFrom(file string, from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	switch {
	case err != nil:
		return nil, unreadable(file, "can't be read")
	case len(data) > maxFile:
		return nil, unreadable(file, tooLarge)
	}
	return data, nil
}

const tooLarge = "is larger than 1 MiB: this is not a configuration of oncesink"

func unreadable(file, format string, args ...any) error {
	return &Error{File: file, Problems: []Problem{{Message: fmt.Sprintf(format, args...)}}}
}

// Parse reads and checks a document; file names it in errors and lookup is the
// environment. Its error is an *Error.
func Parse(file string, data []byte, lookup func(string) (string, bool)) (*Config, error) {
	cfg, _, err := readDocument(file, data, lookup)
	return cfg, err
}

func newDecoder(data []byte, lookup func(string) (string, bool)) *decoder {
	return &decoder{data: data, lookup: lookup, anchors: map[string]ast.Node{}, at: map[string]*token.Position{}, values: map[string]*token.Position{}, raw: map[string]string{}}
}

// readDocument is Parse, and returns what is known of where each value stands.
func readDocument(file string, data []byte, lookup func(string) (string, bool)) (*Config, *decoder, error) {
	d := newDecoder(data, lookup)
	cfg := &Config{}
	if body := d.parse(data); body != nil {
		ast.Walk(d, body)
		d.value("", body, reflect.ValueOf(cfg).Elem())
		// What is wrong with a key that could not be read is already said.
		if len(d.problems) == 0 {
			v := &validator{at: d.at, cfg: cfg}
			v.validate()
			for _, p := range v.problems {
				at, exact := d.where(p.Path, p.onKey)
				if at != nil {
					p.Line, p.Column, p.missing = at.Line, at.Column, !exact
				}
				d.problems = append(d.problems, p)
			}
		}
	}
	if len(d.problems) == 0 {
		if err := cfg.settle(); err != nil {
			d.problem(nil, "topics", "%v", err)
		}
	}
	if len(d.problems) > 0 {
		return nil, nil, newError(file, data, d.problems)
	}
	cfg.letIn()
	return cfg, d, nil
}

// defined is what the parser says of a key that is repeated.
var defined = regexp.MustCompile(`^mapping key ".*" already defined at \[(\d+):(\d+)\]`)

// parse returns the body of the only document, or nil with a problem noted.
func (d *decoder) parse(data []byte) ast.Node {
	f, err := parser.ParseBytes(data, 0)
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax) && syntax.GetToken() != nil:
		at := syntax.GetToken()
		if first := defined.FindStringSubmatch(syntax.GetMessage()); first != nil {
			key := "a key"
			if !inSecret(data, at.Position) {
				key = "the key " + at.Value
			}
			d.problem(at.Position, "", "%s is here twice: the first one is at line %s, column %s. Remove one of them", key, first[1], first[2])
			return nil
		}
		// The parser's message can quote a value, and so a secret.
		d.problem(at.Position, "", "is not valid YAML: %s", quoteless(syntax.GetMessage()))
		return nil
	case err != nil:
		d.problem(nil, "", "is not valid YAML")
		return nil
	}
	var body ast.Node
	for _, doc := range f.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			d.problem(position(doc.Body), "", "a second document begins here: there may be only one")
			return nil
		}
		body = doc.Body
	}
	if body == nil || body.Type() == ast.NullType {
		d.problem(nil, "", "is empty: see the example in the README, or `oncesink check --schema`")
		return nil
	}
	return body
}
