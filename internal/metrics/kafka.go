package metrics

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Client is a hook of Kafka clients. One serves all clients of a process, one after the other or side by side, and goes on counting. It
// tells no broker from another, so that the number of series does not go with theirs.
//
// The plugin kprom is not used: it makes its metrics anew with each client, which begins at 0 then, and panics where a client is made before the one
// before it is closed, as is possible when a broker hangs.
type Client struct {
	connects, connectErrors, disconnects, written, writeErrors, read, readErrors, fetched, compressed, throttled atomic.Int64

	duration prometheus.Histogram
}

func newClient(duration prometheus.Histogram) *Client { return &Client{duration: duration} }

var (
	_ kgo.HookBrokerConnect    = (*Client)(nil)
	_ kgo.HookBrokerDisconnect = (*Client)(nil)
	_ kgo.HookBrokerE2E        = (*Client)(nil)
	_ kgo.HookBrokerThrottle   = (*Client)(nil)
	_ kgo.HookFetchBatchRead   = (*Client)(nil)
)

// OnBrokerConnect implements [kgo.HookBrokerConnect].
func (c *Client) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		c.connectErrors.Add(1)
		return
	}
	c.connects.Add(1)
}

// OnBrokerDisconnect implements [kgo.HookBrokerDisconnect].
func (c *Client) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { c.disconnects.Add(1) }

// OnBrokerE2E implements [kgo.HookBrokerE2E].
func (c *Client) OnBrokerE2E(_ kgo.BrokerMetadata, _ int16, e kgo.BrokerE2E) {
	c.written.Add(int64(e.BytesWritten))
	c.read.Add(int64(e.BytesRead))
	switch {
	case e.WriteErr != nil:
		c.writeErrors.Add(1)
	case e.ReadErr != nil:
		c.readErrors.Add(1)
	default:
		c.duration.Observe(e.DurationE2E().Seconds())
	}
}

// OnBrokerThrottle implements [kgo.HookBrokerThrottle].
func (c *Client) OnBrokerThrottle(_ kgo.BrokerMetadata, interval time.Duration, _ bool) {
	c.throttled.Add(int64(interval))
}

// OnFetchBatchRead implements [kgo.HookFetchBatchRead].
func (c *Client) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	c.fetched.Add(int64(m.UncompressedBytes))
	c.compressed.Add(int64(m.CompressedBytes))
}

func (c *Client) collect(s *scrape) {
	for name, n := range map[string]*atomic.Int64{
		"connects": &c.connects, "connect_errors": &c.connectErrors, "disconnects": &c.disconnects, "written_bytes": &c.written, "write_errors": &c.writeErrors,
		"read_bytes": &c.read, "read_errors": &c.readErrors, "fetched_bytes": &c.fetched, "fetched_compressed_bytes": &c.compressed,
	} {
		s.counter("kafka_"+name+"_total", float64(n.Load()))
	}
	s.counter("kafka_throttled_seconds_total", time.Duration(c.throttled.Load()).Seconds())
}
