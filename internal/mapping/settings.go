package mapping

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/sink"
)

// Setting is a parameter of a transaction.
type Setting struct {
	Name, Value string
	// IfKnown leaves it out on servers that do not have it.
	IfKnown bool
}

// Settings are the parameters of a transaction, each once, in the order in which they are set.
type Settings []Setting

// SettingsOf are those under which a value means the same whatever the role, the database or a pooler's former client
// had set (rule 15), and the server bounds every wait (rule 1).
func SettingsOf(cfg *sink.Config) Settings {
	return Settings{
		{Name: "lock_timeout", Value: Millis(cfg.LockTimeout)},
		{Name: "statement_timeout", Value: Millis(cfg.StatementTimeout)},
		{Name: "idle_in_transaction_session_timeout", Value: Millis(cfg.IdleTimeout)},
		{Name: "synchronous_commit", Value: cfg.SynchronousCommit},
		{Name: "client_encoding", Value: "UTF8"},
		{Name: "TimeZone", Value: cfg.TimeZone},
		{Name: "DateStyle", Value: "ISO, MDY"},
		{Name: "IntervalStyle", Value: "postgres"},
		{Name: "search_path", Value: cfg.SearchPath},
		{Name: "extra_float_digits", Value: "1"},
		{Name: "oncesink.writer", Value: "on"}, // for the triggers of rollups
	}
}

// With returns the settings with others in place of those of the same name, or after them. The receiver stays as it is.
func (s Settings) With(others ...Setting) Settings {
	all := slices.Clone(s)
	for _, o := range others {
		if i := slices.IndexFunc(all, func(a Setting) bool { return a.Name == o.Name }); i >= 0 {
			all[i] = o
		} else {
			all = append(all, o)
		}
	}
	return all
}

// Begin begins a transaction that has the settings, and leaves none of them behind.
func (s Settings) Begin() string {
	return "begin isolation level read committed read write; " + s.Set()
}

// Set gives the transaction at hand the settings, in one statement.
func (s Settings) Set() string {
	set := make([]string, len(s))
	for i, x := range s {
		set[i] = fmt.Sprintf("set_config(%s, %s, true)", pgname.Literal(x.Name), pgname.Literal(x.Value))
		if x.IfKnown {
			set[i] = fmt.Sprintf("(select %s from pg_catalog.pg_settings where name = %s)", set[i], pgname.Literal(x.Name))
		}
	}
	return "select " + strings.Join(set, ", ")
}

// Millis is a duration as a setting has it, at least 1 ms: 0 would be no bound.
func Millis(d time.Duration) string { return fmt.Sprintf("%dms", max(1, d.Milliseconds())) }

// DefaultSearchPath finds tables and types that name no schema.
const DefaultSearchPath = "public"

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
	orString(&c.SearchPath, DefaultSearchPath)
	orString(&c.SynchronousCommit, "on")
	orString(&c.Rounding, pgtext.RoundingAllow)
	orDuration(&c.StatementTimeout, 60*time.Second)
	orDuration(&c.LockTimeout, 10*time.Second)
	orDuration(&c.IdleTimeout, 10*time.Second)
	orDuration(&c.ForeignKeyWait, 30*time.Second)
	d := &c.DeadLetters
	d.MaxRatio, d.Window = cmp.Or(d.MaxRatio, 0.1), cmp.Or(d.Window, 10_000)
	d.MaxConsecutive, d.RetryRate = cmp.Or(d.MaxConsecutive, 1000), cmp.Or(d.RetryRate, 500)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Tables = slices.Clone(c.Tables)
	for i := range c.Tables {
		t := &c.Tables[i]
		t.Strategy = cmp.Or(t.Strategy, sink.Upsert)
		if t.Tombstones == "" {
			t.Tombstones = sink.DeleteRows
			if len(t.SoftDelete) > 0 {
				t.Tombstones = sink.IgnoreTombstones // it comes after the event that says when
			}
		}
		if len(t.RecordKey) == 0 {
			t.RecordKey = deriveRecordKey(&c, t)
		}
	}
	return c
}
