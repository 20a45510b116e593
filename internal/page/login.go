package page

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	cookieName = "oncesink_session"
	sessionFor = 12 * time.Hour
	maxName    = 40 // characters of the name of who logs in
)

type nameKey struct{}

// nameOf is the name that was given with the token; empty: none was.
func nameOf(r *http.Request) string {
	name, _ := r.Context().Value(nameKey{}).(string)
	return name
}

// Login lets those through that know the token: as "Authorization: Bearer TOKEN", as the password of basic authentication, or by a cookie, which a
// form gives to a browser for some hours: HttpOnly, and never sent from the page of another site. An empty token lets everybody through.
// The form is at /login.
func Login(token string, next http.Handler) http.Handler {
	if token == "" {
		return next
	}
	t, l := parse(), login{token: []byte(token)}
	return Guarded(http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/login") && r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if !l.is(r.PostFormValue("token")) {
				render(t, w, http.StatusUnauthorized, "login", map[string]any{"Wrong": true, "Base": base(r)})
				return
			}
			value := l.sign(cleanName(r.PostFormValue("name")), time.Now().Add(sessionFor))
			http.SetCookie(w, &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: int(sessionFor.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
			w.Header().Set("Location", "./")
			w.WriteHeader(http.StatusSeeOther)
			return
		}
		name, known := l.known(r)
		switch {
		case known:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), nameKey{}, name)))
		case strings.HasPrefix(r.URL.Path, "/assets/"): // of the form
			next.ServeHTTP(w, r)
		case r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html"):
			render(t, w, http.StatusUnauthorized, "login", map[string]any{"Base": base(r), "Wrong": false})
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="oncesink"`)
			http.Error(w, "name the token of admin.token_file: as a bearer token, or as the password", http.StatusUnauthorized)
		}
	})))
}

type login struct{ token []byte }

func (l login) is(token string) bool {
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256(l.token)
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// known returns under which name a request knows the token.
func (l login) known(r *http.Request) (name string, ok bool) {
	if token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); bearer {
		return "", l.is(token)
	}
	if name, token, basic := r.BasicAuth(); basic {
		return cleanName(name), l.is(token)
	}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return "", false
	}
	text, _, _ := strings.Cut(c.Value, ".")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	until, name, found := strings.Cut(string(raw), " ")
	at, errTime := strconv.ParseInt(until, 10, 64)
	if err != nil || !found || errTime != nil || time.Now().Unix() > at {
		return "", false
	}
	want := l.sign(name, time.Unix(at, 0))
	return name, subtle.ConstantTimeCompare([]byte(c.Value), []byte(want)) == 1
}

// sign makes a cookie that only who knows the token can make.
func (l login) sign(name string, until time.Time) string {
	text := strconv.FormatInt(until.Unix(), 10) + " " + name
	mac := hmac.New(sha256.New, l.token)
	mac.Write([]byte("oncesink page\x00" + text))
	return base64.RawURLEncoding.EncodeToString([]byte(text)) + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// cleanName is a name that is fit for a log.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune { return either(unicode.IsPrint(r), r, -1) }, strings.TrimSpace(name))
	if r := []rune(name); len(r) > maxName {
		name = string(r[:maxName])
	}
	return name
}
