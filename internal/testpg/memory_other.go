//go:build !linux

package testpg

// memory returns no directory: see memory_linux.go.
func memory() []string { return nil }
