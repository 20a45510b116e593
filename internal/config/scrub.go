package config

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Scrub removes the configuration's secrets from a message of a library.
func (c *Config) Scrub(message string) string {
	for _, s := range c.secrets() {
		message = strings.ReplaceAll(message, s, hidden)
	}
	return message
}

// secrets are the texts that must not be printed, the longer ones first where
// one holds the other. A password that is also the name of the user, the
// database or the host is left out: that word is no secret, and hiding it would
// make messages unreadable.
func (c *Config) secrets() []string {
	var out []string
	add := func(s string, open ...string) {
		for _, o := range append(open, "") {
			if s == o {
				return
			}
		}
		out = append(out, s)
	}
	raw := c.Postgres.URL.Reveal()
	add(raw)
	for _, p := range passwordIn(raw) {
		if cfg, err := pgx.ParseConfig(raw); err == nil {
			add(p, cfg.User, cfg.Database, cfg.Host)
		} else {
			add(p)
		}
	}
	if s := c.Kafka.SASL; s != nil {
		add(s.Password.Reveal(), s.Username)
	}
	return out
}

var passwordParts = regexp.MustCompile(`(?:^|[\s?&])(?:ssl)?password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]*)`)

// passwordIn finds the password in a URL or key=value string, as it is written
// and as it is meant.
func passwordIn(raw string) []string {
	var out []string
	if _, rest, ok := strings.Cut(raw, "://"); ok {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			if _, p, ok := strings.Cut(rest[:at], ":"); ok {
				out = append(out, p)
			}
		}
	}
	for _, m := range passwordParts.FindAllStringSubmatch(raw, -1) {
		out = append(out, m[1], strings.Trim(m[1], "'"))
	}
	for _, p := range out {
		if meant, err := url.PathUnescape(p); err == nil {
			out = append(out, meant)
		}
	}
	if cfg, err := pgx.ParseConfig(raw); err == nil {
		out = append(out, cfg.Password)
	}
	return out
}

const urlHint = "postgres://USER:PASSWORD@HOST:5432/DATABASE, with special characters of the password percent-encoded (/ as %2F, @ as %40, % as %25)"

// urlProblem says what is wrong with a connection string without quoting from it:
// a parser that was led astray can take a piece of the password for the port.
func urlProblem(raw string, err error) string {
	if strings.Contains(raw, "://") {
		if _, perr := url.Parse(raw); perr != nil {
			return "is not a valid URL: write " + urlHint
		}
	} else if !strings.Contains(raw, "=") {
		return "is neither a URL nor a key=value string: write " + urlHint
	}
	var pe *pgconn.ParseConfigError
	quoteEnd := strings.LastIndex(err.Error(), "`: ")
	if !errors.As(err, &pe) || quoteEnd < 0 {
		return "can't be parsed: write " + urlHint
	}
	reason := err.Error()[quoteEnd+len("`: "):]
	for _, p := range passwordIn(raw) {
		if p != "" && strings.Contains(reason, p) {
			return "can't be parsed: write " + urlHint
		}
	}
	return "can't be used: " + reason
}
