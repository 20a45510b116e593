package mapping

import (
	"errors"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// Problems gathers what is wrong with the configuration.
type Problems struct {
	Errs []error
	// Ahead of init: what init mends, and what the role that runs later lacks, is no problem yet.
	Ahead bool
}

func (p *Problems) Add(problem, fix string) {
	p.Errs = append(p.Errs, &sink.ConfigError{Problem: problem, Fix: fix})
}

// later adds a problem that init mends, or that is another role's.
func (p *Problems) later(problem, fix string) {
	if !p.Ahead {
		p.Add(problem, fix)
	}
}

// lacksRights adds a problem that is the role's, which lacks rights.
func (p *Problems) lacksRights(problem, fix string) {
	if !p.Ahead {
		p.Errs = append(p.Errs, &sink.ConfigError{Problem: problem, Fix: fix, Cause: pgerr.ErrDenied})
	}
}

// AddRefused adds a problem that an error of the server has shown.
func (p *Problems) AddRefused(problem, fix string, err error) {
	p.Errs = append(p.Errs, &sink.ConfigError{Problem: problem, Fix: fix, Cause: pgerr.Denied(err)})
}

func (p *Problems) Join() error { return errors.Join(p.Errs...) }
