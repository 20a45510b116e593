package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

// maxFile bounds the file whose records are sent.
const maxFile = 64 << 20

// send sends the records of a file, in its order.
func (g *generator) send(ctx context.Context, in io.Reader, out io.Writer) error {
	records, err := g.records(in)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(g.brokers...), kgo.ClientID("oncesink-generate"))
	if err != nil {
		return &usageError{fmt.Errorf("--brokers: %w", err)}
	}
	defer client.Close()
	if _, err := g.prepare(ctx, client, out); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return g.setupError(fmt.Errorf("send to topic %s: %w", g.topic, err))
	}
	g.sent.Sent = int64(len(records))
	fmt.Fprintf(out, "sent %s record(s)\n", thousands(len(records)))
	return nil
}

// records reads them: a line is a value, or a key, a tab and a value; nothing behind the tab is a tombstone.
func (g *generator) records(in io.Reader) ([]*kgo.Record, error) {
	if g.file != "-" {
		f, err := os.Open(g.file)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--file: %w", err)}
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", g.file, err)
	case len(text) > maxFile:
		return nil, &usageError{fmt.Errorf("--file %s: is larger than 64 MiB", g.file)}
	}
	var records []*kgo.Record
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		r := &kgo.Record{Topic: g.topic, Value: line}
		key, value, keyed := bytes.Cut(line, []byte("\t"))
		if keyed && (line[0] != '{' || json.Valid(key)) { // else the tab is within the value
			r.Key, r.Value = key, value
			if len(value) == 0 {
				r.Value = nil
			}
		}
		records = append(records, r)
	}
	return records, nil
}
