package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/letters"
)

func newLettersExportCommand() *cobra.Command {
	var f letterFlags
	var output string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write dead letters and their records as JSON lines",
		Long: `Writes the open dead letters that the filters pick as JSON, one object a line,
whole, by topic, partition and offset: the place, the record's time, key, value
and headers in base64 (null where there is none), the error's code, message,
table and column, what became of the letter and how often it was refused. It
changes nothing. However many there are, one at a time is in memory.

With --output the file is there when it is complete, and not before; only its
owner may read it.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			statuses, err := f.statuses()
			if err != nil {
				return err
			}
			return f.withLetters(cmd, func(ctx context.Context, _ *session, g letters.Group, filter letters.Filter) error {
				write := func(w io.Writer) (n int64, err error) {
					out := bufio.NewWriter(w)
					enc := json.NewEncoder(out)
					enc.SetEscapeHTML(false)
					err = g.Each(ctx, filter, statuses, func(l *letters.Letter) error {
						n++
						return enc.Encode(exported(l))
					})
					return n, errors.Join(err, out.Flush())
				}
				if output == "" || output == "-" {
					_, err := write(cmd.OutOrStdout())
					return err
				}
				n, err := writeFile(output, write)
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%d dead letter(s) in %s\n", n, output)
				}
				return err
			})
		},
	}
	f.add(cmd)
	f.addStatus(cmd, "open")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write this file (default standard output)")
	return cmd
}

// writeFile writes a file beside the one that is named, whose name it gets when it is complete. Records are nobody else's to read.
func writeFile(name string, write func(io.Writer) (int64, error)) (n int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(name), ".oncesink-export-*")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = file.Close() // it is closed, or about to be removed
			_ = os.Remove(file.Name())
		}
	}()
	if n, err = write(file); err != nil {
		return n, err
	}
	if err = file.Sync(); err != nil {
		return n, err
	}
	if err = file.Close(); err != nil {
		return n, err
	}
	return n, os.Rename(file.Name(), name)
}

// exportedLetter is a line of an export. Bytes are in base64.
type exportedLetter struct {
	Topic      string           `json:"topic"`
	Partition  int32            `json:"partition"`
	Offset     int64            `json:"offset"`
	Time       *time.Time       `json:"time"`
	Key        []byte           `json:"key"`
	Value      []byte           `json:"value"`
	Headers    []exportedHeader `json:"headers"`
	Code       string           `json:"code"`
	Message    string           `json:"message"`
	Table      string           `json:"table"`
	Column     string           `json:"column"`
	Constraint string           `json:"constraint"`
	Status     string           `json:"status"`
	Attempts   int32            `json:"attempts"`
	Recorded   time.Time        `json:"recorded_at"`
	Generation int32            `json:"generation"`
}

type exportedHeader struct {
	Name  []byte `json:"name"`
	Value []byte `json:"value"`
}

func exported(l *letters.Letter) exportedLetter {
	headers := make([]exportedHeader, 0, len(l.Headers))
	for _, h := range l.Headers {
		headers = append(headers, exportedHeader{[]byte(h.Key), h.Value})
	}
	return exportedLetter{l.Topic, l.Partition, l.Offset, l.Time, l.Key, l.Value, headers, l.Code, l.Message, l.Table, l.Column, l.Constraint,
		l.Status, l.Attempts, l.Recorded, l.Generation}
}
