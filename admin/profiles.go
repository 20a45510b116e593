package admin

import (
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"strings"
	"time"
)

// maxProfile bounds how long a profile is taken.
const maxProfile = 5 * time.Minute

// profiles serves what `go tool pprof` and `go tool trace` ask for. net/http/pprof does the same, and puts it on the default mux of any program
// that imports it.
func profiles(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/debug/pprof/")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var during time.Duration
	if n, err := strconv.ParseFloat(r.FormValue("seconds"), 64); err == nil && n > 0 {
		during = min(maxProfile, time.Duration(n*float64(time.Second)))
	}
	binary := func() {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	}
	switch name {
	case "":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "profile?seconds=30\ntrace?seconds=5")
		for _, p := range pprof.Profiles() {
			fmt.Fprintf(w, "%s?debug=1\n", p.Name())
		}
	case "profile":
		binary()
		if err := pprof.StartCPUProfile(w); err != nil {
			refuse(w, err)
			return
		}
		defer pprof.StopCPUProfile()
		rest(r, during, 30*time.Second)
	case "trace":
		binary()
		if err := trace.Start(w); err != nil {
			refuse(w, err)
			return
		}
		defer trace.Stop()
		rest(r, during, time.Second)
	default:
		p := pprof.Lookup(name)
		if p == nil {
			http.NotFound(w, r)
			return
		}
		debug, _ := strconv.Atoi(r.FormValue("debug"))
		if debug > 0 {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		} else {
			binary()
		}
		_ = p.WriteTo(w, debug) // who asked may be gone
	}
}

// refuse says that a profile can't be taken: one is being taken, mostly.
func refuse(w http.ResponseWriter, err error) {
	w.Header().Del("Content-Disposition")
	http.Error(w, err.Error(), http.StatusConflict)
}

func rest(r *http.Request, during, otherwise time.Duration) {
	if during == 0 {
		during = otherwise
	}
	timer := time.NewTimer(during)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}
