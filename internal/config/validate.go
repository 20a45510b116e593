package config

import (
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"

	"github.com/oncesink/oncesink/internal/conninfo"
	"github.com/oncesink/oncesink/internal/mapping"
)

// validator looks for what is wrong within the file alone; what needs the
// database or the brokers is checked when they are there.
type validator struct {
	cfg      *Config
	at       map[string]*token.Position
	problems []Problem
}

func (v *validator) problem(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

// keyProblem notes that a key is wrong, whatever its value is.
func (v *validator) keyProblem(path, format string, args ...any) {
	v.problem(path, format, args...)
	v.problems[len(v.problems)-1].onKey = true
}

// given says that the file names the key, so that a zero is not a default.
func (v *validator) given(path string) bool { return v.at[path] != nil }

func (v *validator) validate() {
	v.kafka(&v.cfg.Kafka)
	v.postgres(&v.cfg.Postgres)
	v.registry(v.cfg.Registry)
	v.archive(v.cfg.Archive)
	v.notEmpty("rounding", v.cfg.Rounding)
	v.patterns()
	v.tables()
	v.rollups()
	v.topics()
	v.limits(&v.cfg.Limits)
	v.deadLetters(&v.cfg.DeadLetters)
	v.admin(&v.cfg.Admin)
	if m := v.cfg.Metrics.Partitions; m < 0 || m == 0 && v.given("metrics.partitions") {
		v.problem("metrics.partitions", "must be at least 1")
	}
}

// deadLetters refuses zeros that are written; what else is wrong [mapping.Check] says.
func (v *validator) deadLetters(d *DeadLetters) {
	for path, zero := range map[string]bool{"max_ratio": d.MaxRatio == 0, "window": d.Window == 0, "max_consecutive": d.MaxConsecutive == 0, "retry_rate": d.RetryRate == 0} {
		if path = "dead_letters." + path; zero && v.given(path) {
			v.problem(path, "must not be 0: leave it out for the default")
		}
	}
}

func (v *validator) kafka(k *Kafka) {
	if len(k.brokers()) == 0 {
		v.problem("kafka.brokers", "is required: the addresses of one or more brokers, such as [localhost:9092]")
	}
	for i, entry := range k.Brokers {
		for _, addr := range splitList(entry) {
			v.broker(fmt.Sprintf("kafka.brokers[%d]", i), addr)
		}
	}
	if k.Group == "" {
		v.problem("kafka.group", "is required: the consumer group, which also names the positions in the database")
	}
	v.oneOf("kafka.protocol", k.Protocol, "cooperative", "eager", "consumer")
	v.positive("kafka.session_timeout", k.SessionTimeout)
	if k.Protocol == "consumer" && k.SessionTimeout != 0 {
		v.keyProblem("kafka.session_timeout", "is set by the broker for protocol consumer: remove it")
	}
	if len(k.Assign) > 0 && k.InstanceID != "" {
		v.keyProblem("kafka.instance_id", "has no meaning with kafka.assign, which joins no group: remove one of them")
	}
	if t := k.TLS; t != nil && (t.CertFile == "") != (t.KeyFile == "") {
		v.problem("kafka.tls", "needs cert_file and key_file together")
	}
	v.sasl(k.SASL)
}

func (v *validator) broker(path, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil { // no port, which is fine
		host, port = strings.Trim(addr, "[]"), "9092"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if host == "" || strings.ContainsAny(host, "/@ ") || err != nil || n == 0 {
		v.problem(path, "must be HOST or HOST:PORT, without a scheme or a user")
	}
}

func (v *validator) postgres(p *Postgres) {
	if p.URL == "" {
		v.problem("postgres.url", "is required: for example \"${DATABASE_URL}\" with postgres://USER@HOST:5432/DATABASE in the environment")
	} else if _, err := conninfo.Parse(p.URL.Reveal()); err != nil {
		v.problem("postgres.url", "%v", err)
	}
	v.postgresPassword(p)
	v.notEmpty("postgres.synchronous_commit", p.SynchronousCommit)
	if p.TimeZone != "" && !mapping.KnownZone(p.TimeZone) {
		v.problem("postgres.time_zone", "is not a known time zone: write a name such as UTC or Europe/Berlin")
	}
	v.positive("postgres.statement_timeout", p.StatementTimeout)
	v.positive("postgres.lock_timeout", p.LockTimeout)
	v.positive("postgres.idle_timeout", p.IdleTimeout)
	v.positive("postgres.foreign_key_wait", p.ForeignKeyWait)
}

func (v *validator) tables() {
	switch {
	case v.cfg.Tables == nil:
		v.problem("tables", "is required: at least one table, with its name, topic and key")
	case len(v.cfg.Tables) == 0 && len(v.cfg.Topics) == 0:
		v.problem("topics", "is required where there are no tables: the topics of the program that has handlers for them")
	}
	for i := range v.cfg.Tables {
		v.table(fmt.Sprintf("tables[%d]", i), &v.cfg.Tables[i])
	}
	v.rules()
}

func (v *validator) topics() {
	known := v.cfg.topics()
	for _, topic := range slices.Sorted(maps.Keys(v.cfg.Topics)) {
		if !slices.Contains(known, topic) && !isPattern(topic) && !v.cfg.matches(topic) {
			v.keyProblem("topics."+topic, "feeds no table%s", Suggest(topic, known))
		}
		v.envelope("topics."+topic+".envelope", v.cfg.Topics[topic].Envelope)
	}
	for _, topic := range slices.Sorted(maps.Keys(v.cfg.Kafka.Assign)) {
		path, partitions := "kafka.assign."+topic, v.cfg.Kafka.Assign[topic]
		if !slices.Contains(known, topic) {
			v.keyProblem(path, "feeds no table%s", Suggest(topic, known))
		}
		if len(partitions) == 0 {
			v.problem(path, "names no partition: write a list of numbers, such as [0, 1]")
		}
		for i, p := range partitions {
			if p < 0 || slices.Contains(partitions[:i], p) {
				v.problem(fmt.Sprintf("%s[%d]", path, i), "must be a partition's number, each once")
			}
		}
	}
}

// envelope checks the name of a known one.
func (v *validator) envelope(path string, e *Envelope) {
	if e == nil || e.Like == "" || envelopes[e.Like] != nil {
		return
	}
	if v.given(path + ".like") {
		path += ".like"
	}
	v.problem(path, "is no envelope that is known%s", Suggest(e.Like, slices.Sorted(maps.Keys(envelopes))))
}

func (v *validator) limits(l *Limits) {
	v.atLeast("limits.writers", int64(l.Writers), 1)
	v.atLeast("limits.batch_records", int64(l.BatchRecords), 1)
	v.atLeast("limits.batch_bytes", int64(l.BatchBytes), 1<<10)
	v.atLeast("limits.buffer_bytes", int64(l.BufferBytes), 1<<20)
	v.atLeast("limits.decompressed_bytes", int64(l.DecompressedBytes), 1<<20)
	if l.DecompressedBytes > math.MaxInt32 {
		v.problem("limits.decompressed_bytes", "must be less than 2GiB")
	}
	v.positive("limits.stop_timeout", l.StopTimeout)
	if l.Writers > 100 {
		v.problem("limits.writers", "must be at most 100: each is a connection with a transaction of its own")
	}
}

func (v *validator) required(path, value, what string) {
	if value == "" {
		v.problem(path, "is required: %s", what)
	}
}

func (v *validator) oneOf(path, value string, allowed ...string) {
	if value == "" && !v.given(path) || slices.Contains(allowed, value) {
		return
	}
	if value == "" && len(v.problems) > 0 && v.problems[len(v.problems)-1].Path == path {
		return // said to be required
	}
	v.problem(path, "must be %s", orList(allowed))
}

func (v *validator) positive(path string, d Duration) {
	if v.given(path) && d <= 0 {
		v.problem(path, "must be longer than zero")
	}
}

func (v *validator) atLeast(path string, n, least int64) {
	if v.given(path) && n < least {
		v.problem(path, "must be at least %d", least)
	}
}

func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
