package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/ddl"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/sink"
)

func newSchemaCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "schema TABLE",
		Short: "Print the statement that makes a table by its schema",
		Long: `Prints the statement that creates a table of the configuration, by the newest schema of its
topics and by what its entry says: a column for each field of the row, with the type that
takes all its values, the key not null. It is what init executes for create: auto.

The schema is that of the subject TOPIC-value in the registry, or of the one that the topic
names as subject:. If the registry is not there, the one that the topic was read with last,
from oncesink.schemas. Of JSON as Kafka Connect writes it, the schema in the newest records.
A type never comes from a value.

What has no type without doubt, such as a field that may be a number or a text, is a comment
that says what is to be decided. Nothing is executed.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("name one table of the configuration: see `oncesink schema --help`")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := loadTables(f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.close()
			if err := s.knowTables(cmd.Context()); err != nil {
				return err
			}
			name, err := s.entry(args[0])
			if err != nil {
				return err
			}
			t, err := s.tableOf(cmd.Context(), name)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), schemaReport{name, t.SQL() + ";"})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), t.SQL()+";")
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}

// schemaReport is what `oncesink schema --json` prints.
type schemaReport struct {
	Table     string `json:"table"`
	Statement string `json:"statement"`
}

// entry finds a table of the configuration, with its schema or without.
func (s *session) entry(name string) (string, error) {
	path := s.sinkCfg.SearchPath
	if path == "" {
		path = mapping.DefaultSearchPath
	}
	qualified := func(name string) string {
		schema, table, err := pgname.Qualify(name, path)
		if err != nil {
			return name
		}
		return schema + "." + table
	}
	var all []string
	for _, t := range s.sinkCfg.Tables {
		if t.Name == name || qualified(t.Name) == qualified(name) {
			return t.Name, nil
		}
		all = append(all, t.Name)
	}
	return "", &usageError{fmt.Errorf("the configuration has no table %q: it has %s", name, strings.Join(all, ", "))}
}

// tableOf makes a table of the configuration by the schemas of its topics.
func (s *session) tableOf(ctx context.Context, name string) (*ddl.Table, error) {
	shapes := map[string]*ddl.Shapes{}
	for _, topic := range s.topicsOf(name) {
		of, err := s.shapes(ctx, topic)
		if err != nil {
			return nil, s.scrub(fmt.Errorf("table %s: %w", name, err))
		}
		shapes[topic] = of
	}
	if err := s.keyByRecords(ctx, name, shapes); err != nil {
		return nil, s.scrub(fmt.Errorf("table %s: %w", name, err))
	}
	t, err := ddl.New(s.sinkCfg, name, shapes)
	return t, s.scrub(err)
}

// keyByRecords gives a table that a pattern made, and that has no key in the file, the fields of its topic's record keys.
func (s *session) keyByRecords(ctx context.Context, name string, shapes map[string]*ddl.Shapes) error {
	i := slices.IndexFunc(s.sinkCfg.Tables, func(t sink.TableConfig) bool { return t.Name == name })
	if i < 0 || !slices.Contains(s.made, name) || len(s.cfg.Tables[i].Key) > 0 || s.sinkCfg.Tables[i].Strategy == sink.Append {
		return nil
	}
	t := &s.cfg.Tables[i]
	topic := s.topicsOf(name)[0]
	shape := shapes[topic].Key
	if _, format := mapping.FormatsOf(s.sinkCfg.Topics[topic]); shape == nil && (format == sink.Avro || format == sink.Protobuf) {
		var err error
		if shape, _, err = s.registered(ctx, topic, true); err != nil {
			return err
		}
	}
	if shape != nil {
		for _, f := range shape.Fields {
			t.Key = append(t.Key, f.Name)
		}
	}
	if len(t.Key) == 0 {
		return &sink.ConfigError{Problem: "no schema says which fields the record keys of topic " + topic + " have", Fix: "give the pattern's table a `key:`"}
	}
	return s.use(s.cfg)
}

// topicsOf are the topics that feed a table, or its parent.
func (s *session) topicsOf(name string) []string {
	i := slices.IndexFunc(s.sinkCfg.Tables, func(t sink.TableConfig) bool { return t.Name == name })
	cfg := mapping.WithDefaults(s.sinkCfg)
	if parent := mapping.ParentOf(cfg.Tables, &cfg.Tables[i]); parent != nil {
		return parent.Topics
	}
	return cfg.Tables[i].Topics
}

// automatic puts the statement in the place of create: auto, for the tables that are missing; for all of them if nobody can look.
func (s *session) automatic(ctx context.Context) error {
	create := map[int]string{}
	for i := range s.sinkCfg.Tables {
		tc := &s.sinkCfg.Tables[i]
		if tc.Create != sink.CreateAuto {
			continue
		}
		if there, err := s.exists(ctx, tc.Name); err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		t, err := s.tableOf(ctx, tc.Name)
		if err != nil {
			return err
		}
		tc = &s.sinkCfg.Tables[i]
		if open := t.Undecided(tc); len(open) > 0 {
			return &sink.ConfigError{Problem: fmt.Sprintf("table %s can't be created by its schema alone (create: auto): %s", tc.Name, strings.Join(open, "; ")),
				Fix: "complete what `oncesink schema " + tc.Name + "` prints, and give it as `create:`"}
		}
		create[i] = t.SQL()
	}
	for i, sql := range create {
		s.sinkCfg.Tables[i].Create = sql
	}
	return nil
}

// exists reports whether there is a table of a name. Without a connection nobody knows of any.
func (s *session) exists(ctx context.Context, name string) (there bool, err error) {
	if s.pool == nil {
		return false, nil
	}
	err = s.conn(ctx, func(c *pgx.Conn) error {
		there, err = schema.Exists(ctx, c, s.sinkCfg, name)
		return err
	})
	return there, s.scrub(err)
}
