package mapping

import (
	"testing"
	"time"

	"github.com/oncesink/oncesink/sink"
)

func TestSettings(t *testing.T) {
	cfg := WithDefaults(sink.Config{TimeZone: "Europe/Berlin", SearchPath: `"it's", public`, IdleTimeout: time.Microsecond})
	s := SettingsOf(&cfg)
	const begin = `begin isolation level read committed read write; select set_config('lock_timeout', '10000ms', true), set_config('statement_timeout', '60000ms', true), ` +
		`set_config('idle_in_transaction_session_timeout', '1ms', true), set_config('synchronous_commit', 'on', true), set_config('client_encoding', 'UTF8', true), ` +
		`set_config('TimeZone', 'Europe/Berlin', true), set_config('DateStyle', 'ISO, MDY', true), set_config('IntervalStyle', 'postgres', true), ` +
		`set_config('search_path', '"it''s", public', true), set_config('extra_float_digits', '1', true), set_config('oncesink.writer', 'on', true)`
	if got := s.Begin(); got != begin {
		t.Errorf("the engine's transactions begin with\n%s\nwant\n%s", got, begin)
	}
	other := Settings{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}
	got := other.With(Setting{Name: "c", Value: "3", IfKnown: true}, Setting{Name: "a", Value: "0"}).Set()
	if want := "select set_config('a', '0', true), set_config('b', '2', true), (select set_config('c', '3', true) from pg_catalog.pg_settings where name = 'c')"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if other[0].Value != "1" {
		t.Error("With changed the settings that it was given")
	}
}
