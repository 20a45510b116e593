// Command testsetup fetches what the tests would otherwise fetch in the middle of a
// run: the jars of Apache Kafka, and the PostgreSQL versions given as arguments.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testsetup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, versions []string, out io.Writer) error {
	libs, err := testkafka.Install(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Apache Kafka %s: %s\n", testkafka.Version, libs)
	for _, version := range versions {
		bin, err := pgserver.Binaries(ctx, version)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "PostgreSQL %s: %s\n", version, bin)
	}
	return nil
}
