package config

import (
	"fmt"
	"net/url"
	"time"

	"github.com/oncesink/oncesink/consumer"
)

// Registry is a schema registry that speaks Confluent's protocol, such as those of Confluent, Redpanda, Karapace and Apicurio.
type Registry struct {
	// URLs of the registry's servers, such as https://HOST:8081, of Apicurio https://HOST/apis/ccompat/v7. If one does not answer the next
	// one is asked.
	URLs []string `yaml:"urls"`
	// Username of basic authentication. Defaults to none.
	Username string `yaml:"username,omitempty"`
	// Password of the user. Write ${NAME} to take it from the environment.
	Password Secret `yaml:"password,omitempty"`
	// PasswordFile is a file with the password, which is read for each request. Instead of password.
	PasswordFile string `yaml:"password_file,omitempty"`
	// Token that is sent as a bearer's, instead of a user. Write ${NAME} to take it from the environment.
	Token Secret `yaml:"token,omitempty"`
	// TokenFile is a file with the token, which is read for each request. Instead of token.
	TokenFile string `yaml:"token_file,omitempty"`
	// OAuth gets tokens by client credentials, instead of a user or a token.
	OAuth *OAuth `yaml:"oauth,omitempty"`
	// TLS of https URLs. Defaults to certificates that the system trusts.
	TLS *TLS `yaml:"tls,omitempty"`
	// Context in which ids count, such as .prod. Defaults to the default context.
	Context string `yaml:"context,omitempty"`
	// UnknownSchemaWait is how long a schema is waited for that the registry does not know. Then its record becomes a dead
	// letter, or the partition halts if the registry has never known a schema of the topic. Defaults to 30s.
	UnknownSchemaWait Duration `yaml:"unknown_schema_wait,omitempty"`
}

// OAuth says where tokens come from, by client credentials of OAuth 2.0.
type OAuth struct {
	// TokenURL is where tokens are handed out.
	TokenURL string `yaml:"token_url"`
	// ClientID of the program.
	ClientID string `yaml:"client_id"`
	// ClientSecret of the program. Write ${NAME} to take it from the environment, or ${file:PATH} from a file.
	ClientSecret Secret `yaml:"client_secret,omitempty"`
	// ClientSecretFile is a file with the secret, which is read for each token. Instead of client_secret.
	ClientSecretFile string `yaml:"client_secret_file,omitempty"`
	// ClientSecretCommand prints the secret. Instead of client_secret.
	ClientSecretCommand *Command `yaml:"client_secret_command,omitempty"`
	// Scope that is asked for. Defaults to none.
	Scope string `yaml:"scope,omitempty"`
}

// registry returns the consumer's part. The error is of a certificate file.
func (c *Config) registry() (*consumer.Registry, error) {
	r, a := c.Registry, c.letIn().registry
	out := &consumer.Registry{
		URLs: r.URLs, Username: r.Username, Password: r.Password.Reveal(), Token: r.Token.Reveal(), Context: r.Context,
		UnknownSchemaWait: time.Duration(r.UnknownSchemaWait),
	}
	if o := r.OAuth; o != nil {
		out.OAuth = &consumer.OAuth{TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), Scope: o.Scope}
		if a.client != nil {
			out.OAuth.Secret, out.OAuth.Refused = a.client.Value, a.client.Refused
		}
	}
	if a.secret != nil {
		out.Secret = a.secret.Value
	}
	if a.tls != nil {
		conf, err := a.tls.Config()
		if err != nil {
			return nil, configError(err)
		}
		out.TLS = conf
		if a.tls.Any() {
			out.DialTLS = a.tls.Dial
		}
	}
	return out, nil
}

// secrets are the texts that must not be printed.
func (r *Registry) secrets() []string {
	out := []string{r.Password.Reveal(), r.Token.Reveal()}
	if r.OAuth != nil {
		out = append(out, r.OAuth.ClientSecret.Reveal())
	}
	return out
}

func (v *validator) registry(r *Registry) {
	if r == nil {
		return
	}
	if len(r.URLs) == 0 {
		v.problem("registry.urls", "is required: the addresses of one or more servers, such as [https://localhost:8081]")
	}
	for i, text := range r.URLs {
		v.address(fmt.Sprintf("registry.urls[%d]", i), text)
	}
	ways := 0
	for _, given := range []bool{r.Username != "" || r.Password != "" || r.PasswordFile != "", r.Token != "" || r.TokenFile != "", r.OAuth != nil} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		v.problem("registry", "has more than one of username, token and oauth: leave one")
	}
	if (r.Username == "") != (r.Password == "" && r.PasswordFile == "") {
		v.problem("registry", "needs username and password together")
	}
	v.oneOfBoth("registry", "password", r.Password != "", "password_file", r.PasswordFile != "")
	v.oneOfBoth("registry", "token", r.Token != "", "token_file", r.TokenFile != "")
	if o := r.OAuth; o != nil {
		v.required("registry.oauth.token_url", o.TokenURL, "where tokens are handed out")
		if o.TokenURL != "" {
			v.address("registry.oauth.token_url", o.TokenURL)
		}
		v.required("registry.oauth.client_id", o.ClientID, "the client to authenticate as")
		v.filled("registry.oauth.client_secret_file", o.ClientSecretFile)
		v.command("registry.oauth.client_secret_command", o.ClientSecretCommand)
		if v.ways("registry.oauth", "client_secret", "client_secret_file", "client_secret_command") == 0 || v.given("registry.oauth.client_secret") && o.ClientSecret == "" {
			v.problem("registry.oauth.client_secret", "is required: write ${NAME} to take it from the environment; or client_secret_file, or client_secret_command")
		}
	}
	if t := r.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		v.problem("registry.tls", "needs cert_file and key_file together")
	}
	v.positive("registry.unknown_schema_wait", r.UnknownSchemaWait)
}

// address wants the URL of a server, without a secret in it.
func (v *validator) address(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		v.problem(path, "must be a URL such as https://HOST:PORT")
	} else if u.User != nil {
		v.problem(path, "must not have a user or a password in it: they have keys of their own")
	}
}
