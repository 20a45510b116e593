package auth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/secret"
)

// What a broker refuses, in whatever way, is had anew and told once, with the way in again; what has nothing to do with it is neither.
func TestKafkaRefuses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	for _, c := range []struct {
		mechanism string
		fixed     bool
	}{{"PLAIN", false}, {"OAUTHBEARER", false}, {"PLAIN", true}} {
		if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
			t.Fatal(err)
		}
		source := secret.Run("kafka.sasl.command", secret.Command{Args: []string{"cat", path}})
		if c.fixed {
			source = secret.Static("kafka.sasl.password", "one")
		}
		var log strings.Builder
		k := Kafka{Mechanism: c.mechanism, Username: "sink", Secret: source}
		h := &hook{pending: map[string]string{}, source: source, gate: &gate{server: "Kafka", source: source.Key(), fixed: c.fixed, log: slog.New(slog.NewTextHandler(&log, nil))}}
		m := k.mechanism(h)
		connect := func(want string, answer []byte, failed error) error {
			t.Helper()
			session, first, err := m.Authenticate(context.Background(), "broker:9092")
			if err != nil || !strings.Contains(string(first), want) {
				t.Fatalf("%q is sent, %v, want %s", first, err, want)
			}
			if failed == nil {
				_, _, failed = session.Challenge(answer)
			}
			h.OnBrokerConnect(kgo.BrokerMetadata{Host: "broker", Port: 9092}, 0, nil, failed)
			return failed
		}
		refuses, back := "Kafka refuses the credentials", "Kafka lets the program in again"
		told := func(refused, again int) {
			t.Helper()
			if strings.Count(log.String(), refuses) != refused || strings.Count(log.String(), back) != again {
				t.Errorf("%s: want %d and %d of\n%s", c.mechanism, refused, again, log.String())
			}
			if strings.Count(log.String(), "/docs/runbook.md#a-credential-is-refused") != refused {
				t.Errorf("%s: a refusal does not lead to the runbook:\n%s", c.mechanism, log.String())
			}
		}
		if c.fixed { // at the start, which the command tells; a source that changes would pause after it
			_ = connect("one", nil, fmt.Errorf("%w: no", kerr.SaslAuthenticationFailed))
		}
		told(0, 0)
		_ = connect("one", nil, nil)
		_ = connect("one", nil, fmt.Errorf("dial: %w", os.ErrDeadlineExceeded))
		h.OnBrokerConnect(kgo.BrokerMetadata{Host: "broker", Port: 9092}, 0, nil, io.EOF) // before anything was sent
		told(0, 0)
		if err := os.WriteFile(path, []byte("two"), 0o600); err != nil {
			t.Fatal(err)
		}
		if c.mechanism == "OAUTHBEARER" {
			if err := connect("one", []byte(`{"status":"invalid_token"}`), nil); err == nil || !strings.Contains(err.Error(), "invalid_token") {
				t.Errorf("got %v", err)
			}
		} else {
			_ = connect("one", nil, io.EOF)
		}
		told(1, 0)
		if c.fixed {
			if !strings.Contains(log.String(), "if they have changed, correct them and start anew") {
				t.Error(log.String())
			}
			_ = connect("one", nil, nil)
		} else {
			_ = connect("two", nil, nil)
		}
		told(1, 1)
	}
}
