// SPDX-License-Identifier: Apache-2.0

package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/broker/api"
	"gregor/broker/conn"
	"gregor/broker/fetchsession"
	"gregor/broker/telemetry"
	"gregor/cluster/image"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
	groups "gregor/coordinator/group"
	"gregor/coordinator/shard"
	"gregor/quota"
	"gregor/replica"
	"gregor/storage/logdir"
	"gregor/storage/retention"
	"gregor/storage/segment"
	"gregor/test/golden"
)

// fakeLog and fakeDir stand in for parts that would need files.
type fakeLog struct{}

func (fakeLog) End() kafka.Offset            { return 79 }
func (fakeLog) Committed() metalog.Committed { return metalog.Committed{End: 78} }
func (fakeLog) Checkpoint() (metalog.Checkpoint, bool) {
	return metalog.Checkpoint{End: 50, SizeBytes: 480}, true
}

type fakeDir struct {
	path    string
	offline error
}

func (d fakeDir) Path() string        { return d.path }
func (d fakeDir) Offline() error      { return d.offline }
func (d fakeDir) Refuses() error      { return errors.New("no room") }
func (d fakeDir) ReserveBytes() int64 { return 10 }
func (d fakeDir) DeletesPending() int { return 2 }
func (d fakeDir) Scrub() logdir.ScrubStats {
	return logdir.ScrubStats{Bytes: 4096, Segments: 3, BadRanges: 1, WrongIndexes: 2, LastFullPassMs: 1_700_000_000_500}
}

func (d fakeDir) Dropped() [retention.Reasons]logdir.Dropped {
	return [retention.Reasons]logdir.Dropped{retention.Time: {Segments: 3, Bytes: 300}}
}

func (d fakeDir) Usage() (vfs.Usage, error) {
	return vfs.Usage{TotalBytes: 100, FreeBytes: 9}, d.offline
}

// cluster is an image of two brokers and one topic, seen by broker 1: it leads
// one partition that lacks a replica, broker 2 leads one, and one has no
// leader.
func cluster(t *testing.T) *image.Image {
	t.Helper()
	d := image.NewDelta(image.Empty())
	topic := kafka.TopicID{15: 9}
	partition := func(id kafka.PartitionID, leader kafka.NodeID, isr ...kafka.NodeID) *metarec.Partition {
		return &metarec.Partition{TopicID: topic, PartitionID: id, Replicas: []kafka.NodeID{1, 2}, ISR: isr, Leader: leader}
	}
	for _, r := range []metarec.Record{
		&metarec.RegisterBroker{BrokerID: 1}, &metarec.RegisterBroker{BrokerID: 2, Fenced: true},
		&metarec.Topic{Name: "t", TopicID: topic},
		partition(0, 1, 1), partition(1, 2, 1, 2), partition(2, kafka.NoNode, 2),
	} {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	return d.Apply(77, 3)
}

// busyTable has topics with one partition each, which have had a batch of 5
// records in 100 bytes each, one after the other.
func busyTable(topics ...string) *replica.Table {
	t := replica.NewTable()
	for i, name := range topics {
		p := replica.New(kafka.TopicIDPartition{TopicID: kafka.TopicID{15: byte(i + 1)}}, kafka.TopicPartition{Topic: name}, time.Now)
		t.Add(p)
		p.Traffic().Produced(5, 100)
	}
	return t
}

// produceTimes are three requests of 1 to 2.5 ms and one of above 30 s.
func produceTimes() api.Times {
	t := api.Times{Count: 4, Total: time.Minute, Throttled: 2 * time.Second, Buckets: make([]int64, len(api.TimeBounds()))}
	for i, bound := range api.TimeBounds() {
		if bound > time.Millisecond {
			t.Buckets[i] = 3
		}
	}
	return t
}

// full is a node on which everything is there.
func full(t *testing.T) Sources {
	img := cluster(t)
	return Sources{
		Node:        1,
		Connections: func() conn.Stats { return conn.Stats{Connections: 3, MalformedTotal: 7} },
		Requests: func() api.Stats {
			return api.Stats{Requests: map[string]int64{"Produce": 10}, ProducedRecordsTotal: 100, Times: map[string]api.Times{"Produce": produceTimes()}}
		},
		Telemetry:     func() telemetry.Stats { return telemetry.Stats{Instances: 6} },
		FetchSessions: func() fetchsession.Stats { return fetchsession.Stats{Sessions: 2, Partitions: 9} },
		Quotas:        func() quota.Stats { return quota.Stats{Meters: 4} },
		Groups:        func() shard.Stats { return shard.Stats{Active: 50, Pending: 3, LoadTimeMax: 1500 * time.Millisecond} },
		GroupCounts: func() groups.Counts {
			return groups.Counts{Groups: map[groups.GroupState]int{{Kind: groups.Classic, State: "Stable"}: 8}, Members: map[groups.Kind]int{groups.Classic: 12}, Offsets: 40}
		},
		Partitions:  busyTable("t"),
		TopicsMax:   10,
		Image:       func() *image.Image { return img },
		Active:      func() bool { return true },
		Leader:      func() metalog.Leadership { return metalog.Leadership{Leader: 1, Epoch: 3, Leading: true} },
		Metadata:    fakeLog{},
		Files:       func() segment.Stats { return segment.Stats{Open: 5} },
		Assignments: func() int { return 4 },
		Directories: []Directory{fakeDir{"/data", nil}, fakeDir{"/b\xffd", errors.New("EIO")}},
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
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
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
	s := full(t)
	s.Requests = func() api.Stats {
		return api.Stats{Requests: map[string]int64{"Produce": 10}, ProducedRecordsTotal: messages.Load()}
	}
	base := start(t, Options{Sources: s, Build: Build{Version: "1.2.3", Go: "go1"}})
	for _, n := range []int64{1, 5} {
		messages.Store(n)
		_, body := get(t, base+"/metrics")
		for _, want := range []string{
			fmt.Sprintf("kafka_server_brokertopicmetrics_messagesin_total %d\n", n),
			`gregor_build_info{goversion="go1",revision="",version="1.2.3"} 1`,
			`kafka_network_requestmetrics_requests_total{request="Produce"} 10`,
			`gregor_connections_closed_total{reason="malformed"} 7`,
			`kafka_log_logmanager_offlinelogdirectorycount 1`,
			`gregor_log_directory_online{directory="/data"} 1`,
			`gregor_log_directory_online{directory="/b?d"} 0`,
			`gregor_log_deleted_bytes_total{directory="/data",reason="time"} 300`,
			`gregor_log_deleted_segments_total{directory="/data",reason="log start"} 0`,
			`gregor_log_deletes_pending{directory="/data"} 2`,
			`kafka_server_group_coordinator_metrics_num_partitions{state="active"} 50`,
			`kafka_server_group_coordinator_metrics_group_count{protocol="classic",state="Stable"} 8`,
			`gregor_group_coordinator_members{protocol="classic"} 12`, "gregor_group_coordinator_offsets 40\n",
			"gregor_group_coordinator_load_seconds_max 1.5\n",
			"kafka_server_replicamanager_leadercount 1\n",
			"kafka_server_replicamanager_underreplicatedpartitions 1\n",
			"kafka_controller_kafkacontroller_offlinepartitionscount 1\n",
			"kafka_controller_kafkacontroller_globalpartitioncount 3\n",
			"kafka_controller_kafkacontroller_activebrokercount 1\n",
			"kafka_controller_kafkacontroller_fencedbrokercount 1\n",
			"kafka_controller_kafkacontroller_activecontrollercount 1\n",
			"kafka_server_raft_metrics_high_watermark 78\n",
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
	problems, err := promlint.NewWithMetricFamilies(gather(t, full(t))).Lint()
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
	for _, f := range gather(t, full(t)) {
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
	golden.Check(t, "../docs/metrics.md", Document())
}
