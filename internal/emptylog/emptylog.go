// Package emptylog has a broker in this process whose topics are there and have no record: as those from which retention has deleted all. Who reads
// them with an archive at hand reads the archive, by the same steps as ever, where no Kafka is.
//
// It listens on no port: its clients are those of this process that have its options.
package emptylog

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic is one of the broker's.
type Topic struct {
	ID   [16]byte
	Ends []int64 // of each partition: where its log begins, and ends
	// Compacted is what the topic's configuration says.
	Compacted bool
}

// Broker answers whoever has its options. It is safe for concurrent use.
type Broker struct {
	cluster string
	topics  map[string]Topic
	closed  chan struct{}
	serving sync.WaitGroup
	once    sync.Once
}

// Address is where a client looks for it.
const Address = "localhost:9092"

// Start begins to answer, under a cluster's id, until Close.
func Start(cluster string, topics map[string]Topic) *Broker {
	return &Broker{cluster: cluster, topics: topics, closed: make(chan struct{})}
}

// Option leads a client to the broker.
func (b *Broker) Option() kgo.Opt {
	return kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case <-b.closed:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		default:
		}
		b.serving.Go(func() { b.serve(ours) })
		return theirs, nil
	})
}

// Close ends all connections, and waits for that. Nobody may connect at the same time.
func (b *Broker) Close() {
	b.once.Do(func() { close(b.closed) })
	b.serving.Wait()
}

// maxRequest bounds a request: clients of this process send small ones.
const maxRequest = 16 << 20

// serve answers the requests of a connection, one after the other.
func (b *Broker) serve(conn net.Conn) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-b.closed:
		case <-stop:
		}
		_ = conn.Close()
	}()
	in := bufio.NewReader(conn)
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil || binary.BigEndian.Uint32(size[:]) > maxRequest {
			return
		}
		request := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(in, request); err != nil {
			return
		}
		answer, err := b.answer(request)
		if err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// answer is the response to a request, both with their headers.
func (b *Broker) answer(request []byte) ([]byte, error) {
	r := kbin.Reader{Src: request}
	key, version, id := r.Int16(), r.Int16(), r.Int32()
	r.NullableString() // who asks
	req := kmsg.RequestForKey(key)
	if req == nil {
		return nil, fmt.Errorf("request %d is not known", key)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if err := errors.Join(r.Complete(), req.ReadFrom(r.Src)); err != nil {
		return nil, err
	}
	var resp kmsg.Response
	switch req := req.(type) {
	case *kmsg.ApiVersionsRequest:
		resp = b.versions(req)
	case *kmsg.MetadataRequest:
		resp = b.metadata(req)
	case *kmsg.ListOffsetsRequest:
		resp = b.offsets(req)
	case *kmsg.OffsetForLeaderEpochRequest:
		resp = b.epochs(req)
	case *kmsg.FetchRequest:
		resp = b.fetch(req)
	case *kmsg.DescribeConfigsRequest:
		resp = b.configs(req)
	default:
		return nil, fmt.Errorf("%s is not answered", kmsg.NameForKey(key))
	}
	resp.SetVersion(version)
	out := binary.BigEndian.AppendUint32(make([]byte, 4, 256), uint32(id))
	if resp.IsFlexible() && key != int16(kmsg.ApiVersions) {
		out = append(out, 0) // no tags
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

// most are the versions that are answered. A fetch names its topics up to 12. Whoever asks for versions is of the same library.
var most = map[kmsg.Key]int16{kmsg.ApiVersions: (&kmsg.ApiVersionsRequest{}).MaxVersion(), kmsg.Metadata: 12, kmsg.ListOffsets: 7, kmsg.OffsetForLeaderEpoch: 4, kmsg.Fetch: 12, kmsg.DescribeConfigs: 4}

// pause bounds how long a fetch waits where nothing is, and nothing will be.
const pause = 500 * time.Millisecond

// wait waits for so long, or until the broker is closed.
func (b *Broker) wait(millis int32) {
	t := time.NewTimer(min(pause, time.Duration(millis)*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.closed:
	}
}

// end is where the log of a partition ends.
func (b *Broker) end(topic string, partition int32) (end int64, ok bool) {
	ends := b.topics[topic].Ends
	if partition < 0 || int64(partition) >= min(int64(len(ends)), math.MaxInt32) {
		return 0, false
	}
	return ends[partition], true
}
