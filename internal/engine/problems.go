package engine

import (
	"errors"

	"github.com/oncesink/oncesink/sink"
)

// problems gathers what is wrong with the configuration.
type problems struct {
	errs []error
	// ahead of init: what init mends, and what the role that runs later lacks, is no problem yet.
	ahead bool
}

func (p *problems) add(problem, fix string) {
	p.errs = append(p.errs, &sink.ConfigError{Problem: problem, Fix: fix})
}

// later adds a problem that init mends, or that is another role's.
func (p *problems) later(problem, fix string) {
	if !p.ahead {
		p.add(problem, fix)
	}
}

func (p *problems) join() error { return errors.Join(p.errs...) }
