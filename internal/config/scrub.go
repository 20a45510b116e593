package config

import (
	"slices"
	"strings"

	"github.com/oncesink/oncesink/internal/conninfo"
)

// shortest is how long a secret is at least that is looked for in messages: fewer letters are in every text.
const shortest = 4

// Scrub removes the configuration's secrets from a message of a library.
func (c *Config) Scrub(message string) string {
	for _, s := range c.secrets() {
		message = strings.ReplaceAll(message, s, hidden)
	}
	return message
}

// secrets are the texts that must not be printed, the longer ones first where
// one holds the other. A password that is also a word of the configuration, such as the user or the
// database, is left out: that word is no secret, and hiding it would
// make messages unreadable, and tell what the password is.
func (c *Config) secrets() []string {
	out := conninfo.Passwords(c.Postgres.URL.Reveal())
	if s := c.Kafka.SASL; s != nil {
		out = append(out, s.Password.Reveal())
		if s.ClientCredentials != nil {
			out = append(out, s.ClientCredentials.ClientSecret.Reveal())
		}
	}
	if c.Registry != nil {
		out = append(out, c.Registry.secrets()...)
	}
	for _, source := range c.letIn().sources {
		out = append(out, source.Known()...)
	}
	words := c.words()
	out = slices.DeleteFunc(out, func(s string) bool { return len(s) < shortest || slices.Contains(words, s) })
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	if raw := c.Postgres.URL.Reveal(); len(raw) >= shortest {
		out = append([]string{raw}, out...)
	}
	return slices.Compact(out)
}

// words are values of the configuration that are shown.
func (c *Config) words() []string {
	out := append(c.topics(), c.Kafka.Group)
	if s := c.Kafka.SASL; s != nil {
		out = append(out, s.Username)
	}
	for i := range c.Tables {
		out = append(out, c.Tables[i].Name)
	}
	if cfg, err := conninfo.Parse(c.Postgres.URL.Reveal()); err == nil {
		out = append(out, cfg.ConnConfig.User, cfg.ConnConfig.Database, cfg.ConnConfig.Host)
	}
	return out
}
