package page

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oncesink/oncesink/internal/letters"
)

//go:embed templates assets
var files embed.FS

// policy keeps the browser from loading anything that is not of this page, and from running a script in it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data: 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

// sections of the page that are brought up to date, by the names of their templates and of what JSON calls them.
var sections = []string{"head", "needs", "partitions", "letters", "tables", "events"}

func parse() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"number": anyNumber, "rate": rate, "seconds": seconds, "ago": ago, "resumable": resumable, "place": place, "target": letters.Target,
		"count":   func(f float64) string { return number(int64(f)) },
		"stamp":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"clock":   func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"payload": payloadText,
		"heading": func(v *View, column, label string) map[string]any {
			order := "none"
			if v.Query.sort == column {
				order = either(v.Query.desc, "descending", "ascending")
			}
			return map[string]any{"Column": column, "Label": label, "Order": order, "Link": v.Query.by(column).String()}
		},
		"row": func(v *View, p partition) map[string]any { return map[string]any{"V": v, "P": p} },
		"plural": func(n any, one, many string) string {
			if fmt.Sprint(n) == "1" {
				return one
			}
			return many
		},
	}).ParseFS(files, "templates/*.html"))
}

func (p *Page) routes() http.Handler {
	t := parse()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { p.index(t, w, r) })
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { p.stream(t, w, r) })
	mux.HandleFunc("GET /letters", func(w http.ResponseWriter, r *http.Request) { p.lettersPage(t, w, r) })
	mux.Handle("GET /assets/", Assets())
	if p.cfg.Actions {
		mux.HandleFunc("POST /actions/{action}", func(w http.ResponseWriter, r *http.Request) { p.act(t, w, r) })
	}
	return Guarded(http.NewCrossOriginProtection().Handler(mux))
}

// Assets are what the page's HTML refers to, at /assets/.
func Assets() http.Handler { return Guarded(http.FileServerFS(files)) }

// Guarded adds the headers that keep a browser from doing what no page here means.
func Guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (p *Page) index(t *template.Template, w http.ResponseWriter, r *http.Request) {
	v := p.view(readQuery(r.URL.Query()))
	v.Named = nameOf(r)
	if r.URL.Query().Get("format") == "json" {
		writeJSON(w, v, r.URL.Query().Get("section"))
		return
	}
	if id, err := strconv.ParseInt(r.URL.Query().Get("done"), 10, 64); err == nil {
		if e, there := p.events.find(id); there && e.Kind == "action" {
			v.Done = &e
		}
	}
	render(t, w, http.StatusOK, "page", v)
}

// writeJSON answers with all of a view, or with one section of it.
func writeJSON(w http.ResponseWriter, v *View, section string) {
	var out any = v
	if section != "" {
		text, err := json.Marshal(v)
		var all map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		if _, there := all[section]; err != nil || !there {
			http.Error(w, fmt.Sprintf("there is no section %q: it is one of the keys that ?format=json shows", section), http.StatusNotFound)
			return
		}
		out = map[string]any{"group": v.Group, "now": v.Now, section: all[section]}
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(out) // who asked may be gone
}

// render writes a template, or the error of one that is broken, whole.
func render(t *template.Template, w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "make the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // who asked may be gone
}

const (
	streamEvery = time.Second
	// A section that is larger is sent less often.
	largeSection = 64 << 10
	largeEvery   = 5 // times
	aliveEvery   = 15 * time.Second
)

// stream sends the sections that have changed, once a second, as long as the browser listens.
func (p *Page) stream(t *template.Template, w http.ResponseWriter, r *http.Request) {
	select {
	case p.streams <- struct{}{}:
		defer func() { <-p.streams }()
	default:
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	q := readQuery(r.URL.Query())
	sent, lastSent := map[string]string{}, time.Now()
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		changed := map[string]string{}
		v := p.view(q)
		for _, name := range sections {
			if len(sent[name]) > largeSection && turn%largeEvery != 0 {
				continue
			}
			var b strings.Builder
			if err := t.ExecuteTemplate(&b, name, v); err != nil {
				return
			}
			if text := b.String(); sent[name] != text {
				changed[name], sent[name] = text, text
			}
		}
		_ = rc.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a writer that has none blocks as long as the connection
		var err error
		switch text, _ := json.Marshal(changed); {
		case len(changed) > 0:
			_, err = fmt.Fprintf(w, "event: sections\ndata: %s\n\n", text)
			lastSent = time.Now()
		case time.Since(lastSent) > aliveEvery:
			_, err = fmt.Fprint(w, ": alive\n\n")
			lastSent = time.Now()
		}
		if err != nil || rc.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-p.ended:
			return
		case <-tick.C:
		}
	}
}

func lettersLink(topic, code, table string) string {
	v := url.Values{"topic": {topic}}
	if code != "" {
		v.Set("code", code)
	}
	if table != "" {
		v.Set("table", table)
	}
	return "letters?" + v.Encode()
}
