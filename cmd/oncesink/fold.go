package main

import (
	"fmt"
	"regexp"
)

// alikeTold is how many sentences are told that differ in their numbers alone.
const alikeTold = 3

var digits = regexp.MustCompile(`\d+`)

// foldAlike leaves out, for a person, sentences that say the same of more partitions, and says how many there are.
func foldAlike(sentences []string) (out []string) {
	alike, at := map[string]int{}, map[string]int{}
	for _, s := range sentences {
		kind := digits.ReplaceAllString(s, "#")
		alike[kind]++
		if alike[kind] <= alikeTold+1 {
			at[kind] = len(out)
			out = append(out, s)
		}
	}
	for kind, n := range alike {
		if n > alikeTold+1 {
			out[at[kind]] = fmt.Sprintf("and %d more like the last: --json has them all", n-alikeTold)
		}
	}
	return out
}
