package consumer_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// servers are what an example runs against: a database of its own, and a broker.
type servers struct {
	*testenv.Example
	url     string
	brokers []string
}

// startServers makes a database with these tables, and a broker.
func startServers(name, tables string) *servers {
	s := &servers{Example: testenv.NewExample(name)}
	s.url = testpg.URL(s)
	s.exec(tables)
	s.brokers = testkafka.Fake(s).ListenAddrs()
	return s
}

// produce makes a topic and appends events, each to the next of its two partitions. "KEY: " may stand before one.
func (s *servers) produce(topic string, events ...string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.must(err)
	defer client.Close()
	made, err := kadm.NewClient(client).CreateTopic(s.Context(), 2, 1, nil, topic)
	s.must(errors.Join(err, made.Err))
	for i, e := range events {
		r := &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: []byte(e)}
		if key, value, ok := strings.Cut(e, ": {"); ok && !strings.HasPrefix(e, "{") {
			r.Key, r.Value = []byte(key), []byte("{"+value)
		}
		s.must(client.ProduceSync(s.Context(), r).FirstErr())
	}
}

// print prints the rows of a query, a line each.
func (s *servers) print(query string) {
	for _, line := range s.rows(query) {
		fmt.Println(line)
	}
}

func (s *servers) rows(query string) (lines []string) {
	conn, err := pgx.Connect(s.Context(), s.url)
	s.must(err)
	defer conn.Close(s.Context())
	rows, err := conn.Query(s.Context(), query, pgx.QueryExecModeSimpleProtocol)
	s.must(err)
	defer rows.Close()
	for rows.Next() {
		var columns []string
		for _, v := range rows.RawValues() {
			columns = append(columns, string(v))
		}
		lines = append(lines, strings.Join(columns, " "))
	}
	s.must(rows.Err())
	return lines
}

// until waits until a query has one row with this value.
func (s *servers) until(want, query string) {
	testenv.Eventually(s, time.Minute, want+": "+query, func() bool { return strings.Join(s.rows(query), "\n") == want })
}

func (s *servers) exec(sql string) {
	conn, err := pgx.Connect(s.Context(), s.url)
	s.must(err)
	defer conn.Close(s.Context())
	_, err = conn.Exec(s.Context(), sql)
	s.must(err)
}

func (s *servers) must(err error) {
	if err != nil {
		s.Fatal(err)
	}
}
