package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/config"
)

// healthTimeout bounds how long a probe waits for its answer.
const healthTimeout = 3 * time.Second

func newHealthCommand() *cobra.Command {
	var f flags
	var ready, asJSON bool
	var address string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running process whether it is well",
		Long: `Asks the admin listener of a process on this machine, as a probe of a container does: whether
its loops turn (/livez), and with --ready whether it has begun, both servers answer, and it
was not told to end (/readyz). It connects to neither Kafka nor PostgreSQL.

The listener is looked for where --admin-listen says, or ONCESINK_ADMIN_LISTEN, or the
configuration, if one is named; otherwise at 127.0.0.1:9187.

Ends with 0 if it is well, and with 1 if it is not, or does not answer.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var a config.Admin
			if address == "" && os.Getenv(adminVariable) == "" && f.named() {
				s, err := load(f, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				a = s.cfg.Admin
			}
			at, _, err := a.Address(address, os.Getenv(adminVariable))
			if err == nil && at == config.AdminOff {
				err = errors.New("the admin listener is off: nobody can be asked")
			}
			if err != nil {
				return &environmentError{err.Error()}
			}
			path := "/livez"
			if ready {
				path = "/readyz?verbose"
			}
			said, err := askAdmin(cmd.Context(), at, path)
			if !asJSON {
				fmt.Fprint(cmd.OutOrStdout(), said)
				return err
			}
			r := healthReport{Address: at, Asked: path, Well: err == nil, Says: slices.Collect(strings.SplitSeq(strings.TrimSpace(said), "\n"))}
			if said == "" && err != nil {
				r.Says = []string{err.Error()}
			}
			return errors.Join(printJSON(cmd.OutOrStdout(), r), err)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&ready, "ready", false, "also ask whether it has begun and both servers answer")
	cmd.Flags().StringVar(&address, "admin-listen", "", adminFlag)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	return cmd
}

// healthReport is what `oncesink health --json` prints.
type healthReport struct {
	Address string   `json:"address"`
	Asked   string   `json:"asked"` // the path
	Well    bool     `json:"well"`
	Says    []string `json:"says"` // lines of the answer, or why there is none
}

// named says whether a configuration is named: by the environment only if it is there, as images name one that not everybody has.
func (f *flags) named() bool {
	if f.config != "" {
		return true
	}
	name := os.Getenv(configVariable)
	_, err := os.Stat(name)
	return name != "" && !errors.Is(err, os.ErrNotExist)
}

// askAdmin asks the listener at an address. The error says that it is not well.
func askAdmin(ctx context.Context, address, path string) (said string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", &environmentError{err.Error()}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if strings.Contains(address, "::") {
			host = "::1"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, http.NoBody)
	if err != nil {
		return "", &environmentError{err.Error()}
	}
	// Of its own: a proxy of the environment is not asked.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if timedOut(err) {
		return "", fmt.Errorf("no answer from %s within %s", address, healthTimeout)
	}
	if err != nil {
		return "", fmt.Errorf("nobody answers at %s: %s: see that `oncesink run` runs, with its admin listener there", address, rootCause(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode != http.StatusOK {
		return string(body), fmt.Errorf("not well: %s says %s", strings.TrimSuffix(path, "?verbose"), answer.Status)
	}
	return string(body), err
}
