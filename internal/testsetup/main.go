// Command testsetup fetches what the tests would otherwise fetch in the middle of a
// run: the jars of Apache Kafka, and what the arguments name: versions of PostgreSQL, debezium, apicurio.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testconnect"
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

func run(ctx context.Context, args []string, out io.Writer) error {
	libs, err := testkafka.Install(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Apache Kafka %s: %s\n", testkafka.Version, libs)
	for _, arg := range args {
		name, dir := "PostgreSQL "+arg, ""
		switch arg {
		case "debezium":
			name = "Debezium " + testconnect.Debezium
			_, dir, err = testconnect.Install(ctx)
		case "apicurio":
			name = "Apicurio Registry " + testconnect.Apicurio
			_, dir, err = testconnect.InstallRegistry(ctx)
		default:
			dir, err = pgserver.Binaries(ctx, arg)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %s\n", name, dir)
	}
	return nil
}
