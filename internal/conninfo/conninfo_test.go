package conninfo

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// leaks reports whether a text has a piece of the password of four bytes or more.
func leaks(text, password string) bool {
	for i := 0; i+4 <= len(password); i++ {
		if strings.Contains(text, password[i:i+4]) {
			return true
		}
	}
	return false
}

// spelled are connection strings with a password as people write it: as it is, and as it has to be.
func spelled(p string) []string {
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(p)
	return []string{
		"postgres://uu:" + p + "@hh/dd", "postgresql://uu:" + p + "@hh:5432/dd?sslmode=disable", "postgres://uu:" + p + "@[::1]:5432/dd",
		"postgres://hh/dd?user=uu&password=" + p, "postgres://hh/dd?password=" + p + "&sslmode=disable", "postgres://" + p + "@hh/dd", "postgres://uu:" + p,
		"host=hh user=uu password=" + p + " dbname=dd", "password=" + p, "host=hh password='" + p + "' dbname=dd sslmode=disable", "host=hh sslpassword=" + p + " sslmode=disable",
		"host=hh password='" + quoted + "' dbname=dd", "host=hh password='" + p, "host=hh password=\"" + p + "\" port=1",
		"mysql://uu:" + p + "@hh/dd", "jdbc:postgresql://hh/dd?user=uu&password=" + p, p,
	}
}

// No error has a piece of the password, and in a string that passes the password is nothing but the password.
func safe(t *testing.T, s, password string) {
	t.Helper()
	cfg, err := Parse(s)
	if err != nil {
		own := (*Error)(nil)
		if !errors.As(err, &own) {
			t.Fatalf("%q: an error of another kind", s)
		}
		// What we tell people to write is the same for all.
		if text := strings.NewReplacer(asURL, "", asPairs, "").Replace(err.Error()); leaks(text, password) {
			t.Fatalf("%q: the error has a piece of %q: %s", s, password, text)
		}
		if pc := (*pgconn.ParseConfigError)(nil); errors.As(err, &pc) {
			t.Fatalf("%q: the error holds the string", s)
		}
		return
	}
	switch s {
	case "postgres://uu:" + password, "postgres://" + password + "@hh/dd", password:
		return // a host with its port, a user, a database: nothing tells that it is a password
	}
	c := cfg.ConnConfig
	shown := []string{c.Database, c.Host, fmt.Sprint(c.Port), c.User}
	for _, f := range c.Fallbacks {
		shown = append(shown, f.Host, fmt.Sprint(f.Port))
	}
	for k, v := range c.RuntimeParams {
		shown = append(shown, k, v)
	}
	for _, x := range shown {
		if leaks(x, password) {
			t.Fatalf("%q: a piece of %q is taken for %q", s, password, x)
		}
	}
}

func TestBrokenSpellings(t *testing.T) {
	for _, p := range []string{
		"s3c retPW", "s3c@ret/PW", "s3c/retPW", "s3cr?tPW=x", "s3cr#tPW", "s3cr%tPW", "s3cr%4", "s3cr&tPW", "s3cr&tPW=ab", "s3cr=tPW", "s3cr:tPW", "s3cr:1234", "s3cr'tPW", "'s3cr' tPW=1",
		"'s3cr'tPW", `s3cr\`, `s3cr\ tPW`, "s3cr\ttPW=1", "s3cr\ntPW", "s3cr\x00tPW", "[s3crtPW", "s3cr]tPW", "s3cr,tPW", "@@@@", "////", "s3cr sslmode=tPWx", "s3cr user=uu",
		"s3cr xxxx", "sé cré=tPW", "s3cr@tPW:x", "s3cr@1234", "s3cr@10.0.0.1:6543/x", "12345", "1234 ", "a b c d e f", "s3cr.tPW =1",
	} {
		for _, s := range spelled(p) {
			if p == "s3cr sslmode=tPWx" || p == "s3cr user=uu" || p == "s3cr@10.0.0.1:6543/x" && s == p {
				continue // what nobody can tell from a key that is meant
			}
			safe(t, s, p)
		}
	}
}

func TestRandomPasswords(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	const some = "abXY019 @/:?#%&='\"\\,.;![]{}$`~^*()+|<>-_\té\x00"
	alphabet := []rune(some)
	for range 5_000 {
		b := make([]rune, 4+r.IntN(12))
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		p := string(b)
		for _, s := range spelled(p) {
			safe(t, s, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, p := range []string{"s3c retPW", "s3c@ret/PW", "a%2", "'a' b=c", `a\`} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if len(p) < 4 || strings.Contains(p, "=") {
			return // it may hold a key that is known
		}
		for _, s := range spelled(p) {
			safe(t, s, p)
		}
	})
}

// What can be read is read.
func TestAllowed(t *testing.T) {
	for _, s := range []string{
		"", " ", "postgres://", "postgres://h", "postgres://u@h/d", "postgres://u:p@h/d", "postgres://u:p%40%2F%25@h:5432/d?sslmode=disable", "postgres://u:p?#&=:x@h1:1,h2:2/d ", "postgres://u:p@[::1]:5432/d",
		"postgres://u:p@%2Fvar%2Frun/d", "postgres:///d?host=/var/run&user=u", "postgres://h/d?my.setting=1&user=u&password=p", "postgres://h/d?password=p&application_name=x&pool_max_conns=3",
		"host=h", "host = h port = 5432 user=u", "host=h my.setting=1 password='a b=c\\'d\\\\'", "password=p dbname=d TimeZone=UTC", "user='' host=h", "postgres://u:p@h/d?options=-c%20work_mem%3D64MB",
	} {
		if _, err := Parse(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// Each problem is told with what to do.
func TestProblems(t *testing.T) {
	dir := t.TempDir()
	noPEM := filepath.Join(dir, "no.pem")
	if err := os.WriteFile(noPEM, []byte("secretKEY"), 0o600); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]string{
		"postgres://u:s3c/ret@h/d":                            "has a slash in front of its @: write postgres://USER",
		"postgres://u:s3c@ret@h/d":                            "has more than one @: write postgres://USER",
		"postgres://u:s3c ret@h/d":                            "has a space or a control character: write",
		"postgres://u:s3c%ret@h/d":                            "has a percent sign that two hexadecimal digits do not follow: write",
		"postgres://h/d?password=s3c&ret=1":                   "has a key behind the password that is not known: write",
		"postgres://h/d?password=s3c&ret":                     "has something behind the ? that is not KEY=VALUE: write",
		"postgres://u:p@h:54x/d":                              "has a port that is no number from 1 to 65535: write postgres://",
		"mysql://u:p@h/d":                                     "is the URL of something else: write postgres://",
		"s3cret":                                              "is neither a URL nor a key=value string: write postgres://",
		"host=h password=s3c ret dbname=d":                    "has something that is not KEY=VALUE: write host=HOST",
		"host=h password=s3c ret=d":                           "has a key behind the password that is not known: write host=HOST",
		"host=h password='s3c":                                "has a quote that is not closed: write host=HOST",
		"host=h password='s3c'ret=x":                          "has something right behind a closing quote: write host=HOST",
		"host=h pass-word=x":                                  "has a key with other characters",
		"host=h port=many":                                    "has a port that is no number from 1 to 65535: write host=HOST",
		"host=h sslmode=sometimes":                            "has an unknown sslmode: use disable",
		"host=h sslmode=verify-ca sslrootcert=/nowhere/x":     "names a file under sslrootcert that can't be read: no such file or directory: name",
		"host=h sslmode=verify-ca sslrootcert=" + noPEM:       "names a file under sslrootcert that holds no certificate",
		"host=h sslcert=" + noPEM + " sslkey=" + noPEM:        "names a file under sslkey that holds no key",
		"host=h sslcert=" + noPEM + " sslkey=/nowhere/secret": "names a file under sslkey that can't be read: no such file or directory: name",
		"host=h sslcert=" + noPEM:                             "has one of sslcert and sslkey",
		"host=h,i,j port=1,2":                                 "has more ports than hosts, or fewer",
		"host=h connect_timeout=s3c":                          "has a connect_timeout that is no number of seconds",
		"host=h service=x servicefile=/nowhere":               "names a service, and the service file can't be read",
		"host=h target_session_attrs=s3c":                     "has an unknown target_session_attrs",
		"host=h channel_binding=s3c":                          "has an unknown channel_binding",
		"host=h require_auth=s3c":                             "has a require_auth that can't be read",
		"host=h min_protocol_version=9":                       "has a min_protocol_version or max_protocol_version",
		"host=h default_query_exec_mode=s3c":                  "has an unknown default_query_exec_mode",
		"host=h statement_cache_capacity=s3c":                 "has a cache capacity that is no number",
		"host=h pool_max_conns=s3c":                           "has a setting of the pool that can't be read",
		"host=h sslcertmode=s3c":                              "has an unknown sslcertmode",
	} {
		_, err := Parse(s)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "s3c") || strings.Contains(err.Error(), "/nowhere") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got  %v\nwant %s", s, err, want)
		}
	}
}

// What must not be printed of a string that passes comes from wherever the driver takes it.
func TestPasswords(t *testing.T) {
	t.Setenv("PGPASSWORD", "fromENV")
	file := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(file, []byte("h:*:*:u:fromFILE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGPASSFILE", file)
	for s, want := range map[string]string{
		"postgres://u:a%40b@h/d":                          "a%40b a@b fromENV",
		"host=h user=u password='a b' sslpassword=c":      "'a b',a b,c,fromENV",
		"postgres://h/d?user=u&password=p1&sslpassword=x": "p1 x fromENV",
		"host=h user=u":                                   "fromENV",
	} {
		got := strings.Join(Passwords(s), "|")
		for _, w := range strings.FieldsFunc(strings.ReplaceAll(want, ",", " "), func(r rune) bool { return r == ' ' }) {
			if !strings.Contains(got, w) {
				t.Errorf("%q: got %s, want %s in it", s, got, w)
			}
		}
	}
	os.Unsetenv("PGPASSWORD")
	if got := Passwords("host=h user=u"); len(got) != 1 || got[0] != "fromFILE" {
		t.Errorf("of the password file: %q", got)
	}
}
