// SPDX-License-Identifier: Apache-2.0

// Package ops is what operators and monitors see of a node: metrics, health
// and profiles over HTTP.
//
//	/metrics       counters in Prometheus' text format, read when asked for
//	/livez         200 while the process does its work, else 503 and why not
//	/readyz        200 while clients are served, else 503 and why not
//	/version       the build, as JSON
//	/debug/pprof/  profiles of the Go runtime
//
// The packages of the node count in plain struct fields and know nothing of
// metrics; Sources says how to read them. Each function of Sources is called
// from the goroutine of an HTTP request, so it must be safe for concurrent use
// and must not wait for lanes, disks or peers.
//
// Nothing here asks who is calling. The listener belongs on loopback, which
// package config makes sure of.
package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// Options make a Server.
type Options struct {
	// Sources are what is measured.
	Sources Sources
	// Live says why the node cannot do its work any more (a directory or the
	// metadata log failed); nil is alive.
	Live func() error
	// Ready says why clients are not served: not started yet, stopping, or
	// fenced by the controller; nil is ready.
	Ready func() error
	// Build is told by /version and gregor_build_info.
	Build  Build
	Logger *slog.Logger
}

// Build says what is running.
type Build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

// Limits of the HTTP side: its callers are monitors and people, so all of them
// are generous and none is a configuration key. Profiles run for up to a
// minute, so nothing limits the time of an answer.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	headerBytesMax = 64 << 10
)

// Server answers on a listener that the caller opened: so the caller decides
// what a port that is taken means.
type Server struct {
	http *http.Server
}

// NewServer makes a Server.
func NewServer(o Options) *Server {
	s := &Server{http: &http.Server{
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metricsHandler(o))
	mux.Handle("GET /livez", check("alive", o.Live))
	mux.Handle("GET /readyz", check("ready", o.Ready))
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(o.Build) // the caller hung up
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	s.http.Handler = mux
	return s
}

// Serve answers on l until Close. It returns nil after a Close.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the admin listener: %w", err)
	}
	return nil
}

// Close lets answers under way finish until ctx is done, then cuts them.
func (s *Server) Close(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return s.http.Close()
	}
	return nil
}

// check answers a health question in the words of the one who knows.
func check(word string, ask func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := ask(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(w, "not %s: %v\n", word, err)
			return
		}
		_, _ = fmt.Fprintln(w, word)
	}
}
