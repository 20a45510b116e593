package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/testkafka"
)

// A broker behind TLS and SASL lets in who has the authority's certificate and the
// password, and nobody else.
func TestTLSAndSASL(t *testing.T) {
	caFile, serverTLS := certificate(t)
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(t.TempDir()), kfake.TLS(serverTLS),
				kfake.EnableSASL(), kfake.Superuser(mechanism, "sink", "s3cret"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			for _, c := range []struct {
				name     string
				password Secret
				tls      *TLS
				ok       bool
			}{
				{"right", "s3cret", &TLS{CAFile: caFile}, true},
				{"wrong password", "wrong", &TLS{CAFile: caFile}, false},
				{"unknown authority", "s3cret", &TLS{}, false},
				{"no TLS", "s3cret", nil, false},
			} {
				t.Run(c.name, func(t *testing.T) {
					cfg := Config{Kafka: Kafka{TLS: c.tls, SASL: &SASL{Mechanism: mechanism, Username: "sink", Password: c.password}}}
					opts, err := cfg.KafkaOptions()
					if err != nil {
						t.Fatal(err)
					}
					client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RetryTimeout(2*time.Second), kgo.RequestRetries(1))...)
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					if err := client.Ping(ctx); (err == nil) != c.ok {
						t.Errorf("ping: %v", err)
					}
				})
			}
		})
	}
}

// certificate makes an authority that signs itself for 127.0.0.1.
func certificate(t *testing.T) (caFile string, server *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return caFile, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// Where a process runs is what brokers hear, who may have a replica there.
func TestRack(t *testing.T) {
	t.Parallel()
	cluster := testkafka.Fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	heard := make(chan string, 1)
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		select {
		case heard <- req.(*kmsg.FetchRequest).Rack:
		default:
		}
		return nil, nil, false
	})
	c := client(t, cluster.ListenAddrs()[0], "  rack: eu-central-1a", kgo.ConsumeTopics("t"))
	go c.PollFetches(t.Context())
	select {
	case got := <-heard:
		if got != "eu-central-1a" {
			t.Errorf("fetches are of rack %q", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is fetched")
	}
}
