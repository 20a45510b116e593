package registry

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A secret that changes is the one of each request, and connections are made as they are to be made now.
func TestSecretOfEachRequest(t *testing.T) {
	t.Parallel()
	for _, username := range []string{"", "sink"} {
		secret, dialed := "one", 0
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, basic := r.BasicAuth()
			if got := r.Header.Get("Authorization"); basic != (username != "") || basic && (user != username || password != secret) || !basic && got != "Bearer "+secret {
				t.Errorf("authorized by %q", got)
			}
			_, _ = w.Write([]byte(`["AVRO"]`))
		}))
		cfg := Config{
			URLs: []string{server.URL}, Username: username,
			Secret: func(context.Context) (string, error) { return secret, nil },
			DialTLS: func(ctx context.Context, network, address string) (net.Conn, error) {
				dialed++
				return (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, address)
			},
		}
		s, err := newServers(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.check(t.Context()); err != nil {
				t.Error(err)
			}
			secret = "two"
		}
		if dialed == 0 {
			t.Error("it is not dialed as asked for")
		}
		server.Close()
	}
}
