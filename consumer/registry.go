package consumer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/event"
	schemaregistry "github.com/oncesink/oncesink/internal/registry"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/sink"
)

// Registry says where a schema registry is that speaks Confluent's protocol, and how to be let in. Schemas that records were read with
// are kept in the database, in oncesink.schemas, and found there first: a registry that is away holds up only what has a new one.
type Registry struct {
	// URLs of the registry's servers. They are asked in turn if one does not answer.
	URLs []string
	// Username and Password of basic authentication. Or Token, or OAuth.
	Username, Password string
	Token              string
	OAuth              *OAuth
	// Secret, if not nil, is called for each request, by several goroutines: it returns the password of Username, or, where there is none, the
	// token, for one that changes while the program runs. Instead of Password and Token.
	Secret func(ctx context.Context) (string, error)
	// DialTLS, if not nil, makes the connections to https URLs, for certificates that change while the program runs. Instead of TLS.
	DialTLS func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS of https URLs: authorities, certificates of a client. Nil: the system's authorities.
	TLS *tls.Config
	// Context in which ids count, such as ".prod". Empty: the default one.
	Context string
	// UnknownSchemaWait is how long a schema is waited for that the registry does not know. Then the record becomes a dead letter, or
	// the partition halts, if the registry has never known one of the topic. Defaults to 30 s.
	UnknownSchemaWait time.Duration
}

// OAuth says where a token comes from, by client credentials of OAuth 2.0.
type OAuth struct {
	TokenURL, ClientID, ClientSecret, Scope string
	// Secret, if not nil, is called for each token: it returns the secret, for one that changes while the program runs. Instead of
	// ClientSecret. Refused, if not nil, is told of one that the server did not take.
	Secret  func(ctx context.Context) (string, error)
	Refused func(secret string)
}

// NewRegistry is for oncesink's own commands: [New] makes its own from Config.Registry. Without a pool nothing is kept.
func (c *Config) NewRegistry(pool *pgxpool.Pool) (*schemaregistry.Registry, error) {
	r := c.Registry
	cfg := schemaregistry.Config{
		URLs: r.URLs, Username: r.Username, Password: r.Password, Token: r.Token, TLS: r.TLS, Context: r.Context, UnknownSchemaWait: r.UnknownSchemaWait,
		Secret: r.Secret, DialTLS: r.DialTLS,
	}
	if r.OAuth != nil {
		o := schemaregistry.OAuth(*r.OAuth)
		cfg.OAuth = &o
	}
	var store schemaregistry.Store
	if pool != nil {
		store = schemaregistry.InPostgres(pool)
	}
	return schemaregistry.New(cfg, store, c.Logger)
}

// unknownSchema is the code of records that refer to a schema that nobody has.
const unknownSchema = "ONS20"

// blame decides about a schema that the registry does not have: if it has others of the topic, the records that refer to this
// one are to blame, and err is nil. Otherwise it is the wrong registry, most likely, and err is a *[sink.HaltError], or one that
// passes.
func (m *member) blame(ctx context.Context, of decode.SchemaOf, no *event.NoSchema) error {
	known := m.sink.LearntAny(of.Topic, of.Key)
	if keeper, ok := m.schemas.(wiring.Keeper); ok && !known {
		var err error
		if known, err = keeper.Ever(ctx, of.Topic, of.Key); err != nil {
			return fmt.Errorf("the schema registry does not know it; look whether it knew others: %w", err)
		}
	}
	if !known {
		return &sink.HaltError{Err: fmt.Errorf("%w, nor has it ever had one of this topic: see that registry.urls leads to the registry of the topic's producers", no)}
	}
	m.sink.RefuseSchema(of, &event.Refusal{Code: unknownSchema, Message: no.Error(), Plain: true})
	return nil
}

// keep has a schema kept that was learnt.
func (m *member) keep(ctx context.Context, of decode.SchemaOf) {
	keeper, ok := m.schemas.(wiring.Keeper)
	if !ok {
		return
	}
	if err := keeper.Learnt(ctx, of.Topic, of.Key, of.Ref); err != nil && ctx.Err() == nil {
		m.log.Warn("keep a schema in the database, to read its records when the registry is away", "topic", of.Topic, "schema", of.Ref.String(), "error", err)
	}
}

// named adds the subjects of a schema to an error that says that it can't be used.
func (m *member) named(ctx context.Context, of decode.SchemaOf, err error) error {
	keeper, ok := m.schemas.(wiring.Keeper)
	if !ok {
		return err
	}
	subjects := keeper.Subjects(ctx, of.Ref)
	if subjects == "" {
		return err
	}
	var unusable *decode.SchemaError
	if errors.As(err, &unusable) {
		return fmt.Errorf("use %v (subject %s): %w", of, subjects, unusable.Err)
	}
	return fmt.Errorf("%w (subject %s)", err, subjects)
}
