package admin

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/oncesink/oncesink/internal/page"
)

// routes are what is served where, behind what keeps strangers out.
func (h *Handler) routes(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, // with examples of traces
		ErrorHandling:     promhttp.ContinueOnError,
		ErrorLog:          promLog{h.cfg},
	}))
	mux.HandleFunc("GET /livez", h.livez)
	mux.HandleFunc("GET /healthz", h.livez)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.Handle("GET /status.json", h.known(http.HandlerFunc(h.status)))
	if h.cfg.Pprof {
		mux.Handle("GET /debug/pprof/", h.known(http.HandlerFunc(profiles)))
	}
	if h.page != nil {
		mux.Handle("/", h.known(h.page))
	} else {
		mux.HandleFunc("GET /{$}", h.index)
		if h.cfg.Token != "" { // the form for it, on other paths
			mux.Handle("POST /login", h.known(http.NotFoundHandler()))
			mux.Handle("GET /assets/", page.Assets())
		}
	}
	return h.hosts(http.NewCrossOriginProtection().Handler(mux))
}

// index names what there is.
func (h *Handler) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, "oncesink "+h.cfg.Version+"\n/metrics\n/livez\n/readyz?verbose\n/status.json\n")
	if h.cfg.Pprof {
		fmt.Fprint(w, "/debug/pprof/\n")
	}
}

// hosts lets those through that ask by a name that is meant: a page of the web whose name leads to this address comes under its own.
func (h *Handler) hosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.meant(r.Host) {
			http.Error(w, fmt.Sprintf("the host name %q is not known here: add it to admin.hosts (Config.Hosts), or ask by an IP address", r.Host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *Handler) meant(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	return slices.ContainsFunc(h.cfg.Hosts, func(known string) bool { return known == "*" || strings.EqualFold(known, host) })
}

// known lets those through that know the token, if there is one.
func (h *Handler) known(next http.Handler) http.Handler { return page.Login(h.cfg.Token, next) }

// promLog logs what keeps metrics from being told.
type promLog struct{ cfg Config }

// Println implements [promhttp.Logger].
func (l promLog) Println(v ...any) {
	l.cfg.Logger.Warn("tell metrics", "error", strings.TrimSpace(fmt.Sprintln(v...)))
}
