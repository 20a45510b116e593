package testkafka

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// Issuer hands out tokens that a broker can verify: a server of OAuth 2.0 on the loopback interface.
type Issuer struct {
	// URL of the server: /jwks has its key, /token hands out.
	URL string
	// Life of tokens that it hands out. Set it before the first one.
	Life time.Duration

	key  *rsa.PrivateKey
	mu   sync.Mutex
	seen []TokenRequest
}

// TokenRequest is what somebody asked for a token with.
type TokenRequest struct {
	Client, Secret string // of basic authentication
	Form           map[string][]string
}

// NewIssuer starts a server, until the test ends. It hands out tokens to whoever has the secret, or the assertion, "s3cret".
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{key: key, Life: time.Hour}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		e := big.NewInt(int64(key.E)).Bytes()
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "test", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(e),
		}}})
	})
	mux.HandleFunc("POST /token", i.handOut)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

func (i *Issuer) handOut(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	asked := TokenRequest{Form: r.Form}
	asked.Client, asked.Secret, _ = r.BasicAuth()
	i.mu.Lock()
	i.seen = append(i.seen, asked)
	i.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if asked.Secret != "s3cret" && r.Form.Get("client_assertion") != "s3cret" {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error": "invalid_client"}`))
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": i.Token("sink", r.Form.Get("audience"), time.Now().Add(i.Life)), "token_type": "Bearer", "expires_in": int(i.Life.Seconds())})
}

// Seen returns what it was asked with.
func (i *Issuer) Seen() []TokenRequest {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]TokenRequest{}, i.seen...)
}

// Token makes a token.
func (i *Issuer) Token(subject, audience string, ends time.Time) string {
	part := func(v any) string {
		text, _ := json.Marshal(v) // of strings and numbers
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(map[string]string{"alg": "RS256", "typ": "JWT", "kid": "test"}) + "." +
		part(map[string]any{"sub": subject, "aud": audience, "iss": i.URL, "scope": "kafka", "iat": time.Now().Unix() - 1, "exp": ends.Unix()})
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(fmt.Sprint("sign a token: ", err))
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// StartOAuth starts a broker of its own for a test whose listener SECURED lets in who has a token of the issuer for the audience kafka,
// and wants another one after maxReauth.
func StartOAuth(t testing.TB, i *Issuer, maxReauth time.Duration) *RealCluster {
	t.Helper()
	const at = "listener.name.secured."
	return StartSecured(t, []string{
		at + "sasl.enabled.mechanisms=OAUTHBEARER",
		at + "oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
		at + "oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
		at + fmt.Sprintf("oauthbearer.connections.max.reauth.ms=%d", maxReauth.Milliseconds()),
		"sasl.oauthbearer.jwks.endpoint.url=" + i.URL + "/jwks",
		"sasl.oauthbearer.expected.audience=kafka",
		"sasl.oauthbearer.expected.issuer=" + i.URL,
		"",
	}, []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + i.URL + "/jwks"})
}
