package auth

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/oncesink/oncesink/internal/secret"
)

// Kafka is how a client's connections are encrypted and let in.
type Kafka struct {
	// TLS, if not nil, encrypts them.
	TLS *secret.Files
	// Mechanism of SASL. Empty: none.
	Mechanism string
	// Username of PLAIN and SCRAM.
	Username string
	// Secret is their password, or the token of OAUTHBEARER.
	Secret *secret.Source
	// Extensions that are sent with a token.
	Extensions map[string]string
	// Log takes what a person should know.
	Log *slog.Logger
}

// Options are a client's. Each client has its own. The error is a *[secret.Error].
func (k *Kafka) Options() ([]kgo.Opt, error) {
	var opts []kgo.Opt
	if k.TLS != nil {
		conf, err := k.TLS.Config()
		if err != nil {
			return nil, err
		}
		if k.TLS.Any() {
			opts = append(opts, kgo.Dialer(k.TLS.Dial))
		} else {
			opts = append(opts, kgo.DialTLSConfig(conf))
		}
	}
	if k.Mechanism == "" {
		return opts, nil
	}
	h := &hook{gate: &gate{server: "Kafka", source: "kafka.sasl", log: k.Log}}
	if k.Secret != nil {
		h.source, h.gate.source, h.fixed = k.Secret, k.Secret.Key(), !k.Secret.Changes()
	}
	return append(opts, kgo.SASL(k.mechanism(h)), kgo.WithHooks(h)), nil
}

func (k *Kafka) mechanism(h *hook) sasl.Mechanism {
	switch k.Mechanism {
	case "PLAIN":
		return plain.Plain(func(ctx context.Context) (plain.Auth, error) {
			password, err := h.value(ctx)
			return plain.Auth{User: k.Username, Pass: password}, err
		})
	case "SCRAM-SHA-256":
		return scram.Sha256(func(ctx context.Context) (scram.Auth, error) { return k.scram(ctx, h) })
	case "SCRAM-SHA-512":
		return scram.Sha512(func(ctx context.Context) (scram.Auth, error) { return k.scram(ctx, h) })
	case "OAUTHBEARER":
		return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			token, err := h.value(ctx)
			return oauth.Auth{Token: token, Extensions: k.Extensions}, err
		})
	default:
		return mskIAM()
	}
}

func (k *Kafka) scram(ctx context.Context, h *hook) (scram.Auth, error) {
	password, err := h.value(ctx)
	return scram.Auth{User: k.Username, Pass: password}, err
}

// hook sees which connections of a client are let in.
type hook struct {
	*gate
	source *secret.Source
	given  atomic.Pointer[string] // last
}

// value is the secret for one connection.
func (h *hook) value(ctx context.Context) (string, error) {
	value, err := h.source.Value(ctx)
	if err == nil {
		h.given.Store(&value)
	}
	return value, err
}

// OnBrokerConnect implements [kgo.HookBrokerConnect].
func (h *hook) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	switch {
	case err == nil:
		h.letIn()
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		if given := h.given.Load(); given != nil {
			h.source.Refused(*given)
		}
		h.refused(err)
	}
}
