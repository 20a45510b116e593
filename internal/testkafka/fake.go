// Package testkafka gives tests brokers: a fake one in the process, quick and open to
// fault injection, and a real Apache Kafka for the truth. What a real one needs (Java,
// Maven for the first time) is a failure when it is missing, never a skip.
package testkafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/oncesink/oncesink/internal/testenv"
)

// Main runs the tests and then stops the shared cluster. It returns the exit code. A
// package that also uses testpg calls either Main: they do the same.
func Main(m testenv.Runner) int { return testenv.Main(m) }

// Fake starts a fake cluster for a test. It keeps its records in files, takes sessions
// as short as a test wants them, and is quick to rebalance; opts are applied after that.
func Fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.DataDir(t.TempDir()),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
		kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "200"}),
	}, opts...)...)
	if err != nil {
		t.Fatalf("start fake cluster: %v", err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}
