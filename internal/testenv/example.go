package testenv

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// Example is what an Example function gives to a helper that asks for a test: it has none. What fails panics.
type Example struct {
	testing.TB // none of its methods but those below
	name       string
	cleanups   []func()
}

// NewExample begins an example; the caller ends it by Stop.
func NewExample(name string) *Example { return &Example{name: name} }

// Stop runs what the helpers registered, the last one first.
func (e *Example) Stop() {
	for _, f := range slices.Backward(e.cleanups) {
		f()
	}
}

// Helper does nothing.
func (e *Example) Helper() {}

// Name is the example's.
func (e *Example) Name() string { return e.name }

// Context does not end by itself.
func (e *Example) Context() context.Context { return context.Background() }

// Cleanup has f run by Stop.
func (e *Example) Cleanup(f func()) { e.cleanups = append(e.cleanups, f) }

// Fatal panics.
func (e *Example) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Fatalf panics.
func (e *Example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// TempDir makes a folder that Stop removes.
func (e *Example) TempDir() string {
	dir, err := os.MkdirTemp("", "oncesink-example-")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
