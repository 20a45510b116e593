package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
)

// What surrounds the program and can't be used: each one clear error that says what to do,
// exit code 2, and no secret in it.
func TestUnusableEnvironment(t *testing.T) {
	patience := connectTimeout
	connectTimeout = 3 * time.Second
	t.Cleanup(func() { connectTimeout = patience })

	good := testpg.URL(t)
	conn, err := pgx.Connect(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := offsets.Init(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	silent := silence(t)
	plain := testkafka.Fake(t).ListenAddrs()[0]
	sasl := testkafka.Fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "sink", "right")).ListenAddrs()[0]
	encrypted := testkafka.Fake(t, kfake.TLS(&tls.Config{GetCertificate: noCertificate})).ListenAddrs()[0]
	const password = "hunter2-is-secret"

	// The … stands for what the resolver says.
	for name, c := range map[string]struct{ kafka, postgres, want string }{
		"database: unknown host":    {"brokers: [b]", "postgres://app:" + password + "@db.invalid/shop", "PostgreSQL: look up db.invalid: … correct the host in postgres.url"},
		"database: silent":          {"brokers: [b]", "postgres://app:" + password + "@" + silent + "/shop?sslmode=disable", "no answer within 3s: see that PostgreSQL runs"},
		"broker: unknown host":      {"brokers: [kafka.invalid]", good, "Kafka: look up kafka.invalid: … correct the host in kafka.brokers"},
		"broker: silent":            {"brokers: [" + silent + "]", good, "Kafka: no answer within 3s: see that Kafka runs and that kafka.brokers names it"},
		"broker: wrong password":    {"brokers: [" + sasl + "], sasl: {mechanism: SCRAM-SHA-256, username: sink, password: " + password + "}", good, "Kafka: the server hangs up: correct mechanism, username and password under kafka.sasl"},
		"broker: wrong mechanism":   {"brokers: [" + sasl + "], sasl: {mechanism: PLAIN, username: sink, password: " + password + "}", good, "Kafka: the server hangs up: correct mechanism, username and password under kafka.sasl"},
		"broker: SASL is missing":   {"brokers: [" + sasl + "]", good, "is SASL missing?: configure kafka.tls or kafka.sasl"},
		"broker: TLS is not spoken": {"brokers: [" + plain + "], tls: {}", good, "leave it out for brokers without TLS"},
		"broker: TLS is missing":    {"brokers: [" + encrypted + "]", good, "is TLS missing?: configure kafka.tls or kafka.sasl"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "oncesink.yaml")
			text := fmt.Sprintf("kafka: {%s, group: g}\npostgres: {url: %q}\ntables: [{name: orders, topic: orders, key: [id]}]\n", c.kafka, c.postgres)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var stdout, stderr bytes.Buffer
			begun := time.Now()
			if code := run(ctx, []string{"run", "-c", file}, &stdout, &stderr); code != exitConfig {
				t.Errorf("exit code %d, want %d", code, exitConfig)
			}
			if took := time.Since(begun); took > 3*connectTimeout {
				t.Errorf("it took %v with a timeout of %v", took, connectTimeout)
			}
			got := stderr.String()
			start, end, _ := strings.Cut(c.want, "…")
			if !strings.Contains(got, start) || !strings.Contains(got, end) || strings.Count(got, "oncesink: ") != 1 || strings.Contains(got, password) || stdout.Len() > 0 {
				t.Errorf("want one error with %q and no secret, got\n%s%s", c.want, got, &stdout)
			}
		})
	}
}

// silence accepts connections and never answers.
func silence(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return l.Addr().String()
}

func noCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return nil, fmt.Errorf("this broker speaks TLS and has no certificate")
}
