// Package conninfo reads connection strings of PostgreSQL, and says what is wrong with one without a word of it.
//
// The driver's own messages quote what they could not read, and a parser that was led astray takes a piece of the
// password for a key, a port or a host. So a string is looked at before the driver sees it: one that can be read in two
// ways is refused, and what the driver refuses is said anew. No host, key or port of a string that passes can
// be part of its password.
package conninfo

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Error says what is wrong with a connection string, and how it is written.
type Error struct{ Problem, Fix string }

func (e *Error) Error() string { return e.Problem + ": " + e.Fix }

const (
	asURL   = "write postgres://USER:PASSWORD@HOST:5432/DATABASE, with special characters of the password percent-encoded (/ as %2F, @ as %40, % as %25)"
	asPairs = `write host=HOST user=USER dbname=DATABASE password='PASSWORD', the password last and in quotes, with ' in it as \' and \ as \\`
)

// Parse is pgxpool.ParseConfig, with errors that can be shown to anybody. Its error is an *Error.
func Parse(s string) (*pgxpool.Config, error) {
	if err := Check(s); err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(s)
	if err != nil {
		return nil, refused(s, err)
	}
	return cfg, nil
}

// Check looks for what can be read in two ways, or not at all. Its error is an *Error.
func Check(s string) error {
	var problem, fix string
	rest, isURL := cutScheme(s)
	switch {
	case isURL:
		problem, fix = inURL(rest), asURL
	case strings.Contains(s, "://") && !strings.Contains(s[:strings.Index(s, "://")], "="):
		problem, fix = "is the URL of something else", asURL
	case strings.TrimSpace(s) != "" && !strings.Contains(s, "="):
		problem, fix = "is neither a URL nor a key=value string", asURL
	default: // nothing at all is what the environment says
		problem, fix = inPairs(s), asPairs
	}
	if problem == "" && strings.Contains(s, "\x00") {
		problem = "has a zero byte"
	}
	if problem == "" {
		return nil
	}
	return &Error{problem, fix}
}

// Explain is for an error of a connection that somebody else's pool could not make: it says why its string can't be read, if that
// is so, instead of naming a host that may be a piece of the password. Other errors it returns as they are.
func Explain(s string, err error) error {
	var failed *pgconn.ConnectError
	if !errors.As(err, &failed) {
		return err
	}
	if problem := Check(s); problem != nil {
		return problem
	}
	return err
}

func cutScheme(s string) (rest string, isURL bool) {
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, isURL = strings.CutPrefix(s, scheme); isURL {
			return rest, true
		}
	}
	return s, false
}

// inURL looks for an @ that need not be the one between password and host, which is the first one, before any slash.
func inURL(rest string) string {
	rest = strings.Trim(rest, " ")
	at, slash := strings.IndexByte(rest, '@'), strings.IndexByte(rest, '/')
	switch {
	case at >= 0 && slash >= 0 && slash < at:
		return "has a slash in front of its @"
	case strings.Count(rest, "@") > 1:
		return "has more than one @"
	}
	for i := range len(rest) {
		if rest[i] <= ' ' || rest[i] == 0x7f {
			return "has a space or a control character"
		}
	}
	if _, err := url.PathUnescape(rest); err != nil {
		return "has a percent sign that two hexadecimal digits do not follow"
	}
	_, query, _ := strings.Cut(rest[at+1:], "?")
	password := false
	for pair := range strings.SplitSeq(query, "&") {
		key, value, found := strings.Cut(pair, "=")
		switch {
		case pair == "":
		case !found || strings.Contains(value, "="):
			return "has something behind the ? that is not KEY=VALUE"
		case password && !known(key):
			return "has a key behind the password that is not known"
		}
		password = password || strings.EqualFold(key, "password") || strings.EqualFold(key, "sslpassword")
	}
	return ""
}

const spaces = " \t\n\r\v\f"

// inPairs reads key=value pairs as libpq does. A password with a space in it, and without quotes, ends at the space, and what follows looks like
// the next key.
func inPairs(s string) string {
	open := false // a password came before, or a piece of one
	for s = strings.TrimLeft(s, spaces); s != ""; s = strings.TrimLeft(s, spaces) {
		key, value, found := strings.Cut(s, "=")
		key = strings.Trim(key, spaces)
		switch {
		case !found || key == "" || strings.ContainsAny(key, spaces):
			return "has something that is not KEY=VALUE"
		case strings.Trim(key, letters) != "":
			return "has a key with other characters than letters, digits, dots and _"
		case open && !known(key):
			return "has a key behind the password that is not known"
		}
		s = strings.TrimLeft(value, spaces)
		quoted := strings.HasPrefix(s, "'")
		rest, closed := pastValue(s, quoted)
		switch {
		case !closed:
			return "has a quote that is not closed"
		case quoted && rest != "" && !strings.ContainsRune(spaces, rune(rest[0])):
			return "has something right behind a closing quote"
		}
		s = rest
		open = open || strings.HasSuffix(strings.ToLower(key), "password")
	}
	return ""
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."

// pastValue returns what follows a value, whose end a quote or a space marks; a backslash takes the meaning of what follows it.
func pastValue(s string, quoted bool) (rest string, closed bool) {
	ends := spaces
	if quoted {
		s, ends = s[1:], "'"
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.IndexByte(ends, s[i]) >= 0:
			if quoted {
				i++
			}
			return s[i:], true
		}
	}
	return "", !quoted
}

// known reports whether a key is one that people use. Others are settings of the server, or pieces of a password.
func known(key string) bool {
	return slices.Contains(keys, strings.ToLower(key))
}

var keys = strings.Fields(`
	host hostaddr port dbname database user password passfile connect_timeout
	ssl sslmode sslkey sslcert sslcertmode sslrootcert sslcrl sslcrldir sslnegotiation sslpassword sslsni sslcompression
	ssl_min_protocol_version ssl_max_protocol_version requirepeer channel_binding require_auth
	krbspn krbsrvname gssencmode gsslib gssdelegation
	target_session_attrs load_balance_hosts service servicefile min_protocol_version max_protocol_version
	keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout
	application_name fallback_application_name client_encoding options replication
	pool_max_conns pool_min_conns pool_min_idle_conns pool_max_conn_lifetime pool_max_conn_idle_time
	pool_health_check_period pool_max_conn_lifetime_jitter pool_ping_timeout
	default_query_exec_mode statement_cache_capacity description_cache_capacity
	search_path timezone datestyle intervalstyle lc_messages role bytea_output extra_float_digits
	statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout transaction_timeout
	default_transaction_isolation default_transaction_read_only default_transaction_deferrable synchronous_commit
	work_mem maintenance_work_mem temp_buffers jit plan_cache_mode
	tcp_keepalives_idle tcp_keepalives_interval tcp_keepalives_count`)

// reasons are what the driver says, each with what we say instead. The driver's text is only ever compared.
var reasons = []struct{ driver, problem, fix string }{
	{"sslmode is invalid", "has an unknown sslmode", "use disable, allow, prefer, require, verify-ca or verify-full; PGSSLMODE counts as well"},
	{"unable to add CA to cert pool", "names a file under sslrootcert that holds no certificate", "name a PEM file with the authority's certificate"},
	{`both "sslcert" and "sslkey" are required`, "has one of sslcert and sslkey", "give both, or none; PGSSLCERT and PGSSLKEY count as well"},
	{"sslkey", "names a file under sslkey that holds no key in PEM", "name the key of sslcert"},
	{"sslpassword", "has no sslpassword, and the key is encrypted", "give sslpassword or PGSSLPASSWORD"},
	{"unable to decrypt key", "has an sslpassword that does not decrypt the key", "correct sslpassword or PGSSLPASSWORD"},
	{"unable to load cert", "names files under sslcert and sslkey that are no pair", "name a PEM certificate and its key"},
	{"invalid sslcertmode", "has an unknown sslcertmode", "use disable, allow or require"},
	{"invalid port", "has a port that is no number from 1 to 65535", ""},
	{"port numbers to", "has more ports than hosts, or fewer", "give one port, or one for each host; PGPORT counts as well"},
	{"invalid connect_timeout", "has a connect_timeout that is no number of seconds", "write connect_timeout=10"},
	{"failed to read service file", "names a service, and the service file can't be read", "correct servicefile or PGSERVICEFILE"},
	{"unable to find service", "names a service that the service file does not have", "correct service or PGSERVICE"},
	{"unknown target_session_attrs", "has an unknown target_session_attrs", "use any, read-write, read-only, primary, standby or prefer-standby"},
	{"unknown channel_binding", "has an unknown channel_binding", "use disable, prefer or require"},
	{"require_auth", "has a require_auth that can't be read", "use password, md5, gss, sspi, scram-sha-256 or none, with commas between"},
	{"_protocol_version", "has a min_protocol_version or max_protocol_version that can't be used", "leave them out"},
	{"default_query_exec_mode", "has an unknown default_query_exec_mode", "leave it out, or use cache_describe or exec"},
	{"_cache_capacity", "has a cache capacity that is no number", "leave it out"},
	{"pool_m", "has a setting of the pool that can't be read", "write pool_max_conns=10, pool_max_conn_lifetime=1h"},
	{"pool_", "has a setting of the pool that can't be read", "write pool_health_check_period=1m"},
}

// refused is an error of the driver in our words.
func refused(s string, err error) *Error {
	hint := asPairs
	if _, isURL := cutScheme(s); isURL {
		hint = asURL
	}
	text := err.Error()
	text = text[strings.LastIndex(text, "`: ")+1:]
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		key := "a file for TLS"
		for driver, name := range map[string]string{"CA file": "sslrootcert", "read sslkey": "sslkey", "read cert": "sslcert"} {
			if strings.Contains(text, driver) {
				key = name
			}
		}
		return &Error{"names a file under " + key + " that can't be read: " + file.Err.Error(), "name a readable PEM file"}
	}
	for _, r := range reasons {
		if !strings.Contains(text, r.driver) {
			continue
		}
		if r.fix == "" {
			return &Error{r.problem, hint}
		}
		return &Error{r.problem, r.fix}
	}
	return &Error{"can't be read", hint}
}

// passwordParts finds passwords in a key=value string, and in the query of a URL.
var passwordParts = regexp.MustCompile(`(?i)(?:^|[\s?&])(?:ssl)?password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]*)`)

// Passwords returns what must not be printed of a string that passes: its passwords as they are written and as they are
// meant, and those that the environment and the password file add.
func Passwords(s string) []string {
	out := written(s)
	for _, p := range out {
		if meant, err := url.PathUnescape(p); err == nil {
			out = append(out, meant)
		}
	}
	if cfg, err := pgxpool.ParseConfig(s); err == nil {
		out = append(out, cfg.ConnConfig.Password)
	}
	out = append(out, os.Getenv("PGPASSWORD"), os.Getenv("PGSSLPASSWORD"))
	out = slices.DeleteFunc(out, func(p string) bool { return p == "" })
	slices.SortFunc(out, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(out)
}

// written are the passwords in a string, as they are written there.
func written(s string) []string {
	var out []string
	if _, rest, ok := strings.Cut(s, "://"); ok {
		if at := strings.LastIndexByte(rest, '@'); at >= 0 {
			if _, p, ok := strings.Cut(rest[:at], ":"); ok {
				out = append(out, p)
			}
		}
	}
	for _, m := range passwordParts.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1], strings.Trim(m[1], "'"))
	}
	return out
}

// HasPassword reports whether a connection string has a password in it.
func HasPassword(s string) bool {
	for _, p := range written(s) {
		if p != "" {
			return true
		}
	}
	return false
}

// Refreshed reports whether what a connection string leads to lets in by something that can change while a program runs: the password
// of a password or service file, or, without any password, the certificate of a file.
func Refreshed(s string) bool {
	cfg, err := pgxpool.ParseConfig(s)
	if err != nil || HasPassword(s) || os.Getenv("PGPASSWORD") != "" {
		return false
	}
	t := cfg.ConnConfig.TLSConfig
	return cfg.ConnConfig.Password != "" || t != nil && len(t.Certificates) > 0
}
