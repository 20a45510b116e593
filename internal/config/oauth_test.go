package config

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
)

// client is one of a broker, by what a file says under kafka.
func client(t *testing.T, broker, section string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cfg, err := Parse("f.yaml", []byte("kafka:\n  brokers: ["+broker+"]\n  group: g\n"+section+"\npostgres: {url: postgres://h/d}\ntables: [{name: t, topic: t, key: [id]}]\n"), environment)
	if err != nil {
		t.Fatal(err)
	}
	own, err := cfg.KafkaOptions()
	if err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(append(append(own, kgo.SeedBrokers(broker), kgo.RetryTimeout(5*time.Second), kgo.RequestRetries(1), kgo.MetadataMinAge(50*time.Millisecond)), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func ping(t *testing.T, c *kgo.Client) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return c.Ping(ctx)
}

// Apache Kafka lets in who has a token of its issuer, from wherever that is had, and nobody else; it has others asked for while a
// connection lives.
func TestOAuthOnApacheKafka(t *testing.T) {
	t.Parallel()
	issuer := testkafka.NewIssuer(t)
	k := testkafka.StartOAuth(t, issuer, 3*time.Second)
	file := filepath.Join(t.TempDir(), "secret")
	put := func(t *testing.T, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(t, "s3cret")
	credentials := func(way string) string {
		return fmt.Sprintf("  sasl: {mechanism: OAUTHBEARER, client_credentials: {token_url: %s/token, client_id: sink, %s, scopes: [kafka, more], params: {audience: kafka}}, extensions: {logicalCluster: lkc-1}}", issuer.URL, way)
	}

	t.Run("client secret", func(t *testing.T) {
		c := client(t, k.Secured, credentials("client_secret_file: "+file))
		if err := ping(t, c); err != nil {
			t.Fatal(err)
		}
		got := issuer.Seen()[0]
		if got.Client != "sink" || got.Secret != "s3cret" || got.Form["scope"][0] != "kafka more" || got.Form["grant_type"][0] != "client_credentials" {
			t.Errorf("asked with %+v", got)
		}
	})
	t.Run("client assertion", func(t *testing.T) {
		if err := ping(t, client(t, k.Secured, credentials("client_assertion_file: "+file))); err != nil {
			t.Fatal(err)
		}
		all := issuer.Seen()
		got := all[len(all)-1]
		if got.Form["client_assertion_type"][0] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || got.Form["client_id"][0] != "sink" || got.Secret != "" {
			t.Errorf("asked with %+v", got)
		}
	})
	t.Run("wrong secret", func(t *testing.T) {
		err := ping(t, client(t, k.Secured, credentials("client_secret: hunter2")))
		if err == nil || !strings.Contains(err.Error(), "kafka.sasl.client_credentials: the server at token_url answers 401 (invalid_client)") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	})
	for _, way := range []string{"token_file: " + file, "token_command: {command: [cat, " + file + "]}"} {
		t.Run(way[:strings.Index(way, ":")], func(t *testing.T) {
			c := client(t, k.Secured, "  sasl: {mechanism: OAUTHBEARER, "+way+"}")
			token := issuer.Token("sink", "another", time.Now().Add(time.Hour))
			put(t, token)
			if err := ping(t, c); err == nil || !strings.Contains(err.Error(), "SASL_AUTHENTICATION_FAILED") || strings.Contains(err.Error(), token) {
				t.Errorf("a token for somebody else: %v", err)
			}
			put(t, issuer.Token("sink", "kafka", time.Now().Add(time.Hour)))
			eventually(t, "a token for it is taken", func() bool { return ping(t, c) == nil })
		})
	}
	t.Run("a connection that lives", func(t *testing.T) {
		put(t, issuer.Token("sink", "kafka", time.Now().Add(time.Hour)))
		c := client(t, k.Secured, "  sasl: {mechanism: OAUTHBEARER, token_file: "+file+"}")
		if err := ping(t, c); err != nil {
			t.Fatal(err)
		}
		put(t, issuer.Token("sink", "another", time.Now().Add(time.Hour)))
		eventually(t, "the broker wants a token again, and gets the one that is there now", func() bool { return ping(t, c) != nil })
		put(t, issuer.Token("sink", "kafka", time.Now().Add(time.Hour)))
		eventually(t, "a token for it is taken", func() bool { return ping(t, c) == nil })
	})
	// The same broker tells by which name it knows a client.
	t.Run("client id", func(t *testing.T) {
		put(t, issuer.Token("sink", "kafka", time.Now().Add(time.Hour)))
		topic := k.CreateTopic(t, "t", 1)
		c := client(t, k.Secured, "  client_id: sink-7\n  sasl: {mechanism: OAUTHBEARER, token_file: "+file+"}", kgo.ConsumerGroup("g"), kgo.ConsumeTopics(topic))
		got := ""
		eventually(t, "the group has a member", func() bool {
			groups, _ := kadm.NewClient(c).DescribeGroups(t.Context(), "g") // there is no coordinator at first
			for _, m := range groups["g"].Members {
				got = m.ClientID
			}
			return got != ""
		})
		if got != "sink-7" {
			t.Errorf("the broker knows it as %q", got)
		}
	})
}
