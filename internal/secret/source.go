// Package secret gets passwords, tokens and certificates from where they are kept, again each time that somebody is to be let in: a
// file that is replaced, or a command whose answer has a short life. It knows nothing of those who let in.
package secret

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Source gives one secret. Its methods may be called by several goroutines; those that need a new value at the same time get the same
// one.
//
// A value that can't be had anew is no reason to go without: the last one is given until it was refused, which only
// who was asked to let in can know. So a file that is missing for a moment, and a command that fails, hold up nothing as long as
// what they gave before is good.
type Source struct {
	key     string
	changes bool
	// read gets a value and says until when it need not be read again; the zero time: it is read each time.
	read func(ctx context.Context) (value string, until time.Time, err error)
	// pause is for how long what failed, or was refused, is not read again.
	pause time.Duration

	reading chan struct{} // holds a token while nobody reads

	mu      sync.Mutex
	value   string
	has     bool
	until   time.Time
	refused bool
	next    time.Time // before which it is not read again
	failed  error     // the last attempt's
	known   []string
	tell    func(error)
}

func newSource(key string, changes bool, read func(ctx context.Context) (string, time.Time, error)) *Source {
	s := &Source{key: key, changes: changes, read: read, reading: make(chan struct{}, 1)}
	s.reading <- struct{}{}
	return s
}

// Static is a source whose value never changes.
func Static(key, value string) *Source {
	s := newSource(key, false, nil)
	s.value, s.has, s.known = value, true, []string{value}
	return s
}

// Func is a source whose value a function gets, which says until when it is good: a token of a server, for example. The function
// bounds its own time.
func Func(key string, read func(ctx context.Context) (value string, until time.Time, err error)) *Source {
	s := newSource(key, true, read)
	s.pause = pauseCommand
	return s
}

// Key is the source's place in the configuration.
func (s *Source) Key() string { return s.key }

// Changes reports whether the source can give another value than before, so that it pays to ask again after one was refused.
func (s *Source) Changes() bool { return s.changes }

// Tell has f called when a value can't be had anew and the last one is given instead: once, until it can. f is called by whoever asks,
// without any lock.
func (s *Source) Tell(f func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell = f
}

// Value returns the secret. Its error is an *[Error], or the context's.
func (s *Source) Value(ctx context.Context) (string, error) {
	if !s.changes {
		return s.value, nil
	}
	select {
	case <-s.reading:
		defer func() { s.reading <- struct{}{} }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if value, kept, err := s.kept(time.Now()); kept {
		return value, err
	}
	value, until, err := s.read(ctx)
	if err != nil && ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return s.took(value, until, err)
}

// kept returns what is there, unless it has to be read anew.
func (s *Source) kept(now time.Time) (value string, kept bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.has && !s.refused && now.Before(s.until):
		return s.value, true, nil
	case !now.Before(s.next):
		return "", false, nil
	case s.failed != nil && (!s.has || s.refused):
		return "", true, s.failed
	}
	return s.value, true, nil // it is asked for again too soon
}

// took notes what was read.
func (s *Source) took(value string, until time.Time, err error) (string, error) {
	s.mu.Lock()
	now := time.Now()
	if s.pause > 0 && (err != nil || s.refused) {
		s.next = now.Add(s.pause)
	}
	var tell func(error)
	if err != nil && s.failed == nil {
		tell = s.tell
	}
	s.failed = err
	if err == nil {
		if value != s.value || !s.has {
			s.known = append(s.known, value)
			s.known = s.known[max(len(s.known)-2, 0):]
		}
		s.value, s.has, s.until, s.refused = value, true, until, false
	}
	value, bad := s.value, err != nil && (!s.has || s.refused)
	s.mu.Unlock()
	if bad {
		return "", err
	}
	if tell != nil {
		tell(err)
	}
	return value, nil
}

// Refused says that the value was refused: the next call of Value reads it anew, however long it should have been good for. A value
// that is not the last one is none to mind.
func (s *Source) Refused(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has && s.value == value {
		s.refused = true
	}
}

// Known are the last values, for whoever removes them from messages.
func (s *Source) Known() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known)
}
