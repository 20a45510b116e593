package secret

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testcert"
)

// Certificates of both sides are those of their files at each connection; files that are no pair leave those before.
func TestFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, anew := testcert.New(t), testcert.New(t)
	ca := filepath.Join(dir, "ca.pem")
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	f := &Files{Section: "kafka.tls", CA: ca, Cert: cert, Key: key}
	told := 0
	f.Tell(func(error) { told++ })
	if _, err := f.Config(); err == nil || !strings.HasPrefix(err.Error(), "kafka.tls.ca_file: no such file") {
		t.Errorf("got %v", err)
	}
	dial := func(a *testcert.Authority) error {
		server := a.Server(t)
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, a.Pool()
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = c.Write([]byte("x")) // after the handshake, which tells whether the client's certificate is good
				_ = c.Close()
			}
		}()
		var c net.Conn
		if c, err = f.Dial(t.Context(), "tcp", l.Addr().String()); err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		return err
	}
	old.Write(t, ca)
	old.WriteClient(t, "app", cert, key)
	if err := dial(old); err != nil {
		t.Error(err)
	}
	if err := dial(anew); err == nil {
		t.Error("an authority is trusted that is not in the file")
	}
	anew.Write(t, ca)
	was, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	anew.WriteClient(t, "app", cert, key)
	is, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, string(was)) // in the middle of a change
	for range 2 {
		if err := dial(old); err != nil || told != 1 {
			t.Errorf("told %d times, %v", told, err)
		}
	}
	write(t, key, string(is))
	if err := dial(anew); err != nil {
		t.Error(err)
	}
}
