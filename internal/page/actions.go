package page

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
)

// maxForm bounds the body of an action, in bytes.
const maxForm = 64 << 10

// act carries out what a button asks for, logs who asked, and leads back to the page.
func (p *Page) act(t *template.Template, w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.refuse(t, w, r, http.StatusBadRequest, "read the form: "+err.Error())
		return
	}
	a := p.database(t, w, r)
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	action := r.PathValue("action")
	var says string
	var err error
	switch action {
	case "pause", "resume":
		says, err = a.steer(ctx, offsets.Action(action), r)
	case "retry", "discard":
		says, err = a.settle(ctx, action, r)
	default:
		p.refuse(t, w, r, http.StatusNotFound, fmt.Sprintf("there is no action %q", action))
		return
	}
	by := who(r)
	log := p.cfg.Logger.With("action", action, "topic", r.PostForm.Get("topic"), "by", by)
	for _, key := range []string{"partition", "code", "table"} {
		if v := r.PostForm.Get(key); v != "" {
			log = log.With(key, v)
		}
	}
	if err != nil {
		text := pgerr.Safe(err)
		log.Warn("an action of the page failed", "error", text)
		var refused *offsets.RefusedError
		var form *formError
		switch {
		case errors.As(err, &form):
			p.refuse(t, w, r, http.StatusBadRequest, text)
		case errors.As(err, &refused):
			p.refuse(t, w, r, http.StatusConflict, text)
		default:
			p.refuse(t, w, r, http.StatusServiceUnavailable, text)
		}
		return
	}
	log.Info("an action of the page", "did", says)
	id := p.events.add(event{Kind: "action", Text: says + ", by " + by})
	a.rows.soon()
	a.letters.soon()
	w.Header().Set("Location", "../?done="+strconv.FormatInt(id, 10))
	w.WriteHeader(http.StatusSeeOther)
}

// formError is an action that names not what it is about.
type formError struct{ problem string }

func (e *formError) Error() string { return e.problem }

// steer pauses or resumes a partition, or a topic, as the command of the name does.
func (a *asked) steer(ctx context.Context, action offsets.Action, r *http.Request) (string, error) {
	o := offsets.Order{Action: action, Topic: r.PostForm.Get("topic")}
	if o.Topic == "" {
		return "", &formError{"name a topic"}
	}
	what := o.Topic
	if text := r.PostForm.Get("partition"); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return "", &formError{fmt.Sprintf("%q is no partition", text)}
		}
		number := int32(n)
		o.Partition = &number
		what = place(o.Topic, number)
	}
	done, err := a.ledger.Steer(ctx, false, o)
	if err != nil {
		return "", err
	}
	says := string(action) + "d " + what // paused, resumed
	if o.Partition != nil && len(done) == 1 {
		says += " at " + number(done[0].After.Position.Next)
	}
	return says, nil
}

// settle has dead letters tried again, or says that nobody wants them, as the commands do.
func (a *asked) settle(ctx context.Context, action string, r *http.Request) (string, error) {
	f, err := filterOf(r.PostForm)
	if err != nil {
		return "", &formError{err.Error()}
	}
	if action == "retry" {
		asked, err := letters.Ask(ctx, a.pool, a.ledger.Group(), f, false)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("asked for %s dead letter(s) of %s to be tried again", number(asked.Letters), f.Topic), nil
	}
	n, err := letters.Group{Name: a.ledger.Group(), On: a.pool}.Discard(ctx, f, false)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("discarded %s dead letter(s) of %s", number(n), f.Topic), nil
}

// who asks: the name that was given with the token, if any, and the address.
func who(r *http.Request) string {
	at := r.RemoteAddr
	if host, _, err := net.SplitHostPort(at); err == nil {
		at = host
	}
	if name := nameOf(r); name != "" {
		return name + " at " + at
	}
	return at
}

// database is what asks the database; nil if there is none yet, which the page says then.
func (p *Page) database(t *template.Template, w http.ResponseWriter, r *http.Request) *asked {
	_, a := p.followed()
	if a == nil {
		p.refuse(t, w, r, http.StatusServiceUnavailable, "there is no database yet: the process is starting")
	}
	return a
}

// refuse says on a page why something was not done.
func (p *Page) refuse(t *template.Template, w http.ResponseWriter, r *http.Request, status int, why string) {
	render(t, w, status, "refused", map[string]any{"Group": p.cfg.Group, "Why": why, "Base": base(r), "Status": http.StatusText(status)})
}

// base leads from the path of a request to the page.
func base(r *http.Request) string {
	return strings.Repeat("../", max(0, strings.Count(r.URL.Path, "/")-1))
}
