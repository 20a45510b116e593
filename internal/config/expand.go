package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/oncesink/oncesink/internal/secret"
)

var variable = regexp.MustCompile(`\$?\$\{[^}]*\}?`)

var variableName = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}$`)

var customary = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

const filePrefix = "${file:"

// expand replaces ${NAME} by the variable's value, ${NAME:-TEXT} by TEXT if the
// variable is unset or empty, ${file:PATH} by what a file has, without the line ends behind it, and $${ by ${ literally. It says what is missing; of a secret, which may hold a ${ by chance, it
// names only what is written as variables are.
func expand(text string, guarded bool, lookup func(string) (string, bool)) (expanded string, problems []string) {
	expanded = variable.ReplaceAllStringFunc(text, func(ref string) string {
		if strings.HasPrefix(ref, "$$") {
			return ref[1:]
		}
		if path, ok := strings.CutPrefix(ref, filePrefix); ok && strings.HasSuffix(path, "}") {
			value, err := secret.ReadFile(filePrefix, strings.TrimSuffix(path, "}"))
			var unread *secret.Error
			if errors.As(err, &unread) {
				problems = append(problems, unread.Problem+"; write ${file:PATH} with a file that this program can read, or $${ for the characters ${ themselves")
			}
			return value
		}
		m := variableName.FindStringSubmatch(ref)
		if m == nil {
			problems = append(problems, "a ${ must begin ${NAME}, ${NAME:-DEFAULT} or ${file:PATH}; write $${ for the characters themselves")
			return ""
		}
		value, ok := lookup(m[1])
		switch {
		case m[2] != "" && value == "":
			return m[3]
		case !ok && guarded && !customary.MatchString(m[1]):
			problems = append(problems, "an environment variable that it names is not set; write $${ for the characters ${ themselves")
		case !ok:
			problems = append(problems, fmt.Sprintf("the environment variable %s is not set", m[1]))
		}
		return value
	})
	return expanded, problems
}
