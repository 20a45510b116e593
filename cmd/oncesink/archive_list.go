package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/archive"
)

func newArchiveListCommand() *cobra.Command {
	var f placeFlags
	var ofFiles bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Say which offsets the files hold, and where there are gaps",
		Long: `Says of each partition which offsets the archive holds, by the names of its files: gaps between
them, and offsets that several files have, which do no harm. No broker is asked. --files names
each file, with its records and their times, which it is asked for.

A configuration is not needed with --from.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, files, err := f.files(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if ofFiles {
				held, err := a.All(cmd.Context(), f.topic)
				if err != nil {
					return err
				}
				return printHeld(cmd.OutOrStdout(), held, f.asJSON)
			}
			return printPartitions(cmd.OutOrStdout(), archive.Partitions(files), f.asJSON)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&ofFiles, "files", false, "name the files, with records and times")
	return cmd
}

// heldPart is what `oncesink archive list --json` prints of a partition. Ranges are of offsets, the end excluded.
type heldPart struct {
	Topic     string     `json:"topic"`
	TopicID   string     `json:"topic_id"`
	Partition int32      `json:"partition"`
	Held      [][2]int64 `json:"held"`
	Overlaps  [][2]int64 `json:"overlaps"`
	Files     int        `json:"files"`
	Bytes     int64      `json:"bytes"`
}

func pairs(spans []archive.Span) [][2]int64 {
	out := make([][2]int64, 0, len(spans))
	for _, s := range spans {
		out = append(out, [2]int64{s.First, s.End})
	}
	return out
}

func printPartitions(w io.Writer, parts []archive.Partition, asJSON bool) error {
	if asJSON {
		out := make([]heldPart, 0, len(parts))
		for _, p := range parts {
			out = append(out, heldPart{p.Partition.Topic, p.TopicID.String(), p.Partition.Partition, pairs(p.Spans), pairs(p.Overlaps), p.Files, p.Bytes})
		}
		return printJSON(w, out)
	}
	topic := ""
	for _, p := range parts {
		if heading := fmt.Sprintf("%s, topic id %s", p.Partition.Topic, p.TopicID); heading != topic {
			fmt.Fprintln(w, heading)
			topic = heading
		}
		fmt.Fprintf(w, "  partition %d: offsets %d to %d in %d files, %d bytes\n", p.Partition.Partition, p.Spans[0].First, p.Spans[len(p.Spans)-1].End-1, p.Files, p.Bytes)
		for i := 1; i < len(p.Spans); i++ {
			fmt.Fprintf(w, "    gap: offsets %d to %d\n", p.Spans[i-1].End, p.Spans[i].First-1)
		}
		for _, o := range p.Overlaps {
			fmt.Fprintf(w, "    twice: offsets %d to %d\n", o.First, o.End-1)
		}
	}
	return nil
}

// heldFile is what `oncesink archive list --files --json` prints of a file.
type heldFile struct {
	File     string     `json:"file"`
	First    int64      `json:"first"` // offset
	End      int64      `json:"end"`   // the offset after the last one
	Records  int64      `json:"records"`
	Bytes    int64      `json:"bytes"`
	LogBytes int64      `json:"log_bytes"`
	From     *time.Time `json:"from"` // times of the records
	To       *time.Time `json:"to"`
}

func printHeld(w io.Writer, held []archive.Held, asJSON bool) error {
	out := make([]heldFile, 0, len(held))
	for _, h := range held {
		f := heldFile{File: h.Name(), First: h.First, End: h.End, Records: h.Records, Bytes: h.Bytes, LogBytes: h.LogBytes}
		times := "no records"
		if !h.To.IsZero() {
			from, to := h.From.UTC(), h.To.UTC()
			f.From, f.To = &from, &to
			times = from.Format(time.RFC3339) + " to " + to.Format(time.RFC3339)
		}
		out = append(out, f)
		if !asJSON {
			fmt.Fprintf(w, "%s: %d records, %d bytes, %s\n", f.File, f.Records, f.Bytes, times)
		}
	}
	if asJSON {
		return printJSON(w, out)
	}
	return nil
}

func newArchiveVerifyCommand() *cobra.Command {
	var f placeFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read all files, and say which are damaged",
		Long: `Reads every file from its beginning to its end, and compares it with its checksums, its counts
and its SHA-256; and every schema with the SHA-256 in its name. Ends with 1 if a file is damaged, after it has read them all. Gaps are no
damage: list shows them.

A configuration is not needed with --from.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, files, err := f.files(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return f.verify(cmd.Context(), cmd.OutOrStdout(), a, files)
		},
	}
	f.add(cmd)
	return cmd
}

// archiveReport is what `oncesink archive verify --json` prints.
type archiveReport struct {
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"`
	Records int64    `json:"records"`
	Schemas int      `json:"schemas"`                   // that records name
	Missing []string `json:"missing_schemas,omitempty"` // of which only the name is known
	Damaged []string `json:"damaged"`                   // what is wrong with each file
}

// verifyAtOnce is how many files are read at a time.
const verifyAtOnce = 4

func (f *placeFlags) verify(ctx context.Context, w io.Writer, a *archive.Archive, files []archive.File) error {
	r := archiveReport{Damaged: []string{}}
	held, errs := make([]archive.Held, len(files)), make([]error, len(files))
	var reading sync.WaitGroup
	room := make(chan struct{}, verifyAtOnce)
	for i, file := range files {
		room <- struct{}{}
		reading.Go(func() {
			defer func() { <-room }()
			held[i], errs[i] = a.Verify(ctx, file)
		})
	}
	reading.Wait()
	var other []error
	for i, err := range errs {
		var damage *archive.DamagedError
		switch {
		case errors.As(err, &damage):
			r.Damaged = append(r.Damaged, damage.Error())
		case err != nil:
			other = append(other, err)
			continue
		}
		r.Files, r.Bytes, r.Records = r.Files+1, r.Bytes+files[i].Bytes, r.Records+held[i].Records
	}
	schemas, damaged, err := a.VerifySchemas(ctx)
	other = append(other, err)
	missing, err := a.MissingSchemas(ctx)
	r.Schemas, other = schemas, append(other, err)
	for _, ref := range missing {
		r.Missing = append(r.Missing, ref.String())
	}
	for _, d := range damaged {
		r.Damaged = append(r.Damaged, d.Error())
	}
	if f.asJSON {
		other = append(other, printJSON(w, r))
	} else {
		for _, ref := range r.Missing {
			printWrapped(w, "", fmt.Sprintf("missing: the schema %s, which records name and whose registry could not be asked: the next `oncesink archive run` asks again", ref))
		}
		for _, d := range r.Damaged {
			printWrapped(w, "", d)
		}
		with := ""
		if r.Schemas > 0 {
			with = fmt.Sprintf(", and %d schemas", r.Schemas)
		}
		fmt.Fprintf(w, "%d files read, %d bytes, %d records%s: %d damaged\n", r.Files, r.Bytes, r.Records, with, len(r.Damaged))
	}
	if len(r.Damaged) > 0 {
		other = append(other, fmt.Errorf("archive verify: %d of %d files are damaged", len(r.Damaged), len(files)+r.Schemas))
	}
	return errors.Join(other...)
}
