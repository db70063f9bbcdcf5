// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/test/interop/kafka"
	"gregor/wire/compress"
)

// Kafka's keys of client telemetry.
const (
	keyGetTelemetrySubscriptions = 71
	keyPushTelemetry             = 72
)

// TestTelemetry compares client telemetry with a Kafka that has a receiver for
// it: without one, Kafka does not offer these APIs.
func TestTelemetry(t *testing.T) {
	if os.Getenv("GREGOR_BIN") == "" {
		t.Fatal("GREGOR_BIN names the binary; make parity sets it")
	}
	kafka.Need(t, "javac")
	classes := t.TempDir()
	compile := exec.CommandContext(t.Context(), "javac", "-Xlint:all", "-Xlint:-classfile", "-Xlint:-path", "-cp", kafka.Jars(t, kafka.Broker), "-d", classes, filepath.Join("java", "Receiver.java"))
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	found := &ledger{allowed: telemetryAllowed, used: make([]bool, len(telemetryAllowed)), failed: map[string][]string{}}
	defer found.finish(t)
	l := startBeside(t, found, kafka.Options{Classes: classes, Settings: []string{"metric.reporters=Receiver"}})
	l.run(chapter{"telemetry", l.telemetry})
}

var telemetryAllowed = []allowance{
	{step: `Telemetry/Get, a new client`, path: `(ClientInstanceID|SubscriptionID).*`, reason: "the id is drawn, and the subscription's depends on it"},
	{step: `badinput/GetTelemetrySubscriptions/.*`, path: `(ClientInstanceID|SubscriptionID).*`, sometimes: true, reason: "the id is drawn, and the subscription's depends on it"},
	{step: `Telemetry/Get, two prefixes`, path: `(RequestedMetrics|SubscriptionID).*`, sometimes: true, reason: "Kafka's order is that of a hash table; the id of the subscription is a checksum over it"},
}

func (l *list) telemetry() {
	served := map[int16][2]int16{keyGetTelemetrySubscriptions: {0, 0}, keyPushTelemetry: {0, 0}}
	l.quietClients()
	l.pushes()
	l.selectors()
	l.badInputOf(served)
}

func (l *list) get(name string, id byte) {
	l.t.Helper()
	key := fmt.Sprint("subscription of ", id)
	l.send(step{name: "Telemetry/Get, " + name, build: func(*site) kmsg.Request {
		req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
		if id > 0 {
			req.ClientInstanceID = instance(id)
		}
		return req
	}, then: func(s *site, r kmsg.Response) {
		if resp := r.(*kmsg.GetTelemetrySubscriptionsResponse); resp.ErrorCode == 0 {
			s.kept[key] = int64(resp.SubscriptionID)
		}
	}})
}

func instance(id byte) [16]byte { return [16]byte{0x10, 6: 0x40, 8: 0x80, 15: id} }

// push sends a gauge with the subscription that get has learned.
func (l *list) push(name string, id byte, change func(*kmsg.PushTelemetryRequest)) {
	l.t.Helper()
	l.send(step{name: "Telemetry/Push, " + name, build: func(s *site) kmsg.Request {
		req := kmsg.NewPtrPushTelemetryRequest()
		req.ClientInstanceID, req.SubscriptionID = instance(id), int32(s.kept[fmt.Sprint("subscription of ", id)])
		req.Metrics = []byte{0x0a, 0x14, 0x12, 0x12, 0x12, 0x10, 0x0a, 0x01, 'g', 0x2a, 0x0b, 0x0a, 0x09, 0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}
		if change != nil {
			change(req)
		}
		return req
	}})
}

// subscription sets a telemetry subscription, and waits until new clients are
// asked for these metrics.
func (l *list) subscription(set map[string]string, want ...string) {
	l.t.Helper()
	l.send(step{name: "IncrementalAlterConfigs/telemetry", build: func(*site) kmsg.Request {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeClientMetrics, "s"
		for key, value := range set {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value = key, kmsg.StringPtr(value)
			r.Configs = append(r.Configs, c)
		}
		req.Resources = append(req.Resources, r)
		return req
	}})
	l.until(kmsg.NewPtrGetTelemetrySubscriptionsRequest(), func(r kmsg.Response) bool {
		got := slices.Sorted(slices.Values(r.(*kmsg.GetTelemetrySubscriptionsResponse).RequestedMetrics))
		return slices.Equal(got, want)
	})
}

func (l *list) quietClients() {
	l.get("a new client", 0)
	l.get("nobody is asked", 1)
	l.get("too early", 1)
	l.push("nobody was asked", 1, nil)
	l.push("too early", 1, nil)
	l.push("without asking", 2, nil)
}

// pushes are judged under an interval of an hour, then of a tenth of a second.
func (l *list) pushes() {
	l.subscription(map[string]string{"metrics": "*", "interval.ms": "3600000"}, "*")
	l.push("changed", 1, nil)
	l.get("changed", 1)
	l.push("behind a change, too early", 1, nil)
	l.get("all", 3)
	l.push("right", 3, nil)
	l.push("right, too early", 3, nil)
	l.get("behind a push, too early", 3)
	l.push("the last", 3, func(r *kmsg.PushTelemetryRequest) { r.Terminating = true })
	l.push("behind the last", 3, nil)
	l.push("behind what came behind the last", 3, nil)
	l.push("the last, behind that", 3, func(r *kmsg.PushTelemetryRequest) { r.Terminating = true })
	l.push("the last again", 3, func(r *kmsg.PushTelemetryRequest) { r.Terminating = true })
	id := byte(10)
	for name, change := range byName(map[string]func(*kmsg.PushTelemetryRequest){
		"no metrics": func(r *kmsg.PushTelemetryRequest) { r.Metrics = nil }, "empty": func(r *kmsg.PushTelemetryRequest) { r.Metrics = []byte{} },
		"another subscription": func(r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ }, "too large": func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, 1<<20+1) },
		"as large as may be": func(r *kmsg.PushTelemetryRequest) {
			r.Metrics = append([]byte{0x7a, 0xfc, 0xff, 0x3f}, make([]byte, 1<<20-4)...)
		},
		"codec 5": func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 5 }, "codec -1": func(r *kmsg.PushTelemetryRequest) { r.CompressionType = -1 },
		"codec and too large": func(r *kmsg.PushTelemetryRequest) { r.CompressionType, r.Metrics = 9, make([]byte, 1<<20+1) },
		"zero id":             func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{} }, "id of the metadata log": func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{15: 1} },
		"cut": func(r *kmsg.PushTelemetryRequest) { r.Metrics = r.Metrics[:10] }, "noise": func(r *kmsg.PushTelemetryRequest) { r.Metrics = []byte("\xff\xff\xff\xff") },
		"not gzip": compressed(compress.Gzip, false), "not snappy": compressed(compress.Snappy, false), "not lz4": compressed(compress.LZ4, false), "not zstd": compressed(compress.Zstd, false),
		"gzip": compressed(compress.Gzip, true), "snappy": compressed(compress.Snappy, true), "lz4": compressed(compress.LZ4, true), "zstd": compressed(compress.Zstd, true),
		"a bomb": func(r *kmsg.PushTelemetryRequest) {
			r.Metrics = make([]byte, 2<<20)
			compressed(compress.Gzip, true)(r)
		},
	}) {
		l.get(name, id)
		l.push(name, id, change)
		l.push(name+", too early", id, nil)
		l.get(name+", behind it", id)
		id++
	}
}

// compressed says that the metrics are compressed, and compresses them.
func compressed(codec compress.Codec, really bool) func(*kmsg.PushTelemetryRequest) {
	return func(r *kmsg.PushTelemetryRequest) {
		r.CompressionType = int8(codec)
		if really {
			var coder compress.Coder
			var err error
			if r.Metrics, err = coder.Compress(nil, codec, codec.DefaultLevel(), r.Metrics); err != nil {
				panic(err) // in memory
			}
		}
	}
}

func (l *list) selectors() {
	id := byte(100)
	for _, x := range []struct {
		match string
		all   bool
	}{
		{"client_id=" + clientID, true}, {"client_id=par", false}, {"client_id=p.*", true}, {"client_id=x,client_source_address=127.*", false},
		{"client_software_name=unknown,client_software_version=unknown", true}, {"client_source_address=127\\.0\\.0\\.1,client_source_port=[0-9]+", true}, {"client_instance_id=x.*", false},
	} {
		want := []string{"*"}
		if !x.all {
			want = nil
		}
		l.subscription(map[string]string{"match": x.match}, want...)
		l.get("match "+x.match, id)
		id++
	}
	l.subscription(map[string]string{"match": "", "metrics": "org.apache.kafka.producer.,org.apache.kafka.consumer.", "interval.ms": "100"}, "org.apache.kafka.consumer.", "org.apache.kafka.producer.")
	l.get("two prefixes", id)
	l.subscription(map[string]string{"metrics": "x"}, "x")
	l.get("one prefix", id+1)
}
