package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

// Bounds of what is asked, and of what is taken for an answer.
const (
	askTimeout    = 8 * time.Second // one server
	maxAnswer     = 16 << 20        // bytes
	maxReferences = 200             // of one schema, in all
	maxDepth      = 30              // of references
)

// errUnknown: the registry says that it does not know a schema.
var errUnknown = errors.New("the registry does not know it")

// servers are those of one registry. The client of package sr goes to the next one only if it gets no answer at all; here each has
// a client of its own, and a bad answer is followed by another server, too.
type servers struct {
	names    []string // their URLs without secrets, and the context: what schemas are kept by
	clients  []*sr.Client
	apicurio bool
	last     atomic.Int32 // that answered
}

func newServers(cfg *Config) (*servers, error) {
	s := &servers{}
	if len(cfg.URLs) == 0 {
		return nil, &sink.ConfigError{Problem: "registry: no URL of a schema registry is given", Fix: "name it in registry.urls"}
	}
	auth, err := newAuth(cfg)
	if err != nil {
		return nil, err
	}
	name := strings.Trim(cfg.Context, ":")
	for i, text := range cfg.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, &sink.ConfigError{Problem: fmt.Sprintf("registry.urls: entry %d is no URL of a server", i+1), Fix: "write it as https://HOST:PORT"}
		}
		if u.User != nil {
			return nil, &sink.ConfigError{Problem: fmt.Sprintf("registry.urls: entry %d has a user or a password in it", i+1), Fix: "write them as registry.username and registry.password"}
		}
		u.RawQuery, u.Fragment = "", ""
		plain := strings.TrimRight(u.String(), "/")
		s.apicurio = s.apicurio || strings.Contains(u.Path, "/apis/ccompat/")
		opts := []sr.ClientOpt{sr.URLs(plain), sr.HTTPClient(&http.Client{Transport: auth, Timeout: askTimeout}), sr.UserAgent("oncesink")}
		if name != "" && name != "." {
			opts = append(opts, sr.DefaultSchemaContext(name))
			plain += " " + name
		}
		client, err := sr.NewClient(opts...)
		if err != nil {
			return nil, &sink.ConfigError{Problem: "registry: no client can be made of it", Fix: "correct the section registry of the configuration"}
		}
		s.names, s.clients = append(s.names, plain), append(s.clients, client)
	}
	return s, nil
}

// get asks one server after the other, from the one that answered last, until one has an answer. That a schema is unknown all have to
// say.
func (s *servers) get(ctx context.Context, path string, into any) error {
	first := int(s.last.Load())
	var failed error
	for i := range s.clients {
		at := (first + i) % len(s.clients)
		err := s.clients[at].Do(ctx, http.MethodGet, path, nil, into)
		if err == nil {
			s.last.Store(int32(at))
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("ask the schema registry: %w", context.Cause(ctx))
		}
		err = explain(err)
		if failed == nil || errors.Is(failed, errUnknown) {
			failed = err
		}
	}
	return failed
}

// explain says what an answer means, in words without secrets.
func explain(err error) error {
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		var dial *url.Error
		if errors.As(err, &dial) {
			if dial.Timeout() {
				return fmt.Errorf("the schema registry gives no answer within %v", askTimeout)
			}
			return fmt.Errorf("reach the schema registry: %w", dial.Err) // which names the address
		}
		return errors.New("the schema registry's answer is cut off, too long, or none of a registry")
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized:
		return errors.New("the schema registry does not know the credentials (401): correct them in the section registry of the configuration")
	case http.StatusForbidden:
		return errors.New("the schema registry does not let these credentials read schemas (403): have them allowed to")
	case http.StatusNotFound:
		switch answer.ErrorCode {
		case 40401, 40402, 40403:
			return errUnknown
		}
		return errors.New("there is something at the schema registry's address that is none, or that does not know such ids (404): see that registry.urls is complete, as https://HOST/apis/ccompat/v7 for Apicurio's")
	}
	return fmt.Errorf("the schema registry answers %d%s", answer.StatusCode, said(answer.Message))
}

// said is a server's message, on one line and not too long.
func said(message string) string {
	message = strings.Join(strings.FieldsFunc(message, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if runes := []rune(message); len(runes) > 200 {
		message = string(runes[:200]) + "…"
	}
	if message == "" || message == "no response" {
		return ""
	}
	return ": " + message
}

// schema gets a schema and all that it refers to.
func (s *servers) schema(ctx context.Context, ref event.SchemaRef) (event.Schema, error) {
	path, err := s.path(ref)
	if err != nil {
		return event.Schema{}, err
	}
	got, err := s.one(ctx, path)
	if err != nil {
		return event.Schema{}, err
	}
	return s.whole(ctx, got)
}

// newest gets the last version of a subject.
func (s *servers) newest(ctx context.Context, subject string) (event.Schema, int, error) {
	got, err := s.one(ctx, "/subjects/"+url.PathEscape(subject)+"/versions/latest")
	if err != nil {
		return event.Schema{}, 0, err
	}
	all, err := s.whole(ctx, got)
	return all, got.Version, err
}

// whole is a schema with all that it refers to.
func (s *servers) whole(ctx context.Context, got *subjectSchema) (out event.Schema, err error) {
	c := collect{servers: s, had: map[string]event.Schema{}}
	out = event.Schema{Type: got.Type.String(), Text: got.Schema.Schema}
	out.References, err = c.references(ctx, &got.Schema, 0)
	if err != nil {
		return event.Schema{}, err
	}
	return out, nil
}

// subjectSchema is what the registry says of a schema. Rule sets have a part more than package sr has.
type subjectSchema struct {
	sr.SubjectSchema
	RuleSet *struct {
		Domain   []sr.SchemaRule `json:"domainRules"`
		Encoding []sr.SchemaRule `json:"encodingRules"`
	} `json:"ruleSet"`
}

func (s *servers) one(ctx context.Context, path string) (*subjectSchema, error) {
	var got subjectSchema
	if err := s.get(ctx, path, &got); err != nil {
		return nil, err
	}
	if got.Schema.Schema == "" {
		return nil, errors.New("the schema registry's answer has no schema in it: see that registry.urls leads to one")
	}
	if got.RuleSet != nil {
		for _, rule := range append(got.RuleSet.Domain, got.RuleSet.Encoding...) {
			if !rule.Disabled && strings.HasPrefix(rule.Type, "ENCRYPT") {
				return nil, &sink.HaltError{Err: fmt.Errorf("its rule %q encrypts fields (%s), which can't be read here: have the producer send them in the clear, or to another topic", rule.Name, rule.Type)}
			}
		}
	}
	return &got, nil
}

// collect gets what schemas refer to, each once.
type collect struct {
	*servers
	had map[string]event.Schema
	n   int
}

func (c *collect) references(ctx context.Context, s *sr.Schema, depth int) (refs []event.Reference, err error) {
	for _, r := range s.References {
		if c.n++; c.n > maxReferences || depth > maxDepth {
			return nil, &sink.HaltError{Err: errors.New("it refers to too many schemas, or in a circle")}
		}
		where := fmt.Sprintf("/subjects/%s/versions/%d", url.PathEscape(r.Subject), r.Version)
		of, ok := c.had[where]
		if !ok {
			got, err := c.one(ctx, where)
			if errors.Is(err, errUnknown) {
				return nil, &sink.HaltError{Err: fmt.Errorf("it refers to %s, version %d of subject %s, which the registry does not have any more: restore it", r.Name, r.Version, r.Subject)}
			}
			if err != nil {
				return nil, err
			}
			of = event.Schema{Type: got.Type.String(), Text: got.Schema.Schema}
			if of.References, err = c.references(ctx, &got.Schema, depth+1); err != nil {
				return nil, err
			}
			c.had[where] = of
		}
		refs = append(refs, event.Reference{Name: r.Name, Schema: of})
	}
	return refs, nil
}

func (s *servers) check(ctx context.Context) error {
	var types []string
	err := s.get(ctx, "/schemas/types", &types)
	if err != nil && (strings.Contains(err.Error(), "(401)") || strings.Contains(err.Error(), "(403)")) {
		return &sink.ConfigError{Problem: err.Error(), Fix: "see registry.username, registry.token or registry.oauth"}
	}
	return err
}

func (s *servers) subjects(ctx context.Context, ref event.SchemaRef) string {
	path, err := s.path(ref)
	if err != nil || !strings.HasPrefix(path, "/schemas/ids/") {
		return ""
	}
	var versions []sr.SubjectVersion
	if s.get(ctx, path+"/versions", &versions) != nil {
		return ""
	}
	names := map[string]bool{}
	for _, v := range versions {
		names[fmt.Sprintf("%s, version %d", v.Subject, v.Version)] = true
	}
	return strings.Join(sorted(names), "; ")
}
