package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/oncesink/oncesink/admin"
	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/traces"
)

// adminVariable names where the admin listener is where --admin-listen does not.
const adminVariable = "ONCESINK_ADMIN_LISTEN"

// adminFlag is the help of --admin-listen.
const adminFlag = "admin listener's HOST:PORT, or off (default $" + adminVariable + ", or as configured, or " + config.AdminListen + ")"

// serveAdmin begins to listen, if somebody may ask, and has the session watched. stop ends it.
func (s *session) serveAdmin(ctx context.Context, flag string) (stop func(), err error) {
	a := &s.cfg.Admin
	address, given, err := a.Address(flag, os.Getenv(adminVariable))
	if err != nil {
		return nil, &environmentError{err.Error()}
	}
	if address == config.AdminOff {
		return func() {}, nil
	}
	token, err := a.Token()
	if err != nil {
		return nil, &environmentError{err.Error()}
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case err != nil && given:
		return nil, &environmentError{fmt.Sprintf("admin listener: %s: choose another address with --admin-listen, %s or admin.listen; off is none", rootCause(err), adminVariable)}
	case err != nil: // nobody asked for it
		s.log.Warn("there is no admin listener: its address can't be had. Set admin.listen to another, or to off", "address", address, "error", rootCause(err))
		return func() {}, nil
	}
	hosts := a.Hosts
	if host, _, err := net.SplitHostPort(address); err == nil && host != "" {
		hosts = append([]string{host}, hosts...)
	}
	shown := ""
	if a.HasPage() {
		if c, err := config.Show(s.file, s.text, os.LookupEnv); err == nil { // it was read by load already
			shown = c.YAML()
		}
	}
	h := admin.New(admin.Config{Group: s.consumer.Group, Version: version(), Partitions: s.cfg.Metrics.Partitions, Pprof: a.Pprof, Token: token, Hosts: hosts, Logger: s.log,
		Page: a.HasPage(), Actions: a.Actions, Payloads: a.Payloads, Configuration: shown})
	draining := context.AfterFunc(ctx, h.Drain)
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.watched = h
	s.log.Info("admin listener", "address", listener.Addr().String())
	return func() {
		draining()
		h.Close()
		_ = server.Close() // whoever still asks is told nothing more
		<-served
	}, nil
}

// trace makes spans of transactions, if an exporter is set. stop sends what is left.
func (s *session) trace(ctx context.Context) (stop func(), err error) {
	s.traced, err = traces.New(ctx, traces.Options{Group: s.consumer.Group, Version: version(), Failed: s.untraced()})
	if err != nil {
		return nil, &environmentError{err.Error()}
	}
	tracer := s.traced
	return func() {
		if err := tracer.Flush(ctx); err != nil {
			s.log.Warn("the last traces could not be sent", "error", s.cfg.Scrub(err.Error()))
		}
	}, nil
}

// untracedPause is how far apart warnings are of traces that could not be sent.
const untracedPause = time.Minute

// untraced warns, now and then, that traces could not be sent: they are lost, and nothing else is.
func (s *session) untraced() func(error) {
	var mu sync.Mutex
	var told time.Time
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(told) < untracedPause {
			return
		}
		told = time.Now()
		s.log.Warn("traces could not be sent, and are lost", "error", s.cfg.Scrub(err.Error()))
	}
}

// observed has those told of what the session's consumer does who want to know: the tracer first, which names the trace to others.
func (s *session) observed() {
	s.consumer.Sink.Observer = s.consumer.Sink.Observer.And(s.traced.Observer())
	if s.watched != nil {
		s.watched.Observe(&s.consumer)
	}
	s.sinkCfg.Observer = s.consumer.Sink.Observer
}
