//go:build unix

package main

import "testing"

func TestPlainNumbers(t *testing.T) {
	for v, want := range map[float64]string{1: "1", 10000: "10000", 1234567: "1234567", 12.34: "12.3", 0.05: "0.05", 1.5: "1.5", 999.6: "1000", 100: "100", 0.001234: "0.00123"} {
		if got := plain(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
