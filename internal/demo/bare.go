package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Servers starts a broker and a private PostgreSQL with nothing in them, says how to reach them, and keeps them until ctx ends.
// Then it stops them, and removes what they held unless Dir names where to keep it.
func Servers(ctx context.Context, opts Options) (err error) {
	fmt.Fprintln(opts.Out, "starting a broker that speaks Kafka's protocol, and a private PostgreSQL")
	dir, err := workDir(opts.Dir)
	if err != nil {
		return err
	}
	if opts.Dir == "" {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	s, err := startServers(ctx, dir)
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	if err != nil {
		return err
	}
	if opts.JSON != nil {
		if err := json.NewEncoder(opts.JSON).Encode(map[string]any{"brokers": s.brokers, "database_url": s.url}); err != nil {
			return errors.Join(err, s.stop(context.WithoutCancel(ctx)))
		}
	}
	fmt.Fprintf(opts.Out, `They stay up until you press ctrl-C. In another terminal:

  export KAFKA_BROKERS=%s
  export DATABASE_URL=%s

`, strings.Join(s.brokers, ","), s.url)
	<-ctx.Done()
	fmt.Fprintln(opts.Out, "stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return s.stop(stop)
}
