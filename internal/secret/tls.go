package secret

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Files are the files that a connection is encrypted with. They are read again when they have changed, at each connection: what can't
// be read then, or is no pair, as in the moment in which the second one of two is replaced, leaves those that were read before.
// Methods may be called by several goroutines; the fields are not changed any more then.
type Files struct {
	// Section is their place in the configuration.
	Section string
	// CA, Cert and Key are names of files in PEM. Empty: the system's authorities; no certificate of a client.
	CA, Cert, Key string
	// ServerName and Insecure are those of tls.Config.
	ServerName string
	Insecure   bool

	mu    sync.Mutex
	seen  [3]stamp
	conf  *tls.Config
	stale bool // the last attempt to read them failed
	tell  func(error)
}

// stamp tells one content of a file from another.
type stamp struct {
	size    int64
	changed time.Time
	ok      bool
}

func stampOf(path string) stamp {
	if path == "" {
		return stamp{}
	}
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime(), true}
}

// Tell has fn called when files that have changed can't be used: once, until they can.
func (f *Files) Tell(fn func(error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tell = fn
}

// Config returns the configuration by the files as they are now. It is the caller's not to change it. Its error is an *[Error]: there is
// none only if they could never be read.
func (f *Files) Config() (*tls.Config, error) {
	f.mu.Lock()
	seen := [3]stamp{stampOf(f.CA), stampOf(f.Cert), stampOf(f.Key)}
	if f.conf != nil && seen == f.seen && !f.stale {
		defer f.mu.Unlock()
		return f.conf, nil
	}
	conf, err := f.read()
	var tell func(error)
	switch {
	case err == nil:
		f.conf, f.seen, f.stale = conf, seen, false
	case f.conf != nil:
		if !f.stale {
			tell = f.tell
		}
		f.stale = true
	}
	conf = f.conf
	f.mu.Unlock()
	if conf == nil {
		return nil, err
	}
	if tell != nil {
		tell(err)
	}
	return conf, nil
}

func (f *Files) read() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName, InsecureSkipVerify: f.Insecure} //nolint:gosec // asked for by name
	pem := func(key, path string) ([]byte, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, &Error{f.Section + "." + key, reason(err), "name a readable PEM file"}
		}
		return data, nil
	}
	if f.CA != "" {
		data, err := pem("ca_file", f.CA)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(data) {
			return nil, &Error{f.Section + ".ca_file", "it holds no certificate", "name a PEM file with the authority's certificate"}
		}
	}
	if f.Cert != "" {
		certificate, err := pem("cert_file", f.Cert)
		if err != nil {
			return nil, err
		}
		key, err := pem("key_file", f.Key)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, &Error{f.Section + ".cert_file", err.Error(), "name a PEM certificate and, in key_file, its key"}
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// Any reports whether there are files that can change.
func (f *Files) Any() bool { return f.CA != "" || f.Cert != "" }

// dialTimeout bounds a connection with its handshake.
const dialTimeout = 10 * time.Second

// Dial connects, with the files as they are now.
func (f *Files) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conf, err := f.Config()
	if err != nil {
		return nil, err
	}
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("find the host in an address: %w", err)
		}
		conf = conf.Clone()
		conf.ServerName = host
	}
	return (&tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: conf}).DialContext(ctx, network, address)
}
