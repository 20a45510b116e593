package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/oncesink/oncesink/internal/secret"
)

// ClientCredentials gets tokens by the client credentials of OAuth 2.0 (RFC 6749, 4.4).
type ClientCredentials struct {
	// Key is their place in the configuration.
	Key                string
	TokenURL, ClientID string
	// Secret of the client, or Assertion, a token that stands for it (RFC 7523, 2.2), as of a workload identity.
	Secret, Assertion *secret.Source
	Scopes            []string
	// Params are added to the request.
	Params map[string]string
	// TLS of the server's URL. Nil: the system's authorities.
	TLS *secret.Files
}

const (
	tokenTimeout = 10 * time.Second
	// tokenLife is that of a token of which nobody says when it ends.
	tokenLife = 5 * time.Minute
)

// Source gives tokens. One is used for four fifths of its life.
func (c *ClientCredentials) Source() *secret.Source {
	return secret.Func(c.Key, func(ctx context.Context) (string, time.Time, error) {
		// Not bounded by who asks: others may wait for the same answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tokenTimeout)
		defer cancel()
		return c.token(ctx)
	})
}

func (c *ClientCredentials) token(ctx context.Context) (string, time.Time, error) {
	cfg := clientcredentials.Config{ClientID: c.ClientID, TokenURL: c.TokenURL, Scopes: c.Scopes, EndpointParams: url.Values{}}
	for name, value := range c.Params {
		cfg.EndpointParams.Set(name, value)
	}
	if c.Secret != nil {
		value, err := c.Secret.Value(ctx)
		if err != nil {
			return "", time.Time{}, err
		}
		cfg.ClientSecret = value
	}
	if c.Assertion != nil {
		value, err := c.Assertion.Value(ctx)
		if err != nil {
			return "", time.Time{}, err
		}
		cfg.AuthStyle = oauth2.AuthStyleInParams
		cfg.EndpointParams.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		cfg.EndpointParams.Set("client_assertion", value)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's
	defer transport.CloseIdleConnections()
	if c.TLS != nil {
		transport.DialTLSContext = c.TLS.Dial
	}
	began := time.Now()
	token, err := cfg.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport}))
	if err != nil {
		return "", time.Time{}, c.explain(err)
	}
	ends := token.Expiry
	if ends.IsZero() {
		ends = JWTEnds(token.AccessToken)
	}
	if ends.IsZero() {
		ends = began.Add(tokenLife)
	}
	return token.AccessToken, began.Add(ends.Sub(began) * 4 / 5), nil
}

// explain says what a server's answer means, without anything that was sent to it.
func (c *ClientCredentials) explain(err error) error {
	var (
		answer *oauth2.RetrieveError
		dial   *url.Error
	)
	switch {
	case errors.As(err, &answer) && answer.Response != nil:
		problem := fmt.Sprintf("the server at token_url answers %d", answer.Response.StatusCode)
		if answer.ErrorCode != "" {
			problem += " (" + answer.ErrorCode + ")"
		}
		return &secret.Error{Key: c.Key, Problem: problem, Fix: "correct token_url, client_id, its secret or assertion, scopes and params"}
	case errors.As(err, &dial):
		return &secret.Error{Key: c.Key, Problem: "the server at token_url can't be asked: " + dial.Err.Error(), Fix: "see that it is right and can be reached"}
	}
	return &secret.Error{Key: c.Key, Problem: "the answer of the server at token_url has no token in it", Fix: "see that it is the address of a token endpoint"}
}

// JWTEnds is when a token says that it ends; the zero time if it is none that can be read, or does not say. Nothing of it is verified: that
// is the broker's.
func JWTEnds(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Ends float64 `json:"exp"`
	}
	if json.Unmarshal(body, &claims) != nil || claims.Ends <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Ends), 0)
}
