package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
)

// checkReport is what `oncesink check --json` prints.
type checkReport struct {
	Group    string                `json:"group"`
	Tables   []mapping.TableReport `json:"tables"`
	Topics   []topicReport         `json:"topics"`
	LeftOut  []leftOutReport       `json:"left_out,omitempty"` // topics that match a pattern and are not read
	Rollups  []rollupReport        `json:"rollups"`
	History  []historyReport       `json:"incomplete_history"`
	Warnings []string              `json:"warnings"`
	Sample   *sampleReport         `json:"sample,omitempty"`
}

type topicReport struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Start      string `json:"start"`
	// First are the positions that partitions without one would be given now.
	First []firstReport `json:"first_positions"`
}

type leftOutReport struct {
	Topic string `json:"topic"`
	Why   string `json:"why"`
}

type firstReport struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

type rollupReport struct {
	Rollup string      `json:"rollup"`
	Table  string      `json:"table"`
	Mode   rollup.Mode `json:"mode"`
}

// historyReport is a table that was added after its topic's first position.
type historyReport struct {
	Table     string `json:"table"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Since     int64  `json:"since"`
}

func newCheckCommand() *cobra.Command {
	var f flags
	var asJSON, sql, schema, strict bool
	var sample int
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Connect, change nothing, and say what run would do",
		Long: `Connects to both ends, changes nothing, and says how events become rows: each table's
columns and where they come from, its topics and where they start, what a person should
know, and with --sql the exact statements.

What run refuses when it starts, or halts a partition on before it has read a record, is
refused here, with 2 and the same words: the server plans every statement and executes
none, the ledger is asked about the mapping, each position is compared with its log.

It looks for what keeps the same events from giving the same rows: defaults that call the
clock or a sequence, triggers that write, cascades, unlogged tables and more; each with why,
and what to do (docs/lint.md). With a finding of severity error it ends with 3, with --strict
also with a warning. accept: in the table's entry names what is all right.

--sample N reads the last N records of each topic, up to 100000, and tells by count what
would become of them: rows, dead letters by code and column, fields that no column takes,
columns that no field fills. It prints no value. The server tries the rows on temporary
copies of the tables, one event after the other, so that foreign keys, unique indexes,
triggers, policies and missing partitions are not seen. A read ends after a minute. It
ends with 3 if no record of a topic passes, with --strict if there is one dead letter.

--schema prints the JSON Schema of the configuration file, for editors, and connects to
nothing.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			if sample < 0 || sample > maxSample {
				return &usageError{fmt.Errorf("--sample %d: a number from 1 to %d", sample, maxSample)}
			}
			if schema {
				_, err := fmt.Fprint(out, docs.ConfigSchema)
				return err
			}
			s, err := loadTables(f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.close()
			r, p, err := s.check(ctx)
			if err == nil && sample > 0 {
				r.Sample, err = s.sample(ctx, p.sink, sample)
			}
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(out, r)
			} else {
				r.print(out, sql)
			}
			return errors.Join(err, r.found(strict))
		},
	}
	f.add(cmd)
	f.addFromArchive(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&strict, "strict", false, "end with 3 for warnings, too")
	cmd.Flags().IntVar(&sample, "sample", 0, "read the last `N` records of each topic and tell what would become of them")
	cmd.Flags().BoolVar(&sql, "sql", false, "print the exact SQL of each table")
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the configuration and connect to nothing")
	return cmd
}

func (s *session) check(ctx context.Context) (*checkReport, *prepared, error) {
	p, err := s.prepare(ctx)
	if err == nil {
		err = p.passing
	}
	if err == nil {
		err = p.halted()
	}
	if err != nil {
		return nil, nil, s.scrub(err)
	}
	r := &checkReport{
		Group: s.consumer.Group, Tables: p.sink.Describe(), Topics: []topicReport{}, Rollups: []rollupReport{},
		Warnings: append(append([]string{}, s.cfg.Warnings()...), slices.Concat(p.warnings, p.outlook.Missing)...),
	}
	findings, err := p.sink.Lint(ctx)
	if err != nil {
		return nil, nil, s.scrub(err)
	}
	for i := range r.Tables {
		r.Tables[i].Findings = findings[i]
	}
	if why := p.sink.ReplayRefused(); why != "" {
		r.Warnings = append(r.Warnings, "this group can't be rewound: "+why)
	}
	if err := s.conn(ctx, func(c *pgx.Conn) error {
		all, err := rollup.Open(ctx, c, s.rollups)
		for _, x := range all {
			r.Rollups = append(r.Rollups, rollupReport{x.Name(), x.Table, x.Mode})
		}
		return err
	}); err != nil {
		return nil, nil, s.scrub(err)
	}
	for _, l := range s.leftOut {
		r.LeftOut = append(r.LeftOut, leftOutReport(l))
	}
	for _, t := range s.meta.Topics.Sorted() {
		report := topicReport{Topic: t.Topic, Partitions: len(t.Partitions), Start: startText(s.consumer.Topics[t.Topic]), First: []firstReport{}}
		for _, f := range p.outlook.First {
			if f.Topic == t.Topic {
				report.First = append(report.First, firstReport{f.Partition.Partition, f.Offset})
			}
		}
		r.Topics = append(r.Topics, report)
	}
	histories, err := p.ledger.History(ctx)
	if err != nil {
		return nil, nil, s.scrub(err)
	}
	r.History = historyReports(histories)
	return r, p, nil
}

func historyReports(histories []offsets.TableHistory) []historyReport {
	out := make([]historyReport, len(histories))
	for i, h := range histories {
		out[i] = historyReport{h.Target, h.Topic, h.Partition.Partition, h.Since}
	}
	return out
}

// firsts says where the first partitions without a position would start.
func (t *topicReport) firsts() string {
	const most = 6
	another := func(f firstReport) bool { return f.Offset != t.First[0].Offset }
	if n := len(t.First); n > 1 && !slices.ContainsFunc(t.First, another) {
		return fmt.Sprintf("%d partitions would start at %d", n, t.First[0].Offset)
	}
	var s []string
	for _, f := range t.First[:min(most, len(t.First))] {
		s = append(s, fmt.Sprintf("partition %d would start at %d", f.Partition, f.Offset))
	}
	if n := len(t.First) - most; n > 0 {
		s = append(s, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(s, ", ")
}

func startText(s consumer.Start) string {
	switch s.At {
	case consumer.Latest:
		return "latest"
	case consumer.Committed:
		return "committed"
	case consumer.Timestamp:
		return s.Time.Format("2006-01-02T15:04:05Z07:00")
	}
	return "earliest"
}

func (r *checkReport) print(w io.Writer, sql bool) {
	fmt.Fprintf(w, "group %s\n", r.Group)
	for _, t := range r.Topics {
		printWrapped(w, "", fmt.Sprintf("topic %s: %d partition(s); one without a position starts at %s", t.Topic, t.Partitions, t.Start))
		if len(t.First) > 0 {
			printWrapped(w, "  ", t.firsts())
		}
	}
	for _, t := range r.LeftOut {
		printWrapped(w, "", fmt.Sprintf("topic %s: matches a pattern, and is left out: %s", t.Topic, t.Why))
	}
	for _, t := range r.Tables {
		fmt.Fprintln(w)
		printWrapped(w, "", fmt.Sprintf("table %s: %s from %s", t.Table, t.Strategy, strings.Join(t.Topics, ", ")))
		width := 0
		for _, c := range t.Columns {
			width = max(width, len(c.Name)+len(c.Type)+1)
		}
		for _, c := range t.Columns {
			fmt.Fprintf(w, "  %-*s  <- %s\n", width, c.Name+" "+c.Type, c.From)
		}
		printWrapped(w, "  ", "rows go by "+t.Way)
		for _, f := range t.Findings {
			printWrapped(w, "  ", f.String())
		}
		if sql {
			for _, statement := range t.Statements {
				fmt.Fprintf(w, "\n%s;\n", statement)
			}
		}
	}
	for _, x := range r.Rollups {
		fmt.Fprintln(w)
		printWrapped(w, "", fmt.Sprintf("rollup %s: of %s, %s", x.Rollup, x.Table, x.Mode))
	}
	if len(r.History) > 0 {
		fmt.Fprintln(w, "\nThese tables lack the events before:")
		for _, h := range r.History {
			printWrapped(w, "  ", fmt.Sprintf("%s: %s/%d offset %d", h.Table, h.Topic, h.Partition, h.Since))
		}
		fmt.Fprintln(w, "`oncesink replay` brings them, as far as the log still has them.")
	}
	for _, warning := range foldAlike(r.Warnings) {
		printWrapped(w, "", "warning: "+warning)
	}
	if r.Sample != nil {
		r.Sample.print(w)
	}
	if n := len(r.of(tables.Changes)); n > 0 {
		fmt.Fprintln(w)
		printWrapped(w, "", fmt.Sprintf("ready to run; %d finding(s) keep the same events from giving the same rows: docs/lint.md", n))
		return
	}
	fmt.Fprintln(w, "\nready to run")
}

// of returns the findings of a severity.
func (r *checkReport) of(s tables.Severity) (found []tables.Finding) {
	for _, t := range r.Tables {
		for _, f := range t.Findings {
			if f.Severity == s {
				found = append(found, f)
			}
		}
	}
	return found
}

// found is the error that findings, and the dead letters of a sample, are; nil if there are none that count.
func (r *checkReport) found(strict bool) error {
	findings := r.of(tables.Changes)
	if strict {
		findings = append(findings, r.of(tables.Surprises)...)
	}
	var errs []error
	if len(findings) > 0 {
		errs = append(errs, &findingsError{findings})
	}
	if r.Sample != nil {
		errs = append(errs, r.Sample.found(strict))
	}
	return errors.Join(errs...)
}

// findingsError ends a check that found what it looks for.
type findingsError struct{ findings []tables.Finding }

func (e *findingsError) Error() string {
	accept := e.findings[0].Code
	if object := e.findings[0].Object; object != "" {
		accept += ":" + object
	}
	return fmt.Sprintf("%d finding(s): correct them, or accept them in the table's entry, as in accept: [%q]", len(e.findings), accept)
}
