package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/sink"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Look at the configuration, without a server",
		Long: `Reads the configuration and connects to nothing: validate says what is wrong with it, show what is in
effect. oncesink check --schema prints its JSON Schema, for editors.

The file is the one that --config names, else ONCESINK_CONFIG, else oncesink.yaml; - is
standard input.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("name what to do: validate or show: see `%s --help`", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newConfigValidateCommand(), newConfigShowCommand())
	return cmd
}

// configReport is what `oncesink config validate --json` prints.
type configReport struct {
	File     string          `json:"file"`
	Valid    bool            `json:"valid"`
	Tables   int             `json:"tables"`
	Topics   int             `json:"topics"` // that are named, and patterns of topics
	Rollups  int             `json:"rollups"`
	Problems []configProblem `json:"problems"`
	Warnings []string        `json:"warnings"`
}

// configProblem is one thing that is wrong. Line and column count from 1; 0 where it has no place.
type configProblem struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Message string `json:"message"`
}

func newConfigValidateCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Say what is wrong with the configuration, without a server",
		Long: `Reads the configuration as run does, the environment variables and files that it names included, and
says all that is wrong with it at once, with line and column; it connects to nothing. What only
the servers know, such as whether a table has a column, oncesink check says.

Ends with 2 if anything is wrong.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, text, err := f.read()
			r := &configReport{File: name, Problems: []configProblem{}, Warnings: []string{}}
			if err == nil {
				err = r.validate(text)
			}
			if !asJSON {
				if err == nil {
					r.print(cmd.OutOrStdout())
				}
				return err
			}
			if err = r.note(err); err != nil {
				return err
			}
			if err := printJSON(cmd.OutOrStdout(), r); err != nil || r.Valid {
				return err
			}
			return &environmentError{fmt.Sprintf("%s: %d problem(s)", r.File, len(r.Problems))}
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, the problems too")
	return cmd
}

// validate reads the configuration, and what it needs of files.
func (r *configReport) validate(text []byte) error {
	cfg, err := config.Parse(r.File, text, os.LookupEnv)
	if err != nil {
		return err
	}
	c, err := cfg.ToConsumer()
	if err != nil {
		return err
	}
	r.Valid, r.Tables, r.Topics, r.Rollups = true, len(cfg.Tables), len(c.Topics), len(cfg.Rollups)
	r.Warnings = append(r.Warnings, cfg.Warnings()...)
	return nil
}

// note keeps what is wrong with the configuration, and returns what else is.
func (r *configReport) note(err error) error {
	var conf *config.Error
	var set *sink.ConfigError
	switch {
	case errors.As(err, &conf):
		for _, p := range conf.Problems {
			r.Problems = append(r.Problems, configProblem{p.Line, p.Column, p.Path, p.Message})
		}
		return nil
	case errors.As(err, &set):
		r.Problems = append(r.Problems, configProblem{Message: set.Error()})
		return nil
	}
	return err
}

func (r *configReport) print(w io.Writer) {
	text := fmt.Sprintf("%s is valid: %d table(s) of %d topic(s)", r.File, r.Tables, r.Topics)
	if r.Rollups > 0 {
		text += fmt.Sprintf(", %d rollup(s)", r.Rollups)
	}
	printWrapped(w, "", text+". `oncesink check` compares it with the servers")
	for _, x := range r.Warnings {
		printWrapped(w, "", "warning: "+x)
	}
}

func newConfigShowCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration that is in effect, without secrets",
		Long: `Prints the configuration that is in effect, with the defaults, and where each value comes from: its
line, and the environment variables in it. It is YAML that can be read again; with --json the values
and, by key, their origins.

Secrets are shown as ***, or as the ${NAME} that stands for one; of the connection to PostgreSQL
it says role, database and host.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, text, err := f.read()
			if err != nil {
				return err
			}
			shown, err := config.Show(name, text, os.LookupEnv)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), struct {
					File          string            `json:"file"`
					Configuration map[string]any    `json:"configuration"`
					Origins       map[string]string `json:"origins"`
				}{name, shown.Values, shown.Origins})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "# %s\n%s", name, shown.YAML())
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
