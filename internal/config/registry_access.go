package config

import (
	"github.com/oncesink/oncesink/internal/secret"
)

// registryAccess is what the schema registry lets the program in by, where that can change.
type registryAccess struct {
	tls    *secret.Files  // nil: none
	secret *secret.Source // of password_file or token_file; nil: none
	client *secret.Source // of oauth's client_secret_file or client_secret_command; nil: none
}

func (a *access) ofRegistry(r *Registry) *registryAccess {
	out := &registryAccess{tls: a.files("registry.tls", r.TLS)}
	switch {
	case r.PasswordFile != "":
		out.secret = a.add(secret.File("registry.password_file", r.PasswordFile))
	case r.TokenFile != "":
		out.secret = a.add(secret.File("registry.token_file", r.TokenFile))
	case r.OAuth != nil && r.OAuth.ClientSecretFile != "":
		out.client = a.add(secret.File("registry.oauth.client_secret_file", r.OAuth.ClientSecretFile))
	case r.OAuth != nil && r.OAuth.ClientSecretCommand != nil:
		out.client = a.add(r.OAuth.ClientSecretCommand.source("registry.oauth.client_secret_command", nil))
	}
	return out
}
