// Package wire stands between a program and a server, and breaks what goes through: connections are reset, nothing passes any more, bytes
// come late, slowly or one by one, and a message of PostgreSQL's protocol springs a trap.
package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Shape is how bytes pass. The zero value lets them.
type Shape struct {
	Delay time.Duration // of each piece, in each direction
	Rate  int           // bytes a second of each direction of a connection; 0: no bound
	Slice int           // bytes that are written at a time; 0: as they come
}

// Proxy listens, and connects whoever comes to a server. Its methods are safe for concurrent use.
type Proxy struct {
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	target string
	conns  map[*conn]struct{}
	shape  Shape
	hole   chan struct{} // closed when bytes pass; open: a black hole
	trap   *Trap
	cuts   int
	held   int
	shaped int
	closed bool
}

// Listen returns a proxy, at a port of its own, in front of a server's address.
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, conns: map[*conn]struct{}{}, hole: make(chan struct{})}
	close(p.hole)
	p.done.Add(1)
	go p.accept()
	return p, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port is that of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Aim sends connections that come from now on to another server.
func (p *Proxy) Aim(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Reset ends all connections with a reset, and returns how many there were.
func (p *Proxy) Reset() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
		n++
	}
	p.cuts += n
	return n
}

// Hole begins a black hole: connections stay, bytes don't pass, and nobody is told. It returns how many connections it holds.
func (p *Proxy) Hole() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.hole:
		p.hole = make(chan struct{})
	default:
	}
	return len(p.conns)
}

// Heal lets bytes pass again, as they come. It returns how many pieces the hole had kept.
func (p *Proxy) Heal() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.hole:
	default:
		close(p.hole)
	}
	p.shape = Shape{}
	held := p.held
	p.held = 0
	return held
}

// Shape shapes what passes from now on.
func (p *Proxy) Shape(s Shape) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shape = s
}

// Shaped is how many pieces were written in a shape since it was asked last.
func (p *Proxy) Shaped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.shaped
	p.shaped = 0
	return n
}

// Close ends it, with all connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.Heal()
	p.Reset()
	p.done.Wait()
	return err
}

func (p *Proxy) accept() {
	defer p.done.Done()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Add(1)
		go p.serve(client.(*net.TCPConn))
	}
}

// serve carries one connection until it ends.
func (p *Proxy) serve(client *net.TCPConn) {
	defer p.done.Done()
	defer client.Close()
	p.pass() // in a hole nobody is connected, either
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	dialled, err := net.DialTimeout("tcp4", target, 5*time.Second)
	if err != nil {
		_ = client.SetLinger(0) // refused, as the server would
		return
	}
	server := dialled.(*net.TCPConn)
	defer server.Close()
	c := &conn{client: client, server: server}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		p.mu.Unlock()
	}()
	back := make(chan struct{})
	go func() {
		defer close(back)
		p.carry(c, server, client, nil)
	}()
	p.carry(c, client, server, &frames{})
	<-back
}

// conn is a connection through the proxy.
type conn struct {
	client, server *net.TCPConn

	mu     sync.Mutex
	answer func() // what is done in place of passing the next answer of the server
}

func (c *conn) reset() {
	_, _ = c.client.SetLinger(0), c.server.SetLinger(0)
	_, _ = c.client.Close(), c.server.Close()
}

// carry copies one direction until either end is gone. Of a client's, f looks for the trap.
func (p *Proxy) carry(c *conn, from, to *net.TCPConn, f *frames) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.pass()
			if !p.deliver(c, to, buf[:n], f) {
				c.reset()
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = to.CloseWrite()
			} else {
				c.reset()
			}
			return
		}
	}
}

// deliver writes a piece, or springs the trap and returns false.
func (p *Proxy) deliver(c *conn, to *net.TCPConn, b []byte, f *frames) bool {
	if f == nil {
		c.mu.Lock()
		answer := c.answer
		c.mu.Unlock()
		if answer != nil {
			answer()
			return false
		}
	} else if before, trap := p.sprung(f, b); trap != nil {
		if !trap.After {
			_, _ = to.Write(b[:before])
			trap.Do()
			if trap.Hold == nil {
				return false
			}
			<-trap.Hold
			return p.write(to, b[before:]) == nil
		}
		c.mu.Lock()
		c.answer = trap.Do
		c.mu.Unlock()
	}
	return p.write(to, b) == nil
}

// pass returns once there is no hole.
func (p *Proxy) pass() {
	p.mu.Lock()
	hole := p.hole
	select {
	case <-hole:
	default:
		p.held++
	}
	p.mu.Unlock()
	<-hole
}

// write writes a piece in today's shape.
func (p *Proxy) write(to *net.TCPConn, b []byte) error {
	p.mu.Lock()
	shape := p.shape
	if shape != (Shape{}) {
		p.shaped++
	}
	p.mu.Unlock()
	time.Sleep(shape.Delay)
	size := len(b)
	if shape.Slice > 0 {
		size = shape.Slice
	}
	for len(b) > 0 {
		piece := b[:min(size, len(b))]
		b = b[len(piece):]
		if shape.Rate > 0 {
			time.Sleep(time.Duration(len(piece)) * time.Second / time.Duration(shape.Rate))
		}
		if _, err := to.Write(piece); err != nil {
			return err
		}
	}
	return nil
}
