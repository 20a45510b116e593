package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/secret"
)

// AdminListen is the default of admin.listen.
const AdminListen = "127.0.0.1:9187"

// AdminOff is the address of no listener.
const AdminOff = "off"

// Admin is by what oncesink run is watched.
type Admin struct {
	// Listen is the address of the admin listener, HOST:PORT, or off. Without a host, as in ":9187", anybody who reaches the machine may
	// ask. --admin-listen and ONCESINK_ADMIN_LISTEN come before it. Defaults to 127.0.0.1:9187.
	Listen string `yaml:"listen,omitempty"`
	// Page says whether there is a page for people, at /. Defaults to true.
	Page *bool `yaml:"page,omitempty"`
	// Actions lets whoever may see the page pause and resume partitions, and have dead letters tried again or discarded. Other addresses than
	// those of this machine need token_file then. Defaults to false.
	Actions bool `yaml:"actions,omitempty"`
	// Payloads lets the page show keys, values and headers of dead letters. Defaults to false.
	Payloads bool `yaml:"payloads,omitempty"`
	// Pprof serves profiles of the process at /debug/pprof/. Defaults to false.
	Pprof bool `yaml:"pprof,omitempty"`
	// TokenFile holds what has to be named for all but metrics and probes: as a bearer token, as the password of basic
	// authentication, or in the form that a browser is shown. It is read at the start. Defaults to none.
	TokenFile string `yaml:"token_file,omitempty"`
	// Hosts are names by which the listener may be asked, beside localhost, IP addresses and the host of listen: so that no page of the web gets
	// at it by a name that leads there. Defaults to none.
	Hosts []string `yaml:"hosts,omitempty"`
}

// Metrics bound what is measured.
type Metrics struct {
	// Partitions is for how many partitions of a process there are metrics of each. Above it there are those of topics, and of
	// partitions that are halted. Defaults to 500.
	Partitions int `yaml:"partitions,omitempty"`
}

// HasPage says whether there is a page for people.
func (a *Admin) HasPage() bool { return a.Page == nil || *a.Page }

// Address is where to listen: what the command line says, or the environment, or the file. given says that somebody said it. The error says
// what is wrong with it.
func (a *Admin) Address(flag, environment string) (address string, given bool, err error) {
	address, where := flag, "--admin-listen"
	if address == "" {
		address, where = environment, "ONCESINK_ADMIN_LISTEN"
	}
	if address == "" {
		address, where = a.Listen, "admin.listen"
	}
	if err := a.refused(cmp.Or(address, AdminListen)); err != nil {
		return "", false, fmt.Errorf("%s %w", where, err)
	}
	return cmp.Or(address, AdminListen), address != "", nil
}

// refused says why an address is none to listen at.
func (a *Admin) refused(address string) error {
	if address == AdminOff {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 && port != "0" || strings.ContainsAny(host, "/@ ") {
		return errors.New("must be HOST:PORT, such as 127.0.0.1:9187 or \":9187\", or off")
	}
	if a.Actions && a.TokenFile == "" && !loopback(host) {
		return errors.New("lets others than this machine act, without a token: give admin.token_file, or leave admin.actions out")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Token is what has to be named, "" if nothing has. The error says which file can't be read.
func (a *Admin) Token() (string, error) {
	if a.TokenFile == "" {
		return "", nil
	}
	return secret.ReadFile("admin.token_file", a.TokenFile)
}

func (v *validator) admin(a *Admin) {
	if a.Listen != "" {
		if err := a.refused(a.Listen); err != nil {
			v.problem("admin.listen", "%v", err)
		}
	}
	v.notEmpty("admin.listen", a.Listen)
	v.notEmpty("admin.token_file", a.TokenFile)
	for path, on := range map[string]bool{"admin.actions": a.Actions, "admin.payloads": a.Payloads} {
		if on && !a.HasPage() {
			v.keyProblem(path, "has no meaning without the page: remove it, or let admin.page be true")
		}
	}
	for i, host := range a.Hosts {
		if host == "" || strings.ContainsAny(host, ":/ ") {
			v.problem(fmt.Sprintf("admin.hosts[%d]", i), "must be a name without a port, such as sink.example.com, or \"*\" for any")
		}
	}
}
