package config

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/auth"
	"github.com/oncesink/oncesink/internal/secret"
	"github.com/oncesink/oncesink/sink"
)

// access is how the program is let in on both sides: one for a configuration and its copies, so that a command is run once
// for all of them.
type access struct {
	postgres *auth.Postgres
	kafka    *auth.Kafka
	registry *registryAccess
	sources  []*secret.Source
	log      atomic.Pointer[slog.Logger]
}

// letIn returns it, and makes it the first time.
func (c *Config) letIn() *access {
	if c.access != nil {
		return c.access
	}
	a := &access{}
	c.access = a
	a.log.Store(slog.New(slog.DiscardHandler))
	p := &c.Postgres
	a.postgres = &auth.Postgres{URL: p.URL.Reveal()}
	switch {
	case p.PasswordFile != "":
		a.postgres.Password = a.add(secret.File("postgres.password_file", p.PasswordFile))
	case p.PasswordCommand != nil:
		a.postgres.Password = a.add(p.PasswordCommand.source("postgres.password_command", nil))
	}
	a.kafka = &auth.Kafka{TLS: a.files("kafka.tls", c.Kafka.TLS)}
	if s := c.Kafka.SASL; s != nil {
		a.kafka.Mechanism, a.kafka.Username, a.kafka.Extensions = s.Mechanism, s.Username, s.Extensions
		a.kafka.Secret = a.sasl(s)
	}
	if c.Registry != nil {
		a.registry = a.ofRegistry(c.Registry)
	}
	return a
}

func (a *access) add(s *secret.Source) *secret.Source {
	s.Tell(func(err error) {
		a.log.Load().Warn("a secret can't be had anew: the last one is used, for as long as it is not refused", "error", err)
	})
	a.sources = append(a.sources, s)
	return s
}

// files are those of a section, nil without one.
func (a *access) files(section string, t *TLS) *secret.Files {
	if t == nil {
		return nil
	}
	f := &secret.Files{Section: section, CA: t.CAFile, Cert: t.CertFile, Key: t.KeyFile, ServerName: t.ServerName, Insecure: t.InsecureSkipVerify}
	f.Tell(func(err error) {
		a.log.Load().Warn("certificates have changed and can't be read: those that were read before are used", "error", err)
	})
	return f
}

// sasl is the source of a mechanism's secret, nil if it has none.
func (a *access) sasl(s *SASL) *secret.Source {
	const at = "kafka.sasl."
	switch {
	case s.PasswordFile != "":
		return a.add(secret.File(at+"password_file", s.PasswordFile))
	case s.PasswordCommand != nil:
		return a.add(s.PasswordCommand.source(at+"password_command", nil))
	case s.TokenFile != "":
		return a.add(secret.File(at+"token_file", s.TokenFile))
	case s.TokenCommand != nil:
		return a.add(s.TokenCommand.source(at+"token_command", auth.JWTEnds))
	case s.ClientCredentials != nil:
		c := s.ClientCredentials
		key := at + "client_credentials"
		out := &auth.ClientCredentials{Key: key, TokenURL: c.TokenURL, ClientID: c.ClientID, Scopes: c.Scopes, Params: c.Params, TLS: a.files(key+".tls", c.TLS)}
		switch {
		case c.ClientSecretFile != "":
			out.Secret = a.add(secret.File(key+".client_secret_file", c.ClientSecretFile))
		case c.ClientAssertionFile != "":
			out.Assertion = a.add(secret.File(key+".client_assertion_file", c.ClientAssertionFile))
		default:
			out.Secret = secret.Static(key+".client_secret", c.ClientSecret.Reveal())
		}
		return a.add(out.Source())
	case s.Mechanism == "AWS_MSK_IAM":
		return nil
	}
	return secret.Static(at+"password", s.Password.Reveal())
}

// source is a command's.
func (c *Command) source(key string, ends func(string) time.Time) *secret.Source {
	return secret.Run(key, secret.Command{Args: c.Command, TTL: time.Duration(c.TTL), Timeout: time.Duration(c.Timeout), Ends: ends})
}

// LogTo has what the sources of secrets tell while the program runs go to log. It is called before anything is connected.
func (c *Config) LogTo(log *slog.Logger) { c.letIn().log.Store(log) }

// KafkaOptions are the options by which any client of these brokers connects: its name, encryption and authentication, not the
// addresses. Each client has its own. The error is of a certificate file.
func (c *Config) KafkaOptions() ([]kgo.Opt, error) {
	a := c.letIn()
	k := *a.kafka
	k.Log = a.log.Load()
	opts, err := k.Options()
	if err != nil {
		return nil, configError(err)
	}
	if c.Kafka.Rack != "" {
		opts = append(opts, kgo.Rack(c.Kafka.Rack))
	}
	if c.Kafka.ClientID != "" {
		opts = append(opts, kgo.ClientID(c.Kafka.ClientID))
	}
	return opts, nil
}

// PoolOptions make a pool's connections take their credentials from where they are kept.
func (c *Config) PoolOptions() func(*pgxpool.Config) {
	a := c.letIn()
	p := &auth.Postgres{URL: a.postgres.URL, Password: a.postgres.Password, Log: a.log.Load()}
	return p.Change
}

// PasswordChanges reports whether what PostgreSQL lets the program in by can change while it runs.
func (c *Config) PasswordChanges() bool { return c.letIn().postgres.Changes() }

// configError is the error of a file as one of the configuration.
func configError(err error) error {
	var e *secret.Error
	if errors.As(err, &e) {
		return &sink.ConfigError{Problem: e.Key + ": " + e.Problem, Fix: e.Fix}
	}
	return err
}

// PasswordFix says what to correct where PostgreSQL refuses the credentials at the start.
func (c *Config) PasswordFix() string {
	if p := c.letIn().postgres.Password; p != nil {
		return "correct the user in postgres.url, what " + p.Key() + " gives, or the server's pg_hba.conf"
	}
	return "correct user and password in postgres.url, or the server's pg_hba.conf"
}

// SASLFix says what to correct where Kafka refuses the credentials at the start.
func (c *Config) SASLFix() string {
	k := c.letIn().kafka
	switch {
	case k.Secret != nil && k.Secret.Changes() && k.Username != "":
		return "correct mechanism and username under kafka.sasl, or what " + k.Secret.Key() + " gives"
	case k.Secret != nil && k.Secret.Changes():
		return "correct the mechanism under kafka.sasl, or the token that " + k.Secret.Key() + " gives"
	case k.Mechanism == "AWS_MSK_IAM":
		return "see that AWS' credentials are those of a role that may connect to the cluster (kafka-cluster:Connect), and that AWS_REGION is right"
	}
	return "correct mechanism, username and password under kafka.sasl"
}
