package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
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
	h := &hook{pending: map[string]string{}, gate: &gate{server: "Kafka", source: "kafka.sasl", log: k.Log}}
	if k.Secret != nil {
		h.source, h.gate.source, h.fixed = k.Secret, k.Secret.Key(), !k.Secret.Changes()
	}
	return append(opts, kgo.SASL(k.mechanism(h)), kgo.WithHooks(h)), nil
}

func (k *Kafka) mechanism(h *hook) sasl.Mechanism {
	switch k.Mechanism {
	case "PLAIN":
		return h.watched(func(password string) sasl.Mechanism {
			return plain.Auth{User: k.Username, Pass: password}.AsMechanism()
		})
	case "SCRAM-SHA-256":
		return h.watched(func(password string) sasl.Mechanism {
			return scram.Auth{User: k.Username, Pass: password}.AsSha256Mechanism()
		})
	case "SCRAM-SHA-512":
		return h.watched(func(password string) sasl.Mechanism {
			return scram.Auth{User: k.Username, Pass: password}.AsSha512Mechanism()
		})
	case "OAUTHBEARER":
		return h.watched(func(token string) sasl.Mechanism {
			return oauth.Auth{Token: token, Extensions: k.Extensions}.AsMechanism()
		})
	default:
		return mskIAM()
	}
}

// hook sees which connections of a client are let in.
type hook struct {
	*gate
	source *secret.Source

	mu      sync.Mutex
	pending map[string]string // what a broker, by its address, was given and has not taken yet
}

// OnBrokerConnect implements [kgo.HookBrokerConnect]. Brokers tell that they refuse, but for some, which hang up.
func (h *hook) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	address := net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port)))
	h.mu.Lock()
	given, pending := h.pending[address]
	delete(h.pending, address)
	h.mu.Unlock()
	switch {
	case err == nil:
		h.letIn()
	case errors.Is(err, kerr.SaslAuthenticationFailed), pending && errors.Is(err, io.EOF):
		if pending {
			h.source.Refused(given)
		}
		h.refused(err)
	}
}

// watched is a mechanism that has its secret from the hook's source, for each connection.
func (h *hook) watched(with func(value string) sasl.Mechanism) sasl.Mechanism {
	return &watched{hook: h, with: with, name: with("").Name()}
}

type watched struct {
	hook *hook
	with func(value string) sasl.Mechanism
	name string
}

// Name implements [sasl.Mechanism].
func (m *watched) Name() string { return m.name }

// Authenticate implements [sasl.Mechanism].
func (m *watched) Authenticate(ctx context.Context, address string) (sasl.Session, []byte, error) {
	value, err := m.hook.source.Value(ctx)
	if err != nil {
		return nil, nil, err
	}
	session, first, err := m.with(value).Authenticate(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	m.hook.mu.Lock()
	defer m.hook.mu.Unlock()
	m.hook.pending[address] = value
	return &watchedSession{session, m.hook, address, m.name == "OAUTHBEARER"}, first, nil
}

type watchedSession struct {
	sasl.Session
	hook    *hook
	address string
	bearer  bool
}

// Challenge implements [sasl.Session].
func (s *watchedSession) Challenge(answer []byte) (done bool, next []byte, err error) {
	done, next, err = s.Session.Challenge(answer)
	if err != nil && s.bearer && len(answer) > 0 {
		// A broker says why it refuses a token by a challenge (RFC 7628, 3.2.2), and what the client makes of it does not tell.
		return false, nil, fmt.Errorf("%w: the broker answers %.200q", kerr.SaslAuthenticationFailed, answer)
	}
	if done && err == nil {
		s.hook.mu.Lock()
		delete(s.hook.pending, s.address)
		s.hook.mu.Unlock()
	}
	return done, next, err
}
