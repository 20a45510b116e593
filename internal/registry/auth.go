package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/oncesink/oncesink/sink"
)

// auth is the way to a registry: it adds credentials to requests, and bounds answers.
type auth struct {
	http.RoundTripper
	cfg *Config

	mu    sync.Mutex // of the token: one is asked for at a time
	token string
	until time.Time
}

func newAuth(cfg *Config) (*auth, error) {
	ways := 0
	for _, given := range []bool{cfg.Username != "" || cfg.Password != "", cfg.Token != "" || cfg.Secret != nil && cfg.Username == "", cfg.OAuth != nil} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		return nil, &sink.ConfigError{Problem: "registry: username, token and oauth are given at once", Fix: "leave one of them"}
	}
	if o := cfg.OAuth; o != nil {
		if u, err := url.Parse(o.TokenURL); err != nil || u.Host == "" || u.User != nil {
			return nil, &sink.ConfigError{Problem: "registry.oauth.token_url is no URL, or has a user in it", Fix: "write it as https://HOST/PATH"}
		}
	}
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's
	t.TLSClientConfig = cfg.TLS
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	t.DialTLSContext = cfg.DialTLS
	return &auth{RoundTripper: t, cfg: cfg}, nil
}

func (a *auth) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	password, token := a.cfg.Password, a.cfg.Token
	if a.cfg.Secret != nil {
		secret, err := a.cfg.Secret(req.Context())
		if err != nil {
			return nil, err
		}
		if a.cfg.Username != "" {
			password = secret
		} else {
			token = secret
		}
	}
	switch {
	case a.cfg.Username != "" || password != "":
		req.SetBasicAuth(a.cfg.Username, password)
	case token != "":
		req.Header.Set("Authorization", "Bearer "+token)
	case a.cfg.OAuth != nil:
		token, err := a.bearer(req.Context())
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := a.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized {
		a.mu.Lock()
		a.token = "" // the next request gets another one
		a.mu.Unlock()
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxAnswer)
	return resp, nil
}

// tokenMargin is how long before its end a token is not used any more.
const tokenMargin = 30 * time.Second

// bearer returns a token by client credentials (RFC 6749, 4.4).
func (a *auth) bearer(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != "" && time.Now().Before(a.until) {
		return a.token, nil
	}
	o := a.cfg.OAuth
	secret := o.ClientSecret
	if o.Secret != nil {
		var err error
		if secret, err = o.Secret(ctx); err != nil {
			return "", fmt.Errorf("get a token for the schema registry: %w", err)
		}
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if o.Scope != "" {
		form.Set("scope", o.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", errors.New("registry.oauth.token_url is no URL")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth(url.QueryEscape(o.ClientID), url.QueryEscape(secret))
	resp, err := a.RoundTripper.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("get a token for the schema registry: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusBadRequest { // invalid_client comes as either
		if o.Refused != nil {
			o.Refused(secret)
		}
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get a token for the schema registry: the server at registry.oauth.token_url answers %d", resp.StatusCode)
	}
	var got struct {
		Token   string `json:"access_token"`
		Seconds int64  `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&got); err != nil || got.Token == "" {
		return "", errors.New("get a token for the schema registry: the answer of the server at registry.oauth.token_url has none")
	}
	if got.Seconds <= 0 {
		got.Seconds = 300
	}
	lives := time.Duration(min(got.Seconds, 1<<30)) * time.Second
	a.token, a.until = got.Token, time.Now().Add(max(lives-tokenMargin, lives/2))
	return a.token, nil
}
