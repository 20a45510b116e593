package testkafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testenv"
)

// startTimeout bounds the start of a cluster: a broker is up in about three seconds on an idle machine.
const startTimeout = 60 * time.Second

// shared is the test process's cluster, started by the first test that asks for it.
var shared struct {
	sync.Mutex
	cluster *RealCluster
	err     error
}

// RealCluster is Apache Kafka in KRaft mode: every node is broker and controller. Its
// data and processes end with the test process. Safe for concurrent use, but a test
// that kills a broker should have a cluster of its own: see StartReal.
type RealCluster struct {
	// Brokers are the bootstrap addresses.
	Brokers []string

	// Secured is the address of the listener that StartSecured has added.
	Secured string

	// Fronts are the bootstrap addresses that StartBehind was given, one for each node.
	Fronts []string

	in       installation
	dir      string
	nodes    []*node
	security []string // settings of a listener SECURED

	front func(inner string) (advertised string, err error) // of a listener FRONT
}

// node is one broker. mu guards proc.
type node struct {
	id           int
	broker, raft int    // ports
	inner, front string // addresses of the listener FRONT: its own, and the one that clients are told
	dir          string

	mu   sync.Mutex
	proc *localserver.Process
}

// Real returns the cluster, of one broker, that the tests of this process share. Give
// topics and groups names of their own: see [RealCluster.Name].
func Real(t testing.TB) *RealCluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil && shared.err == nil {
		var stop func() error
		shared.cluster, stop, shared.err = start(context.Background(), 1)
		testenv.AtExit(stop)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// StartReal starts a cluster of its own for a test, of one or three nodes.
func StartReal(t testing.TB, nodes int) *RealCluster {
	t.Helper()
	return startFor(t, nodes)
}

// StartSecured starts a broker of its own for a test, with a second listener, of SASL without encryption, under the name SECURED: settings
// are what it lets in by, options are of its Java.
func StartSecured(t testing.TB, settings, options []string) *RealCluster {
	t.Helper()
	return startFor(t, 1, func(k *RealCluster) {
		k.security, k.in.options = settings, append(k.in.options, options...)
	})
}

// StartBehind starts a cluster of its own for a test, each node of which has a second listener: clients that come by it are told the address
// that front makes for it, at which something stands between them and the node, such as a proxy. front may be called again for a node.
func StartBehind(t testing.TB, nodes int, front func(inner string) (advertised string, err error)) *RealCluster {
	t.Helper()
	return startFor(t, nodes, func(k *RealCluster) { k.front = front })
}

// startFor starts a cluster that ends with a test.
func startFor(t testing.TB, nodes int, change ...func(*RealCluster)) *RealCluster {
	t.Helper()
	k, stop, err := start(t.Context(), nodes, change...)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Start starts a cluster for a program that is no test. The caller stops it.
func Start(ctx context.Context, nodes int) (k *RealCluster, stop func() error, err error) {
	return start(ctx, nodes)
}

// start starts a cluster; stop ends its processes and removes its data.
func start(ctx context.Context, nodes int, change ...func(*RealCluster)) (k *RealCluster, stop func() error, err error) {
	in, err := install(ctx)
	if err == nil {
		in, err = in.archived(ctx)
	}
	if err != nil {
		return nil, func() error { return nil }, err
	}
	dir, err := os.MkdirTemp("", "oncesink-testkafka-")
	if err != nil {
		return nil, func() error { return nil }, err
	}
	release, err := testenv.OwnDir(dir)
	if err != nil {
		return nil, func() error { return os.RemoveAll(dir) }, err
	}
	k = &RealCluster{in: in, dir: dir}
	for _, f := range change {
		f(k)
	}
	stop = func() error { return errors.Join(k.killAll(), release()) }
	if err := k.launchAnywhere(ctx, nodes); err != nil {
		return nil, stop, fmt.Errorf("start Apache Kafka: %w", err)
	}
	return k, stop, nil
}

// launchAnywhere is launch, with other ports where one that was free a moment ago is taken by now.
func (k *RealCluster) launchAnywhere(ctx context.Context, nodes int) error {
	for attempt := 1; ; attempt++ {
		err := k.launch(ctx, nodes)
		if err == nil || attempt == 3 || !strings.Contains(err.Error(), "Address already in use") {
			return err
		}
		if err := k.killAll(); err != nil {
			return err
		}
	}
}

// launch lays out new nodes, formats their storage, and waits until all of them answer.
func (k *RealCluster) launch(ctx context.Context, nodes int) error {
	k.nodes, k.Brokers, k.Secured, k.Fronts = nil, nil, "", nil
	ports, err := localserver.FreePorts(3*nodes + 1)
	if err != nil {
		return err
	}
	if k.security != nil {
		k.Secured = fmt.Sprintf("127.0.0.1:%d", ports[3*nodes])
	}
	for id := 1; id <= nodes; id++ {
		n := &node{id: id, broker: ports[2*id-2], raft: ports[2*id-1]}
		if n.dir, err = os.MkdirTemp(k.dir, fmt.Sprintf("node%d-", id)); err != nil {
			return err
		}
		if k.front != nil {
			n.inner = fmt.Sprintf("127.0.0.1:%d", ports[2*nodes+id-1])
			if n.front, err = k.front(n.inner); err != nil {
				return err
			}
			k.Fronts = append(k.Fronts, n.front)
		}
		k.nodes = append(k.nodes, n)
		k.Brokers = append(k.Brokers, fmt.Sprintf("127.0.0.1:%d", n.broker))
	}
	checkpoint, err := k.in.checkpoint(ctx)
	if err != nil {
		return err
	}
	cluster := newUUID()
	for _, n := range k.nodes {
		if err := n.format(cluster, k.settings(n), checkpoint); err != nil {
			return fmt.Errorf("format storage: %w", err)
		}
	}
	for _, n := range k.nodes {
		if err := k.startNode(n); err != nil {
			return err
		}
	}
	return k.waitReady(ctx)
}

// newUUID is an id as Kafka writes them.
func newUUID() string {
	var uuid [16]byte
	rand.Read(uuid[:])
	uuid[0] &= 0x3f // none of those that Kafka keeps for itself, and no hyphen at its beginning, as of an option
	uuid[15] |= 1
	return base64.RawURLEncoding.EncodeToString(uuid[:])
}

// format lays out a node's storage, as `kafka-storage.sh format` does by a Java of its own for each. checkpoint is what it says of
// features, which is the same for all nodes of a version.
func (n *node) format(cluster, settings string, checkpoint []byte) error {
	data := filepath.Join(n.dir, "data")
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", cluster, n.id, newUUID())
	return errors.Join(
		os.WriteFile(n.properties(), []byte(settings), 0o644),
		os.Mkdir(data, 0o755),
		os.WriteFile(filepath.Join(data, "meta.properties"), []byte(meta), 0o644),
		os.WriteFile(filepath.Join(data, checkpointName), checkpoint, 0o644),
	)
}

func (n *node) properties() string { return filepath.Join(n.dir, "server.properties") }
func (n *node) log() string        { return filepath.Join(n.dir, "server.log") }

// settings returns a node's server.properties: as few partitions of internal topics as
// do, and groups that rebalance at once and may have short sessions.
func (k *RealCluster) settings(n *node) string {
	var voters []string
	for _, n := range k.nodes {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", n.id, n.raft))
	}
	replicas := strconv.Itoa(len(k.nodes))
	inSync := strconv.Itoa(len(k.nodes)/2 + 1)
	listen, advertise, protocols := "", "", ""
	if k.Secured != "" {
		listen, advertise, protocols = ",SECURED://"+k.Secured, ",SECURED://"+k.Secured, ",SECURED:SASL_PLAINTEXT"
	}
	if n.front != "" {
		listen, advertise, protocols = listen+",FRONT://"+n.inner, advertise+",FRONT://"+n.front, protocols+",FRONT:PLAINTEXT"
	}
	return strings.Join(append([]string{
		"process.roles=broker,controller",
		"node.id=" + strconv.Itoa(n.id),
		"controller.quorum.voters=" + strings.Join(voters, ","),
		fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d%s", n.broker, n.raft, listen),
		fmt.Sprintf("advertised.listeners=PLAINTEXT://127.0.0.1:%d%s", n.broker, advertise),
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT" + protocols,
		"log.dirs=" + filepath.Join(n.dir, "data"),
		"auto.create.topics.enable=false",
		"default.replication.factor=" + replicas,
		"min.insync.replicas=" + inSync,
		"offsets.topic.num.partitions=3",
		"offsets.topic.replication.factor=" + replicas,
		"transaction.state.log.num.partitions=3",
		"transaction.state.log.replication.factor=" + replicas,
		"transaction.state.log.min.isr=" + inSync,
		// A killed broker can register again only when its old session is over.
		"broker.session.timeout.ms=3000",
		"broker.heartbeat.interval.ms=500",
		"group.initial.rebalance.delay.ms=0",
		"group.min.session.timeout.ms=500",
		"group.consumer.min.session.timeout.ms=500",
		"group.consumer.session.timeout.ms=6000",
		"group.consumer.min.heartbeat.interval.ms=100",
		"group.consumer.heartbeat.interval.ms=500",
		"log.cleaner.dedupe.buffer.size=16777216",
		"log.cleaner.backoff.ms=500",
		"log.retention.check.interval.ms=1000",
		"log.initial.task.delay.ms=500",
		"",
	}, k.security...), "\n")
}

// startNode starts a node's process. It doesn't wait for it.
func (k *RealCluster) startNode(n *node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := k.in.command(context.Background(), "512m", "kafka.Kafka", n.properties())
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	n.proc, err = localserver.Start(cmd, syscall.SIGKILL)
	return err
}

// process returns the node's process, or nil if it never ran.
func (n *node) process() *localserver.Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// waitReady returns once every node answers and knows all the others.
func (k *RealCluster) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for i, n := range k.nodes {
		client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers[i]), kgo.MetadataMinAge(50*time.Millisecond))
		if err != nil {
			return err
		}
		var last, ended error
		err = waitFor(ctx, func() bool {
			if n.process().Exited() {
				ended = n.process().Err()
				return true
			}
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			// The seed itself: a client would ask any broker that it has heard of.
			var resp kmsg.Response
			if resp, last = client.SeedBrokers()[0].Request(try, kmsg.NewPtrMetadataRequest()); last != nil {
				return false
			}
			known := len(resp.(*kmsg.MetadataResponse).Brokers)
			last = fmt.Errorf("it knows %d of %d brokers", known, len(k.nodes))
			return known == len(k.nodes)
		})
		client.Close()
		if err = errors.Join(err, ended); err != nil {
			return fmt.Errorf("wait for broker %d: %w; the end of its log:\n%s", i, errors.Join(err, last), localserver.LogTail(n.log(), 0))
		}
	}
	return nil
}

// KillBroker ends a node (0 is the first) with SIGKILL.
func (k *RealCluster) KillBroker(t testing.TB, i int) {
	t.Helper()
	if err := k.nodes[i].process().Kill(); err != nil {
		t.Fatal(err)
	}
}

// StopBroker asks a node to shut down in order, which hands over what it leads, and waits for its end.
func (k *RealCluster) StopBroker(t testing.TB, i int) {
	t.Helper()
	p := k.nodes[i].process()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(startTimeout):
		t.Fatalf("stop broker %d: still there after %s", i, startTimeout)
	}
}

// Truncate cuts off what a partition's log has behind its first batches, as a broker does that an unclean election makes follow one
// that lacks them. The node is down.
func (k *RealCluster) Truncate(t testing.TB, i int, topic string, partition, batches int) {
	t.Helper()
	if !k.nodes[i].process().Exited() {
		t.Fatalf("truncate a log of broker %d: it is running", i)
	}
	path := filepath.Join(k.nodes[i].dir, "data", fmt.Sprintf("%s-%d", topic, partition), "00000000000000000000.log")
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := 0
	for range batches {
		if len(log) < end+12 {
			t.Fatalf("truncate %s: it has fewer than %d batches", path, batches)
		}
		end += 12 + int(binary.BigEndian.Uint32(log[end+8:])) // the first offset and the length come before the rest
	}
	if end >= len(log) {
		t.Fatalf("truncate %s: there is nothing behind %d batches", path, batches)
	}
	if err := os.Truncate(path, int64(end)); err != nil {
		t.Fatal(err)
	}
}

// RestartBroker starts a killed or stopped node again on its ports and data. It returns
// once all nodes answer, so none of the others may be down.
func (k *RealCluster) RestartBroker(t testing.TB, i int) {
	t.Helper()
	if !k.nodes[i].process().Exited() {
		t.Fatalf("restart broker %d: it is running", i)
	}
	if err := k.startNode(k.nodes[i]); err != nil {
		t.Fatal(err)
	}
	if err := k.waitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (k *RealCluster) killAll() error {
	var errs []error
	for _, n := range k.nodes {
		if p := n.process(); p != nil {
			errs = append(errs, p.Kill())
		}
	}
	return errors.Join(errs...)
}
