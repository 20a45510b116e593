package mapping

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/sink"
)

// BeginSQL begins a transaction in which a value means the same whatever
// the role, the database or a pooler's former client had set (rule 15), and
// in which the server bounds every wait (rule 1).
func BeginSQL(cfg *sink.Config) string {
	var b strings.Builder
	b.WriteString("begin isolation level read committed read write; select ")
	for i, s := range [][2]string{
		{"lock_timeout", Millis(cfg.LockTimeout)},
		{"statement_timeout", Millis(cfg.StatementTimeout)},
		{"idle_in_transaction_session_timeout", Millis(cfg.IdleTimeout)},
		{"synchronous_commit", cfg.SynchronousCommit},
		{"client_encoding", "UTF8"},
		{"TimeZone", cfg.TimeZone},
		{"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "postgres"},
		{"search_path", cfg.SearchPath},
		{"extra_float_digits", "1"},
		{"oncesink.writer", "on"}, // for the triggers of rollups
	} {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "set_config('%s', %s, true)", s[0], pgname.Literal(s[1]))
	}
	return b.String()
}

func Millis(d time.Duration) string { return fmt.Sprintf("%dms", max(1, d.Milliseconds())) }

// WithDefaults fills what the configuration leaves open.
func WithDefaults(c sink.Config) sink.Config {
	orString := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	orDuration := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	orString(&c.TimeZone, "UTC")
	orString(&c.SearchPath, "public")
	orString(&c.SynchronousCommit, "on")
	orString(&c.Rounding, pgtext.RoundingAllow)
	orDuration(&c.StatementTimeout, 60*time.Second)
	orDuration(&c.LockTimeout, 10*time.Second)
	orDuration(&c.IdleTimeout, 10*time.Second)
	orDuration(&c.ForeignKeyWait, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Tables = slices.Clone(c.Tables)
	for i := range c.Tables {
		if c.Tables[i].Strategy == "" {
			c.Tables[i].Strategy = sink.Upsert
		}
		orString(&c.Tables[i].Tombstones, "delete")
	}
	return c
}
