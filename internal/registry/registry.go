// Package registry gets schemas from a registry that speaks Confluent's protocol, and keeps those that were of use in
// PostgreSQL. It says of each failure whether it passes, and never a secret.
package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/schemaid"
	"github.com/oncesink/oncesink/sink"
)

// Config says where a registry is, and how to be let in.
type Config struct {
	// URLs of the registry's servers. They are asked in turn if one does not answer.
	URLs []string
	// Username and Password of basic authentication.
	Username, Password string
	// Token of a bearer.
	Token string
	// OAuth gets a token by client credentials.
	OAuth *OAuth
	// Secret, if not nil, gives the password of Username, or without one the token, for each request. Instead of Password and Token.
	Secret func(ctx context.Context) (string, error)
	// DialTLS, if not nil, connects to https URLs. Instead of TLS.
	DialTLS func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS of https URLs. Nil: the system's certificates.
	TLS *tls.Config
	// Context in which ids count, such as .prod. Empty: the default one.
	Context string
	// UnknownSchemaWait is how long a schema is waited for that the registry says it does not know: its followers lag. Defaults to 30 s.
	UnknownSchemaWait time.Duration
}

// OAuth says where a token comes from: client credentials of OAuth 2.0.
type OAuth struct {
	TokenURL, ClientID, ClientSecret, Scope string
	// Secret, if not nil, is called for each token: it returns the secret, for one that changes while the program runs. Instead of
	// ClientSecret. Refused, if not nil, is told of one that the server did not take.
	Secret  func(ctx context.Context) (string, error)
	Refused func(secret string)
}

// maxCached is how many schemas are held in memory, and how many unknown ids.
const maxCached = 1_000

// Registry is a source of schemas. It is safe for concurrent use.
type Registry struct {
	cfg     Config
	servers *servers
	store   Store
	beside  event.SchemaSource // nil: there is none
	log     *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	known   map[event.SchemaRef]event.Schema
	unknown map[event.SchemaRef]time.Time // since when the registry says so
	flights map[event.SchemaRef]*flight
}

// flight is a question that is on its way, for all who ask it.
type flight struct {
	done   chan struct{}
	schema event.Schema
	err    error
	// waiting is how many; without any it is given up.
	waiting int
	cancel  context.CancelFunc
}

// New returns a registry. It asks nothing yet. The store may be nil: nothing is kept then. An error is a *[sink.ConfigError].
func New(cfg Config, store Store, log *slog.Logger) (*Registry, error) {
	if cfg.UnknownSchemaWait == 0 {
		cfg.UnknownSchemaWait = 30 * time.Second
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := newServers(&cfg)
	if err != nil {
		return nil, err
	}
	return &Registry{
		cfg: cfg, servers: s, store: store, log: log, now: time.Now,
		known: map[event.SchemaRef]event.Schema{}, unknown: map[event.SchemaRef]time.Time{}, flights: map[event.SchemaRef]*flight{},
	}, nil
}

// Beside has another source, such as an archive, asked for what the registry does not give. It is called before anything is asked.
func (r *Registry) Beside(source event.SchemaSource) { r.beside = source }

// elsewhere asks the other source for what the registry did not give.
func (r *Registry) elsewhere(ctx context.Context, ref event.SchemaRef, why error) (event.Schema, error) {
	if r.beside == nil || ctx.Err() != nil {
		return event.Schema{}, why
	}
	s, err := r.beside.Schema(ctx, ref)
	var none *event.NoSchema
	switch {
	case err == nil:
		r.log.Info("a schema is the archive's: the registry does not give it", "schema", ref.String(), "because", why)
		return s, nil
	case errors.As(err, &none):
		return s, why
	case errors.Is(why, errUnknown):
		return s, err
	}
	return s, fmt.Errorf("%w; nor does the archive: %v", why, err)
}

// Schema returns a schema: from memory, from what is kept, or from the registry.
func (r *Registry) Schema(ctx context.Context, ref event.SchemaRef) (event.Schema, error) {
	r.mu.Lock()
	if s, ok := r.known[ref]; ok {
		r.mu.Unlock()
		return s, nil
	}
	f := r.flights[ref]
	if f == nil {
		f = &flight{done: make(chan struct{})}
		var fctx context.Context
		fctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		r.flights[ref] = f
		go r.fly(fctx, ref, f)
	}
	f.waiting++
	r.mu.Unlock()
	select {
	case <-f.done:
		return f.schema, f.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if r.flights[ref] == f {
			delete(r.flights, ref) // who asks now asks anew
		}
	}
	return event.Schema{}, fmt.Errorf("ask the schema registry: %w", context.Cause(ctx))
}

func (r *Registry) fly(ctx context.Context, ref event.SchemaRef, f *flight) {
	defer f.cancel()
	f.schema, f.err = r.get(ctx, ref)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.err == nil {
		bound(r.known)
		r.known[ref] = f.schema
	}
	if r.flights[ref] == f {
		delete(r.flights, ref)
	}
	close(f.done)
}

// bound makes room for one more.
func bound[V any](m map[event.SchemaRef]V) {
	if len(m) < maxCached {
		return
	}
	for ref := range m { // any: what is needed again is asked for again
		delete(m, ref)
		return
	}
}

func (r *Registry) get(ctx context.Context, ref event.SchemaRef) (event.Schema, error) {
	if r.store != nil {
		s, ok, err := r.store.Get(ctx, r.servers.names, ref)
		switch {
		case ok:
			return s, nil
		case err != nil && ctx.Err() == nil:
			r.log.Warn("look for a schema that is kept", "schema", ref.String(), "error", err)
		}
	}
	s, err := r.servers.schema(ctx, ref)
	if err != nil {
		s, err = r.elsewhere(ctx, ref, err)
	}
	if !errors.Is(err, errUnknown) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil {
			delete(r.unknown, ref)
		}
		return s, err
	}
	// The registry is there, and says no. It may be a follower that lags, or a producer that is quicker than its registry.
	r.mu.Lock()
	defer r.mu.Unlock()
	since, ok := r.unknown[ref]
	if !ok {
		bound(r.unknown)
		since = r.now()
		r.unknown[ref] = since
	}
	if waited := r.now().Sub(since); waited < r.cfg.UnknownSchemaWait {
		return event.Schema{}, fmt.Errorf("the schema registry does not know it (404): it is asked for %v whether it does by then", r.cfg.UnknownSchemaWait)
	}
	return event.Schema{}, &event.NoSchema{Ref: ref, Asked: r.cfg.UnknownSchemaWait.String()}
}

// ErrNoSubject says that a registry does not have a subject.
var ErrNoSubject = errors.New("the schema registry does not have the subject")

// Newest asks the registry for the last version of a subject.
func (r *Registry) Newest(ctx context.Context, subject string) (s event.Schema, version int, err error) {
	s, version, err = r.servers.newest(ctx, subject)
	if errors.Is(err, errUnknown) {
		err = ErrNoSubject
	}
	return s, version, err
}

// Kept returns the schema that is kept which records of a topic, their values or keys, were read with last. It is not ok if there is none.
func (r *Registry) Kept(ctx context.Context, topic string, key bool) (s event.Schema, ref event.SchemaRef, ok bool, err error) {
	if r.store == nil {
		return s, ref, false, nil
	}
	return r.store.Newest(ctx, r.servers.names, topic, key)
}

// Check asks the registry whether it is one and lets the program in. An error is a *[sink.ConfigError] if it says no; any other one may
// pass.
func (r *Registry) Check(ctx context.Context) error { return r.servers.check(ctx) }

// Learnt keeps a schema that records of a topic could be read with, and that they were. It is in memory then, or kept already.
func (r *Registry) Learnt(ctx context.Context, topic string, key bool, ref event.SchemaRef) error {
	if r.store == nil {
		return nil
	}
	r.mu.Lock()
	s, ok := r.known[ref]
	r.mu.Unlock()
	if !ok {
		return nil
	}
	return r.store.Put(ctx, r.servers.names[0], Use{Topic: topic, Key: key, Ref: ref}, s)
}

// Ever reports whether records of a topic were ever read with a schema of this registry.
func (r *Registry) Ever(ctx context.Context, topic string, key bool) (bool, error) {
	if r.store == nil {
		return false, nil
	}
	return r.store.Ever(ctx, r.servers.names, topic, key)
}

// Subjects says which subjects have a schema, for people: "" if nobody knows.
func (r *Registry) Subjects(ctx context.Context, ref event.SchemaRef) string {
	return r.servers.subjects(ctx, ref)
}

// ids are those of spaces that Confluent's protocol knows; others are a person's to mend.
func (s *servers) path(ref event.SchemaRef) (string, error) {
	switch {
	case ref.Space == schemaid.Confluent, ref.Space == schemaid.Content && s.apicurio:
		return "/schemas/ids/" + ref.ID, nil
	case ref.Space == schemaid.GUID:
		return "/schemas/guids/" + ref.ID, nil
	case ref.Space == schemaid.Content:
		return "", &sink.HaltError{Err: errors.New("the records name it by a contentId of Apicurio's registry: name that one in registry.urls, as https://HOST/apis/ccompat/v7")}
	}
	return "", &sink.HaltError{Err: fmt.Errorf("the records name it by Apicurio's %s, which its Confluent API does not know: set apicurio.registry.use-id=contentId in the producers", ref.Space)}
}

// sorted lists the names of a set.
func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
