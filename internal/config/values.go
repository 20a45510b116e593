package config

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/oncesink/oncesink/consumer"
)

// A scalar is a value that is written as one text. The error of set says what
// was expected and never repeats the text.
type scalar interface{ set(text string) error }

// Secret is a text that is never printed. Reveal returns it.
type Secret string

const hidden = "***"

// Reveal returns the secret.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString, LogValue and MarshalText hide the secret from %#v, slog and encoders.
func (s Secret) GoString() string             { return strconv.Quote(s.String()) }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(s.String()) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
func (s *Secret) set(text string) error       { *s = Secret(text); return nil }

// Duration is a time span, written like 30s or 1m30s.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

func (d *Duration) set(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("must be a time span with its unit, such as 500ms, 30s or 1m30s")
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes, written as a number or with KiB, MiB or GiB.
type Size int64

// ParseSize reads a size as the file has it.
func ParseSize(text string) (Size, error) {
	var s Size
	err := s.set(text)
	return s, err
}

func (s *Size) set(text string) error {
	number, unit := strings.TrimSpace(text), int64(1)
	for suffix, u := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if n, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(n), u
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return fmt.Errorf("must be a number of bytes, or a number with KiB, MiB or GiB, such as 64MiB")
	}
	*s = Size(n * unit)
	return nil
}

// Start is where a partition without a position begins. The zero Start is "not given".
type Start struct {
	Given bool
	consumer.Start
}

// String returns the start as it is written in the file.
func (s Start) String() string {
	switch s.At {
	case consumer.Latest:
		return "latest"
	case consumer.Committed:
		return "committed"
	case consumer.Timestamp:
		return s.Time.Format(time.RFC3339Nano)
	default:
		return "earliest"
	}
}

func (s *Start) set(text string) error {
	switch text {
	case "earliest":
		s.At = consumer.Earliest
	case "latest":
		s.At = consumer.Latest
	case "committed":
		s.At = consumer.Committed
	default:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return fmt.Errorf("must be earliest, latest, committed or a time such as 2026-01-31T00:00:00Z")
		}
		s.At, s.Time = consumer.Timestamp, t
	}
	s.Given = true
	return nil
}

// set makes a column's text its From.
func (c *Column) set(text string) error { c.From = text; return nil }

// set makes an input's text its Type.
func (in *Input) set(text string) error { in.Type = text; return nil }

// set makes a text one value.
func (v *Values) set(text string) error { *v = Values{text}; return nil }

// set makes a text the value that there has to be.
func (c *Condition) set(text string) error { c.In = Values{text}; return nil }

// set makes a text the name of a known envelope.
func (e *Envelope) set(text string) error { e.Like = text; return nil }
