package main

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/orders"
	"github.com/oncesink/oncesink/internal/testkafka"
)

// generate runs the command, and returns what it wrote.
func generate(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newGenerateCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// A generator that is started again sends what comes next, not the same again.
func TestGenerateGoesOn(t *testing.T) {
	brokers := strings.Join(testkafka.Fake(t).ListenAddrs(), ",")
	args := []string{"--brokers", brokers, "--topic", "shop", "--partitions", "3", "--rate", "0", "--seed", "9"}
	for _, count := range []string{"100", "50"} {
		if out, err := generate(t, append(args, "--count", count)...); err != nil || !strings.Contains(out, "after "+count+" events") {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	want := map[string]int{}
	g := orders.New(9)
	for range 150 {
		e := g.Next()
		want[fmt.Sprintf("%s %s", e.Key, e.Value)]++
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...), kgo.ConsumeTopics("shop"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	got := map[string]int{}
	for n := 0; n < 150; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			got[fmt.Sprintf("%s %s", r.Key, r.Value)]++
			n++
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the topic holds other events than the first 150 of the seed")
	}
}

func TestGenerateCheck(t *testing.T) {
	brokers := strings.Join(testkafka.Fake(t).ListenAddrs(), ",")
	if _, err := generate(t, "--brokers", brokers, "--check"); err == nil || !strings.Contains(err.Error(), "topic orders does not exist") {
		t.Errorf("--check without the topic: %v", err)
	}
	if _, err := generate(t, "--brokers", brokers, "--count", "1", "--rate", "0"); err != nil {
		t.Fatal(err)
	}
	if out, err := generate(t, "--brokers", brokers, "--check"); err != nil || out != "" {
		t.Errorf("--check with the topic: %v, %q", err, out)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"--brokers", "127.0.0.1:1"}, {"--partitions", "0"}, {"--rate", "-1"}, {"--count", "-1"},
	} {
		_, err := generate(t, args...)
		if err == nil || exitCode(err) != exitConfig {
			t.Errorf("%v: %v is nothing that a person is told to correct", args, err)
		}
	}
}
