// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"gregor/broker/conn"
	"gregor/storage/segment"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// full is a node on which everything is there, each count another number.
func full() Sources {
	return Sources{
		Connections: func() map[string]conn.Stats {
			return map[string]conn.Stats{"PLAINTEXT": {Connections: 3, MalformedTotal: 7}}
		},
		Requests: func() []Request {
			return []Request{{API: "Produce", Total: 10, ErrorsTotal: 1,
				Duration: Histogram{UpperNanos: []int64{1e6, 1e9}, Counts: []int64{4, 5, 1}, SumNanos: 25e8}}}
		},
		Traffic:         func() Traffic { return Traffic{MessagesInTotal: 100, BytesInTotal: 2000} },
		FetchSessions:   func() FetchSessions { return FetchSessions{Sessions: 2, Partitions: 9} },
		Replicas:        func() Replicas { return Replicas{Partitions: 12, Leaders: 11} },
		Controller:      func() Controller { return Controller{Active: true, Brokers: 1, Topics: 4} },
		Metadata:        func() Metadata { return Metadata{AppliedOffset: 77, AppliedAgeMs: 5, CheckpointOffset: 50} },
		Raft:            func() Raft { return Raft{Leader: 1, Vote: 1, Epoch: 3, HighWatermark: 78, LogEnd: 78, Leading: true} },
		Files:           func() segment.Stats { return segment.Stats{Open: 5} },
		Directories:     func() []Directory { return []Directory{{Path: "/data", Online: true, FreeBytes: 9}, {Path: "/b\xffd"}} },
		StartupDuration: func() time.Duration { return 42 * time.Millisecond },
	}
}

func start(t *testing.T, o Options) (base string) {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	if o.Live == nil {
		o.Live = func() error { return nil }
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func gather(t *testing.T, s Sources) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(s, Build{}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

func TestMetricsAreReadAtScrapeTime(t *testing.T) {
	var messages atomic.Int64
	s := full()
	s.Traffic = func() Traffic { return Traffic{MessagesInTotal: messages.Load()} }
	base := start(t, Options{Sources: s, Build: Build{Version: "1.2.3", Go: "go1"}})
	for _, n := range []int64{1, 5} {
		messages.Store(n)
		_, body := get(t, base+"/metrics")
		for _, want := range []string{
			fmt.Sprintf("kafka_server_brokertopicmetrics_messagesin_total %d\n", n),
			`gregor_build_info{goversion="go1",revision="",version="1.2.3"} 1`,
			`kafka_network_requestmetrics_requests_total{request="Produce"} 10`,
			`gregor_request_duration_seconds_bucket{request="Produce",le="0.001"} 4`,
			`gregor_request_duration_seconds_bucket{request="Produce",le="1"} 9`,
			`gregor_request_duration_seconds_bucket{request="Produce",le="+Inf"} 10`,
			`gregor_request_duration_seconds_sum{request="Produce"} 2.5`,
			`gregor_connections_closed_total{listener="PLAINTEXT",reason="malformed"} 7`,
			`kafka_log_logmanager_offlinelogdirectorycount 1`,
			`gregor_log_directory_online{directory="/data"} 1`,
			`gregor_startup_seconds 0.042`,
			"process_resident_memory_bytes ", "go_goroutines ",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("no %q in:\n%s", want, body)
			}
		}
	}
}

// A part that a node does not have leaves no metrics, and breaks nothing.
func TestPartsThatAreMissing(t *testing.T) {
	if families := gather(t, Sources{}); len(families) != 1 || families[0].GetName() != "gregor_build_info" {
		t.Errorf("got %v, want gregor_build_info alone", families)
	}
}

func TestHealth(t *testing.T) {
	var broken atomic.Pointer[error]
	base := start(t, Options{
		Live: func() error { return nil },
		Ready: func() error {
			if e := broken.Load(); e != nil {
				return *e
			}
			return nil
		},
	})
	if code, body := get(t, base+"/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("%d %q", code, body)
	}
	fenced := errors.New("the controller has fenced this broker")
	broken.Store(&fenced)
	if code, body := get(t, base+"/readyz"); code != 503 || body != "not ready: the controller has fenced this broker\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := get(t, base+"/livez"); code != 200 || body != "alive\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get(t, base+"/debug/pprof/goroutine?debug=1"); code != 200 {
		t.Errorf("pprof: %d", code)
	}
	if code, body := get(t, base+"/version"); code != 200 || !strings.Contains(body, `"go":""`) {
		t.Errorf("%d %q", code, body)
	}
	if code, _ := get(t, base+"/elsewhere"); code != 404 {
		t.Errorf("elsewhere: %d", code)
	}
}

// Names and labels hold Prometheus' rules, and no two metrics share a name.
func TestNames(t *testing.T) {
	problems, err := promlint.NewWithMetricFamilies(gather(t, full())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "kafka_") {
			continue // named by the JMX exporter's rules, which are older than the lint's
		}
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	seen := map[string]bool{}
	for _, g := range table() {
		for _, m := range g.metrics {
			if seen[m.name] {
				t.Errorf("%s stands twice", m.name)
			}
			seen[m.name] = true
		}
	}
}

// Every row of the table is filled when everything is there.
func TestEveryMetricIsFilled(t *testing.T) {
	filled := map[string]bool{}
	for _, f := range gather(t, full()) {
		filled[f.GetName()] = true
	}
	for _, g := range table() {
		for _, m := range g.metrics {
			if !filled[m.name] {
				t.Errorf("%s is in the table and never filled", m.name)
			}
		}
	}
}

func TestDocumentIsFresh(t *testing.T) {
	const path = "../docs/metrics.md"
	want := Document()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/metrics.md is stale (%v); run: make generate", err)
	}
}
