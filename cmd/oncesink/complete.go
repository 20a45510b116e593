package main

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/letters"
)

// addCompletions has shells complete the names that the configuration has: of topics, tables and rollups. A configuration that
// can't be read has none.
func addCompletions(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		addCompletions(sub)
	}
	_, argument, _ := strings.Cut(cmd.Use, " ")
	switch argument = strings.Trim(argument, "[]."); {
	case cmd.HasSubCommands() || cmd.ValidArgsFunction != nil:
	case strings.HasPrefix(argument, "TABLE"):
		cmd.ValidArgsFunction = once(names((*config.Config).TableNames))
	case strings.HasPrefix(argument, "NAME") && cmd.HasParent() && cmd.Parent().Name() == "rollup":
		cmd.ValidArgsFunction = once(names(rollupNames))
	case argument == "TOPIC[/PARTITION":
		cmd.ValidArgsFunction = names((*config.Config).TopicNames)
	case strings.HasPrefix(argument, "TOPIC"):
		cmd.ValidArgsFunction = once(names((*config.Config).TopicNames))
	default:
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if complete := ofFlag(cmd, f.Name); complete != nil {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // it is registered once
		}
	})
}

// ofFlag completes the value of a flag, nil if nothing is known of it.
func ofFlag(cmd *cobra.Command, name string) cobra.CompletionFunc {
	switch name {
	case "config":
		return cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)
	case "log-level":
		return cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp)
	case "status":
		return cobra.FixedCompletions(append([]string{"open", "all"}, letters.All...), cobra.ShellCompDirectiveNoFileComp)
	case "table":
		return names((*config.Config).TableNames)
	case "topic":
		if cmd.Flags().Lookup("config") != nil {
			return names((*config.Config).TopicNames)
		}
	}
	return nil
}

// names completes with names of the configuration that the command line names, or the environment.
func names(of func(*config.Config) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		file, _ := cmd.Flags().GetString("config") // there is one where there are names
		if file == "-" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		f := flags{config: file, stdin: func() io.Reader { return strings.NewReader("") }}
		name, text, err := f.read()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, err := config.Parse(name, text, os.LookupEnv)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		known := slices.DeleteFunc(of(cfg), func(n string) bool { return slices.Contains(args, n) })
		return known, cobra.ShellCompDirectiveNoFileComp
	}
}

// once completes the first argument alone.
func once(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, begun)
	}
}

func rollupNames(cfg *config.Config) (out []string) {
	for _, r := range cfg.Rollups {
		out = append(out, r.Name)
	}
	return out
}
