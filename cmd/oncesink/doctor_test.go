package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/sink"
)

// says wants one line of a verdict that has a text, or none.
func (r *doctorReport) says(t *testing.T, v verdict, want string) {
	t.Helper()
	n := 0
	for _, d := range r.Diagnoses {
		if d.Verdict == v && strings.Contains(d.Says, want) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d lines %s %q in %+v", n, v, want, r.Diagnoses)
	}
}

// A server whose settings are bad for a sink, beside one whose settings are good.
func TestDoctorOfServers(t *testing.T) {
	s := &session{consumer: consumer.Config{Writers: 2}, sinkCfg: sink.Config{StatementTimeout: time.Minute}}
	for want, v := range map[string]server{
		"fsync is off":                                 {Fsync: "off", FullPages: "on"},
		"full_page_writes is off":                      {Fsync: "on", FullPages: "off"},
		"autovacuum is off":                            {Autovacuum: "off"},
		"idle_session_timeout is 5s":                   {IdleSession: 5000},
		"transaction_timeout is 10s, less than the 1m": {TransactionMax: 10000},
	} {
		r := &doctorReport{}
		r.durability(&v)
		r.timeouts(s, &v)
		r.says(t, warns, want)
	}
	r := &doctorReport{}
	good := server{Fsync: "on", FullPages: "on", Autovacuum: "on", TransactionMax: 120_000}
	r.durability(&good)
	r.timeouts(s, &good)
	if n := r.count(warns) + r.count(fails); n > 0 {
		t.Errorf("good settings: %+v", r.Diagnoses)
	}
}

// A clock is off by more than the question took, in either direction, or it agrees.
func TestDoctorOfClocks(t *testing.T) {
	for _, test := range []struct {
		ahead, took time.Duration
		verdict     verdict
		says        string
	}{
		{time.Second, 0, fine, "agrees with the one here, to within 1s"},
		{-time.Second, 20 * time.Millisecond, fine, "to within 1s"},
		{4 * time.Second, 6 * time.Second, fine, "to within 4s"},
		{3 * time.Minute, time.Second, warns, "is 3m0s ahead of the one here"},
		{-3 * time.Second, 0, warns, "is 3s behind the one here"},
	} {
		r := &doctorReport{}
		r.clock("postgres", "the clock", test.ahead, test.took)
		r.says(t, test.verdict, test.says)
	}
}

// Topics whose settings lead to a halt sooner or later.
func TestDoctorOfTopics(t *testing.T) {
	brokers := testkafka.Fake(t).ListenAddrs()
	s := &session{consumer: consumer.Config{Brokers: brokers, Topics: map[string]consumer.Start{"short": {}, "large": {}, "good": {}}, MaxDecompressedBytes: 2 << 20}, cfg: &config.Config{}}
	t.Cleanup(s.close)
	text := func(v string) *string { return &v }
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	for topic, settings := range map[string]map[string]*string{
		"short": {"retention.ms": text("3600000")}, "large": {"max.message.bytes": text("8388608")}, "good": nil,
	} {
		if _, err := admin.CreateTopic(t.Context(), 1, 1, settings, topic); err != nil {
			t.Fatal(err)
		}
	}
	r := &doctorReport{}
	if !r.kafka(t.Context(), s) {
		t.Fatalf("not reached: %+v", r.Diagnoses)
	}
	r.says(t, warns, "topic short keeps its records for 1h0m0s")
	r.says(t, warns, "topic large takes batches of up to 8 MiB, and one that is larger than 2 MiB")
	if n := r.count(warns); n != 2 {
		t.Errorf("%d warnings: %+v", n, r.Diagnoses)
	}
}
