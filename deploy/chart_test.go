// Package deploy_test holds what is deployed to what the program is: the chart's manifests, the units and their flags.
package deploy_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/goccy/go-yaml"
)

const chart = "helm/oncesink"

type object = map[string]any

// render does for this chart what `helm template orders` does, with the functions that its templates use. Helm itself takes
// minutes to build: scripts/deploy has it make the manifests that these tests compare with.
func render(t *testing.T, overlays ...object) ([]object, error) {
	t.Helper()
	values := parse(t, read(t, chart+"/values.yaml"))
	for _, overlay := range overlays {
		overwrite(values, overlay)
	}
	about := parse(t, read(t, chart+"/Chart.yaml"))
	data := object{
		"Values":  values,
		"Chart":   object{"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
		"Release": object{"Name": "orders", "Namespace": "default", "Service": "Helm"},
		"Files":   files{},
	}
	templates := template.New("").Option("missingkey=zero")
	templates.Funcs(functions(templates))
	paths, err := filepath.Glob(chart + "/templates/*")
	if err != nil || len(paths) < 8 {
		t.Fatalf("templates: %d, %v", len(paths), err)
	}
	for _, path := range paths {
		if _, err := templates.New(filepath.Base(path)).Parse(read(t, path)); err != nil {
			t.Fatal(err)
		}
	}
	var out []object
	for _, path := range paths {
		var text bytes.Buffer
		if err := templates.ExecuteTemplate(&text, filepath.Base(path), data); err != nil {
			return nil, err
		}
		if filepath.Ext(path) == ".yaml" {
			out = append(out, documents(t, text.String())...)
		} else if strings.Contains(text.String(), "<no value>") {
			t.Errorf("%s prints no value:\n%s", path, &text)
		}
	}
	sortByID(out)
	return out, nil
}

func sortByID(objects []object) {
	slices.SortFunc(objects, func(a, b object) int { return strings.Compare(id(a), id(b)) })
}

type files struct{}

// Get is .Files.Get of the templates.
func (files) Get(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(chart, name))
	return string(data), err
}

func functions(templates *template.Template) template.FuncMap {
	indent := func(n int, text string) string {
		return strings.ReplaceAll(strings.Repeat(" ", n)+text, "\n", "\n"+strings.Repeat(" ", n))
	}
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out strings.Builder
			err := templates.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"fail":    func(why string) (string, error) { return "", errors.New(why) },
		"nindent": func(n int, text string) string { return "\n" + indent(n, text) },
		"toYaml": func(v any) (string, error) {
			out, err := yaml.MarshalWithOptions(v, yaml.UseLiteralStyleIfMultiline(true))
			return strings.TrimSuffix(string(out), "\n"), err
		},
		"fromYaml": func(text string) object { return decode([]byte(text), yaml.Unmarshal) },
		"toJson": func(v any) (string, error) {
			out, err := json.Marshal(v)
			return string(out), err
		},
		"fromJson": func(text string) object { return decode([]byte(text), yaml.Unmarshal) },
		"default": func(instead, v any) any {
			if truth, _ := template.IsTrue(v); !truth {
				return instead
			}
			return v
		},
		"ternary": func(yes, no any, which bool) any {
			if which {
				return yes
			}
			return no
		},
		"quote":      func(v any) string { return strconv.Quote(fmt.Sprint(v)) },
		"contains":   func(part, text string) bool { return strings.Contains(text, part) },
		"trunc":      func(n int, text string) string { return text[:min(n, len(text))] },
		"trim":       strings.TrimSpace,
		"trimSuffix": func(suffix, text string) string { return strings.TrimSuffix(text, suffix) },
		"replace":    func(from, to, text string) string { return strings.ReplaceAll(text, from, to) },
		"lower":      strings.ToLower,
		"join": func(between string, list []any) string {
			return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", between), "[]")
		},
		"toString":   func(v any) string { return fmt.Sprint(v) },
		"regexMatch": regexp.MatchString,
		"int": func(v any) (int, error) {
			return strconv.Atoi(fmt.Sprint(v))
		},
		"add":       func(a, b int) int { return a + b },
		"mul":       func(a, b int) int { return a * b },
		"sha256sum": func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) },
		"kindIs": func(kind string, v any) bool {
			return v != nil && reflect.TypeOf(v).Kind().String() == kind
		},
		"hasKey": func(o object, key string) bool { _, ok := o[key]; return ok },
		"dict": func(pairs ...any) object {
			out := object{}
			for i := 0; i < len(pairs); i += 2 {
				out[pairs[i].(string)] = pairs[i+1]
			}
			return out
		},
		"set": func(o object, key string, v any) object { o[key] = v; return o },
		"omit": func(o object, keys ...string) object {
			out := maps.Clone(o)
			for _, key := range keys {
				delete(out, key)
			}
			return out
		},
		"mergeOverwrite": func(o object, overlays ...object) object {
			for _, overlay := range overlays {
				overwrite(o, overlay)
			}
			return o
		},
		"dig": func(first, second string, instead any, o object) any {
			if inner, ok := o[first].(object); ok && inner[second] != nil {
				return inner[second]
			}
			return instead
		},
	}
}

func overwrite(o, with object) {
	for key, v := range with {
		inner, ok := v.(object)
		if old, both := o[key].(object); ok && both {
			overwrite(old, inner)
		} else {
			o[key] = v
		}
	}
}

// decode gives nothing of what can't be read, as Helm's functions do.
func decode(text []byte, unmarshal func([]byte, any) error) object {
	out := object{}
	if err := unmarshal(text, &out); err != nil {
		return object{"Error": err.Error()}
	}
	return out
}

func parse(t *testing.T, text string) object {
	t.Helper()
	out := object{}
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return out
}

// documents are the objects of a manifest, sorted by kind and name. A configuration in a ConfigMap is parsed, as its layout is nobody's business.
func documents(t *testing.T, text string) (out []object) {
	t.Helper()
	for _, part := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
		o := parse(t, part)
		if len(o) == 0 {
			continue
		}
		if data, ok := o["data"].(object); ok && data["oncesink.yaml"] != nil {
			data["oncesink.yaml"] = parse(t, data["oncesink.yaml"].(string))
		}
		out = append(out, o)
	}
	sortByID(out)
	return out
}

func id(o object) string { return fmt.Sprint(o["kind"], "/", at(o, "metadata", "name")) }

// at walks into objects and lists.
func at(v any, path ...any) any {
	for _, step := range path {
		switch in := v.(type) {
		case object:
			v = in[step.(string)]
		case []any:
			v = in[step.(int)]
		default:
			return nil
		}
	}
	return v
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
