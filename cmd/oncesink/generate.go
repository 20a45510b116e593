package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/orders"
)

// generator is what the flags of `oncesink generate` say.
type generator struct {
	brokers    []string
	topic      string
	partitions int32
	rate       float64
	count      int64
	seed       uint64
	check      bool
	file       string
	json       bool

	sent generateReport
}

// generateReport is what `oncesink generate --json` prints at its end.
type generateReport struct {
	Topic string `json:"topic"`
	Made  bool   `json:"made"` // the topic
	Had   int64  `json:"had"`  // events in it, before
	Sent  int64  `json:"sent"`
}

func newGenerateCommand() *cobra.Command {
	var g generator
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Send made-up order events to a topic",
		Long: `Sends order events to a topic, until it is stopped or has sent --count of them, for
trying things out. It creates the topic if it is missing. An event looks like

  {"order_id": 17, "customer": {"id": 4, "country": "ES"}, "status": "paid",
   "items": [{"sku": "SKU-0042", "quantity": 2, "price": 9.95}],
   "amount": 19.90,
   "placed_at": "2026-01-01T08:00:17Z", "updated_at": "2026-01-01T08:02:03.4Z"}

with the order's id as the record's key. Among the events are updates, repetitions, late
ones that arrive after a newer version, cancellations (tombstones), and orders that come
back after that. updated_at is the version: an order's newest one counts.

The same seed makes the same events. A generator that is started again goes on where the
topic ends.

With --file it sends the records of a file instead, one a line: the value, or the key, a tab and
the value, or the key and a tab alone, which is a tombstone.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if g.partitions < 1 || g.rate < 0 || g.count < 0 {
				return &usageError{errors.New("--partitions must be at least 1, --rate and --count not below 0")}
			}
			if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" && !cmd.Flags().Changed("brokers") {
				g.brokers = strings.Split(brokers, ",")
			}
			if g.file != "" {
				if g.check || g.count > 0 {
					return &usageError{errors.New("--file goes without --check and --count: it sends the records that are in the file")}
				}
			}
			out := cmd.OutOrStdout()
			if g.json {
				out = io.Discard
			}
			var err error
			if g.file != "" {
				err = g.send(cmd.Context(), cmd.InOrStdin(), out)
			} else {
				err = g.run(cmd.Context(), out)
			}
			if g.json && g.sent.Topic != "" {
				err = errors.Join(printJSON(cmd.OutOrStdout(), g.sent), err)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&g.brokers, "brokers", []string{"localhost:9092"}, "addresses to start from; KAFKA_BROKERS counts, too")
	f.StringVar(&g.topic, "topic", "orders", "topic to send to")
	f.Int32Var(&g.partitions, "partitions", 6, "of the topic, if it is created")
	f.Float64Var(&g.rate, "rate", 50, "events per second; 0 is as fast as possible")
	f.Int64Var(&g.count, "count", 0, "how many events to send; 0 is without end")
	f.Uint64Var(&g.seed, "seed", 1, "makes the same events")
	f.BoolVar(&g.check, "check", false, "send nothing; succeed if the topic is there")
	f.BoolVar(&g.json, "json", false, "print at the end what was sent, as JSON, and nothing else")
	f.StringVar(&g.file, "file", "", "send the records of this file; - is the standard input")
	return cmd
}

// setupTimeout bounds what comes before the first event.
const setupTimeout = 30 * time.Second

func (g *generator) run(ctx context.Context, out io.Writer) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(g.brokers...), kgo.ClientID("oncesink-generate"))
	if err != nil {
		return &usageError{fmt.Errorf("--brokers: %w", err)}
	}
	defer client.Close()
	skip, err := g.prepare(ctx, client, out)
	if err != nil || g.check {
		return err
	}
	made := orders.New(g.seed)
	for range skip {
		made.Next()
	}
	said := time.Now()
	n, err := orders.Produce(ctx, client, made, orders.Feed{
		Topic: g.topic, Rate: g.rate, Count: g.count,
		Sent: func(n int64) {
			if time.Since(said) >= 10*time.Second {
				said = time.Now()
				fmt.Fprintf(out, "%d events sent\n", n)
			}
		},
	})
	g.sent.Sent = n
	fmt.Fprintf(out, "stopped after %d events\n", n)
	return err
}

// prepare makes the topic if it is missing, and returns how many events are in it.
func (g *generator) prepare(ctx context.Context, client *kgo.Client, out io.Writer) (length int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if !g.check {
		made, err := orders.CreateTopic(ctx, client, g.topic, g.partitions)
		if err != nil {
			return 0, g.setupError(err)
		}
		g.sent.Made = made
		if made {
			fmt.Fprintf(out, "made topic %s with %d partitions\n", g.topic, g.partitions)
		}
	}
	length, err = orders.Length(ctx, client, g.topic)
	if err != nil {
		return 0, g.setupError(err)
	}
	g.sent.Topic, g.sent.Had = g.topic, length
	if !g.check {
		fmt.Fprintf(out, "sending to topic %s, which has %d events\n", g.topic, length)
	}
	return length, nil
}

// setupError says what to do about an error before the first event.
func (g *generator) setupError(err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("topic %s does not exist", g.topic)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &dial):
		return &environmentError{fmt.Sprintf("Kafka: %v: see that Kafka runs and that --brokers names it (%s)", err, strings.Join(g.brokers, ", "))}
	default:
		return err
	}
}
