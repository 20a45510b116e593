package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/oncesink/oncesink/admin"
	"github.com/oncesink/oncesink/internal/config"
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
	h := admin.New(admin.Config{Group: s.consumer.Group, Version: version(), Partitions: s.cfg.Metrics.Partitions, Pprof: a.Pprof, Token: token, Hosts: hosts, Logger: s.log})
	draining := context.AfterFunc(ctx, h.Drain)
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	s.watched = h
	s.log.Info("admin listener", "address", listener.Addr().String())
	return func() {
		draining()
		_ = server.Close() // whoever still asks is told nothing more
		<-served
	}, nil
}

// observed has the handler of the admin listener told of what the session's consumer does.
func (s *session) observed() {
	if s.watched == nil {
		return
	}
	s.watched.Observe(&s.consumer)
	s.sinkCfg.Observer = s.consumer.Sink.Observer
}
