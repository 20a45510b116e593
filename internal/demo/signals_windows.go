package demo

import "errors"

var errNoSignals = errors.New("processes can't be frozen on Windows: use WSL")

func (w *worker) freeze() error { return errNoSignals }
func (w *worker) wake() error   { return errNoSignals }
