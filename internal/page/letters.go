package page

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/internal/pgerr"
)

// maxLetters is how many letters a page lists.
const maxLetters = 50

// lettersView are the open dead letters that a topic, code and table pick.
type lettersView struct {
	Group             string
	Topic, Code       string
	Table             string
	Reason            string
	All               int64
	List              []letters.Letter
	Actions, Payloads bool
	Now               time.Time
	Command           string
	Named             string
}

// filterOf reads which letters are meant; a topic has to be named.
func filterOf(v url.Values) (letters.Filter, error) {
	f := letters.Filter{Topic: v.Get("topic"), Code: v.Get("code"), Table: v.Get("table")}
	if f.Topic == "" {
		return f, fmt.Errorf("name a topic")
	}
	return f, nil
}

func (p *Page) lettersPage(t *template.Template, w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r.URL.Query())
	if err != nil {
		p.refuse(t, w, r, http.StatusBadRequest, err.Error())
		return
	}
	a := p.database(t, w, r)
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	list, all, err := letters.Group{Name: p.cfg.Group, On: a.pool}.List(ctx, f, letters.Open, maxLetters, p.cfg.Payloads)
	if err != nil {
		p.refuse(t, w, r, http.StatusServiceUnavailable, pgerr.Safe(err))
		return
	}
	v := lettersView{Group: p.cfg.Group, Topic: f.Topic, Code: f.Code, Table: f.Table, All: all, List: list, Actions: p.cfg.Actions, Payloads: p.cfg.Payloads,
		Now: time.Now(), Command: lettersCommand(f), Named: nameOf(r)}
	if f.Code != "" {
		v.Reason = pgerr.Meaning(f.Code)
	}
	render(t, w, http.StatusOK, "letterspage", v)
}

// lettersCommand lists the same letters on the command line.
func lettersCommand(f letters.Filter) string {
	words := []string{"oncesink dead-letters list", "--topic", quoted(f.Topic)}
	if f.Code != "" {
		words = append(words, "--code", quoted(f.Code))
	}
	if f.Table != "" {
		words = append(words, "--table", quoted(f.Table))
	}
	return strings.Join(words, " ")
}

// quoted is a word of a shell.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-/:", r)
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// payloadText is a key or value as a person reads it, in part if it is long.
func payloadText(b []byte) string {
	const most = 4 << 10
	if b == nil {
		return "null"
	}
	head := b[:min(len(b), most)]
	text := string(head)
	for i := 0; i < utf8.UTFMax && len(head) < len(b) && !utf8.ValidString(text) && text != ""; i++ {
		text = text[:len(text)-1] // a character that was cut
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }) {
		text = fmt.Sprintf("% x", head[:min(len(head), 1<<10)])
		head = head[:min(len(head), 1<<10)]
	}
	if n := len(b) - len(head); n > 0 {
		text += fmt.Sprintf(" … and %s bytes more", number(int64(n)))
	}
	return text
}
