package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// Events have fields that no column takes (rule 34). What is done about it is done before the first of their records is decoded,
// outside of any transaction that writes: a column is a fact of its own, which does not depend on a position. Whoever else meets the
// field finds the column, or adds it, if it is not there: so nobody has to be the first.

const (
	// lookAgain is how often the catalog is read for a column that is waited for.
	lookAgain = 500 * time.Millisecond
	// alterWait bounds how long an alter table waits for its lock: writers queue behind it meanwhile.
	alterWait = 300 * time.Millisecond
	// alterPause is the first pause after one that did not get it, and alterPauses the longest.
	alterPause, alterPauses = time.Second, 30 * time.Second
)

// newFields is what the copies of a sink share of the work on new fields.
type newFields struct {
	sync.Mutex
	looked time.Time       // when the catalog was read last
	noted  map[string]bool // fields that stand in the database, by table and name
	alters map[string]*altering
}

// altering is a table that can't be altered at the moment.
type altering struct {
	err      error
	until    time.Time
	attempts int
}

// HeldError says that records wait for a column, and what a person can do.
type HeldError struct{ text string }

func (e *HeldError) Error() string { return e.text }

// Settle does about new fields what their table says. It returns nil if the records can be read again, now by another plan, or because
// they are told of. An error says what they wait for: the caller asks again, soon. A *[sink.ConfigError] is of a table that no longer
// fits.
func (s *Sink) Settle(ctx context.Context, e *decode.NewFields) error {
	if e.Older(s.plan().decode) {
		return nil
	}
	err := s.lookForColumns(ctx)
	if e.Table.NewFields == sink.WarnOfNewFields && ctx.Err() == nil { // which waits for nothing
		if !e.Older(s.plan().decode) {
			s.warnOf(ctx, e)
		}
		return nil
	}
	if err != nil || e.Older(s.plan().decode) {
		return err
	}
	columns, why := columnsFor(e)
	if e.Table.NewFields == sink.AddNewFields && why == "" {
		err := s.add(ctx, e, columns)
		if err == nil || !errors.As(err, new(*HeldError)) {
			return err
		}
		s.note(ctx, e, remedy(e, columns))
		return err
	}
	s.note(ctx, e, remedy(e, columns))
	text := fmt.Sprintf("no column takes it (new_fields: %s)", e.Table.NewFields)
	if len(e.Fields) > 1 {
		text = fmt.Sprintf("no columns take them (new_fields: %s)", e.Table.NewFields)
	}
	if why != "" {
		text += ": " + why
	}
	return &HeldError{text + ": " + todo(e, columns)}
}

// Overlook has fields taken for known: for who only looks at records.
func (s *Sink) Overlook(e *decode.NewFields) { s.schemas.Overlook(e) }

// AddBlindly is [Sink.Add] for who only looks at records, or has no topic to wait: new fields are overlooked.
func (s *Sink) AddBlindly(p *decode.Part, records ...sink.Record) (n int, err error) {
	for {
		taken, err := s.Add(p, records[n:]...)
		n += taken
		var news *decode.NewFields
		if !errors.As(err, &news) {
			return n, err
		}
		s.Overlook(news)
	}
}

// warnOf tells of fields, once, and overlooks them from then on.
func (s *Sink) warnOf(ctx context.Context, e *decode.NewFields) {
	one := *e
	if one.Fields = s.schemas.Overlook(e); len(one.Fields) == 0 { // somebody else has just told
		return
	}
	e = &one
	columns, _ := columnsFor(e)
	remedies := remedy(e, columns)
	for i, f := range e.Fields {
		s.log.Warn("events have a field that no column takes", slog.String("table", e.Table.Title()), slog.String("topic", e.Topic), slog.String("field", f.Name),
			slog.String("to_take_it", remedies[i]))
	}
	s.note(ctx, e, remedies)
}

// note keeps in the database, for `oncesink status`, that fields were met. That it can't be is no reason to wait.
func (s *Sink) note(ctx context.Context, e *decode.NewFields, remedies []string) {
	var names []string
	var of []string
	s.newFields.Lock()
	for i, f := range e.Fields {
		if key := e.Table.Title() + "\x00" + f.Name; !s.newFields.noted[key] {
			s.newFields.noted[key] = true
			names, of = append(names, f.Name), append(of, remedies[i])
		}
	}
	s.newFields.Unlock()
	if len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LockTimeout+s.slack)
	defer cancel()
	_, err := s.pool.Exec(ctx, `insert into oncesink.new_fields (target, field, topic, remedy)
		select $1, f.name, $2, f.remedy from unnest($3::text[], $4::text[]) as f (name, remedy) on conflict do nothing`, e.Table.Title(), e.Topic, names, of)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("note new fields", slog.String("table", e.Table.Title()), slog.String("error", pgerr.Safe(err)))
	}
}

// lookForColumns goes on with the tables as they are now, unless somebody has looked just before.
func (s *Sink) lookForColumns(ctx context.Context) error {
	s.newFields.Lock()
	defer s.newFields.Unlock()
	if time.Since(s.newFields.looked) < lookAgain {
		return nil
	}
	_, err := s.recompile(ctx, s.plan())
	s.newFields.looked = time.Now()
	if config := (*sink.ConfigError)(nil); err != nil && !errors.As(err, &config) {
		return fmt.Errorf("look for columns: %s", describe(err))
	}
	return err
}
