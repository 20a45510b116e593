package config

import (
	"fmt"

	"github.com/oncesink/oncesink/internal/conninfo"
)

// oneOfBoth refuses two keys that say the same.
func (v *validator) oneOfBoth(section, a string, hasA bool, b string, hasB bool) {
	if hasA && hasB {
		v.problem(section+"."+b, "is given beside %s.%s: leave one of them", section, a)
	}
}

// ways refuses more than one of several keys that say the same.
func (v *validator) ways(section string, keys ...string) (given int) {
	var first string
	for _, key := range keys {
		switch {
		case !v.given(section + "." + key):
			continue
		case first != "":
			v.problem(section+"."+key, "is given beside %s.%s: leave one of them", section, first)
		default:
			first = key
		}
		given++
	}
	return given
}

func (v *validator) postgresPassword(p *Postgres) {
	const file, command = "postgres.password_file", "postgres.password_command"
	v.filled(file, p.PasswordFile)
	v.command(command, p.PasswordCommand)
	if v.ways("postgres", "password_file", "password_command") > 0 && conninfo.HasPassword(p.URL.Reveal()) {
		v.problem("postgres.url", "has a password in it, and there is one from elsewhere: remove it from the url, or the other one")
	}
}

// filled refuses a key that is written and empty.
func (v *validator) filled(path, value string) {
	if v.given(path) && value == "" {
		v.problem(path, "must not be empty: name a file")
	}
}

func (v *validator) command(path string, c *Command) {
	if c == nil {
		return
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		v.problem(path+".command", "is required: a program and its arguments, such as [/usr/local/bin/password, --for, oncesink]")
	}
	v.positive(path+".ttl", c.TTL)
	v.positive(path+".timeout", c.Timeout)
}

// Keys that give the secret of a mechanism.
var passwordKeys, tokenKeys = []string{"password", "password_file", "password_command"}, []string{"token_file", "token_command", "client_credentials"}

func (v *validator) sasl(s *SASL) {
	if s == nil {
		return
	}
	const at = "kafka.sasl"
	mechanisms := []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"}
	v.required(at+".mechanism", s.Mechanism, orList(mechanisms))
	v.oneOf(at+".mechanism", s.Mechanism, mechanisms...)
	v.filled(at+".password_file", s.PasswordFile)
	v.filled(at+".token_file", s.TokenFile)
	v.command(at+".password_command", s.PasswordCommand)
	v.command(at+".token_command", s.TokenCommand)
	v.clientCredentials(at+".client_credentials", s.ClientCredentials)
	unwanted := []string{"extensions"}
	switch s.Mechanism {
	case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		v.password(at, s)
		unwanted = append(unwanted, tokenKeys...)
	case "OAUTHBEARER":
		if v.ways(at, tokenKeys...) == 0 {
			v.problem(at, "needs a token: give token_file, token_command or client_credentials")
		}
		unwanted = append([]string{"username"}, passwordKeys...)
	case "AWS_MSK_IAM":
		unwanted = append(append(append(unwanted, "username"), passwordKeys...), tokenKeys...)
	default:
		if s.Mechanism == "" && v.ways(at, tokenKeys...) == 0 {
			v.password(at, s)
		}
		return
	}
	for _, key := range unwanted {
		if v.given(at + "." + key) {
			v.keyProblem(at+"."+key, "has no meaning for mechanism %s: remove it", s.Mechanism)
		}
	}
}

func (v *validator) password(at string, s *SASL) {
	v.required(at+".username", s.Username, "the user to authenticate as")
	if v.ways(at, passwordKeys...) == 0 || v.given(at+".password") && s.Password == "" {
		v.problem(at+".password", "is required: write ${NAME} to take it from the environment; or password_file, or password_command")
	}
}

func (v *validator) clientCredentials(at string, c *ClientCredentials) {
	if c == nil {
		return
	}
	v.required(at+".token_url", c.TokenURL, "where tokens are handed out")
	if c.TokenURL != "" {
		v.address(at+".token_url", c.TokenURL)
	}
	v.required(at+".client_id", c.ClientID, "the client to authenticate as")
	v.filled(at+".client_secret_file", c.ClientSecretFile)
	v.filled(at+".client_assertion_file", c.ClientAssertionFile)
	if v.ways(at, "client_secret", "client_secret_file", "client_assertion_file") == 0 || v.given(at+".client_secret") && c.ClientSecret == "" {
		v.problem(at+".client_secret", "is required: write ${NAME} to take it from the environment; or client_secret_file, or client_assertion_file")
	}
	if t := c.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		v.problem(at+".tls", "needs cert_file and key_file together")
	}
	for i, scope := range c.Scopes {
		if scope == "" {
			v.problem(fmt.Sprintf("%s.scopes[%d]", at, i), "must not be empty")
		}
	}
}
