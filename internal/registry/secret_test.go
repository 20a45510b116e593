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

// A client's secret that changes is the one of each request for a token, and one that the server does not take is told of.
func TestClientSecretOfEachToken(t *testing.T) {
	t.Parallel()
	wanted, refusal := "one", http.StatusUnauthorized
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != wanted {
			w.WriteHeader(refusal)
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"for ` + wanted + `","expires_in":3600}`))
	}))
	defer tokens.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer for "+wanted {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`["AVRO"]`))
	}))
	defer server.Close()
	secret, refused := "one", []string{}
	s, err := newServers(&Config{URLs: []string{server.URL}, OAuth: &OAuth{
		TokenURL: tokens.URL, ClientID: "client", ClientSecret: "not this one", Secret: func(context.Context) (string, error) { return secret, nil },
		Refused: func(secret string) { refused = append(refused, secret) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(t.Context()); err != nil || len(refused) > 0 {
		t.Fatalf("got %v, refused %q", err, refused)
	}
	for _, refusal = range []int{http.StatusUnauthorized, http.StatusBadRequest} {
		wanted, refused = wanted+"-more", nil
		for len(refused) == 0 { // the registry refuses the token, then the server the secret
			if err := s.check(t.Context()); err == nil {
				t.Fatal("let in with what is of no use any more")
			}
		}
		if refused[0] != secret {
			t.Errorf("%d: refused %q", refusal, refused)
		}
		secret = wanted
		if err := s.check(t.Context()); err != nil {
			t.Errorf("%d: not let in with the new secret: %v", refusal, err)
		}
	}
}
