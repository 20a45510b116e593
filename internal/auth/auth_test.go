package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/oncesink/oncesink/internal/secret"
)

// A token is used for four fifths of the life that its server gives it, or it says itself.
func TestTokenLife(t *testing.T) {
	t.Parallel()
	jwt := "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp": %d}`, time.Now().Add(1000*time.Second).Unix())) + ".c2ln"
	for _, c := range []struct {
		answer string
		want   time.Duration
	}{
		{`{"access_token": "opaque", "expires_in": 100}`, 80 * time.Second},
		{`{"access_token": "` + jwt + `"}`, 800 * time.Second},
		{`{"access_token": "opaque"}`, 4 * time.Minute},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(c.answer))
		}))
		credentials := ClientCredentials{Key: "k", TokenURL: server.URL, ClientID: "c", Secret: secret.Static("s", "s3cret")}
		_, until, err := credentials.token(t.Context())
		server.Close()
		if d := time.Until(until); err != nil || d > c.want || d < c.want-5*time.Second {
			t.Errorf("%s: used for %v (%v), want %v", c.answer, d, err, c.want)
		}
	}
}

// What a server of tokens answers is told without what it was sent, or sends.
func TestTokenErrors(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"400 invalid_scope": `k: the server at token_url answers 400 (invalid_scope): correct token_url`,
		"500 <html>s3cret":  `k: the server at token_url answers 500: correct`,
		"200 hello s3cret":  `k: the answer of the server at token_url has no token in it`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			var code int
			_, _ = fmt.Sscan(answer, &code)
			text := answer[4:]
			if code == 400 {
				w.Header().Set("Content-Type", "application/json")
				text = `{"error": "` + text + `", "error_description": "s3cret"}`
			}
			w.WriteHeader(code)
			_, _ = w.Write([]byte(text))
		}))
		_, err := (&ClientCredentials{Key: "k", TokenURL: server.URL, ClientID: "c", Secret: secret.Static("s", "s3cret")}).Source().Value(t.Context())
		server.Close()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	away := &ClientCredentials{Key: "k", TokenURL: "http://127.0.0.1:1/token", ClientID: "c", Secret: secret.Static("s", "s3cret")}
	if _, err := away.Source().Value(t.Context()); err == nil || !strings.Contains(err.Error(), "can't be asked: dial tcp 127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
}

// The first message to Amazon MSK is signed as AWS' own SDK signs it, with the credentials that the SDK finds.
func TestMSKIsSigned(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "credentials"), []byte("[sink]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = s3cret\naws_session_token = session/token+\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "credentials"), "AWS_CONFIG_FILE": filepath.Join(dir, "none"), "AWS_PROFILE": "sink",
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
	} {
		t.Setenv(name, value)
	}
	const host = "b-1.shop.abc.c2.kafka.eu-central-1.amazonaws.com"
	m := mskIAM()
	session, first, err := m.Authenticate(t.Context(), host+":9098")
	if err != nil || m.Name() != "AWS_MSK_IAM" {
		t.Fatal(m.Name(), err)
	}
	var got map[string]string
	if err := json.Unmarshal(first, &got); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse("20060102T150405Z", got["x-amz-date"])
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, "https://"+host+"/?"+url.Values{"Action": {"kafka-cluster:Connect"}, "X-Amz-Expires": {"300"}}.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "s3cret", SessionToken: "session/token+"}, request, empty, "kafka-cluster", "eu-central-1", at)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	for name := range u.Query() {
		if want := u.Query().Get(name); got[strings.ToLower(name)] != want {
			t.Errorf("%s is %s, want %s", name, got[strings.ToLower(name)], want)
		}
	}
	if len(u.Query()["X-Amz-Signature"]) != 1 || got["host"] != host || got["version"] != "2020_10_22" || got["user-agent"] != "oncesink" {
		t.Errorf("got %v", got)
	}
	if done, _, err := session.Challenge([]byte(`{"version": "2020_10_22", "request-id": "x"}`)); !done || err != nil {
		t.Errorf("the broker's answer: %v, %v", done, err)
	}
	t.Setenv("AWS_PROFILE", "nobody")
	if _, _, err := mskIAM().Authenticate(context.Background(), host+":9098"); err == nil || !strings.HasPrefix(err.Error(), "kafka.sasl: ") {
		t.Errorf("got %v", err)
	}
}
