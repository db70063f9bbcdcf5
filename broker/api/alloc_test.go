// SPDX-License-Identifier: Apache-2.0

package api

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/cluster/metarec"
)

// onMachine runs a broker on real sockets and a real disk.
func onMachine(t testing.TB) func(*setup) {
	return func(s *setup) {
		s.fs, s.net, s.addr, s.path = vfs.OS{}, netx.OS{}, "127.0.0.1:0", t.TempDir()
	}
}

// allocations counts what the whole process allocates per request, once warm.
// The client side allocates nothing: it repeats the same bytes.
func allocations(t *testing.T, c net.Conn, request []byte, replyBytes int) float64 {
	t.Helper()
	reply := make([]byte, replyBytes)
	roundTrip := func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, reply); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		roundTrip()
	}
	const rounds = 2000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		roundTrip()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / rounds
}

// replySize sends a request once and tells how long its reply is.
func replySize(t *testing.T, c *client, request []byte) int {
	t.Helper()
	c.write(request)
	_, b, err := c.frame()
	if err != nil {
		t.Fatal(err)
	}
	return 4 + 4 + len(b)
}

// A Produce and a Fetch cost at most 12 allocations in the whole broker, and
// as many for 1,000 records as for 1.
func TestAllocationsPerRequest(t *testing.T) {
	n := start(t, onMachine(t))
	few, many := records("a value"), records(strings.Split(strings.Repeat("a value,", 1000), ",")...)
	cases := []struct {
		name    string
		request func(id kafka.TopicID) []byte
	}{
		{"produce v9 acks=1", func(id kafka.TopicID) []byte { return encode(produceRequest(9, "p", id, 0, 1, few), 1) }},
		{"produce v13 acks=all", func(id kafka.TopicID) []byte { return encode(produceRequest(13, "p", id, 0, -1, few), 1) }},
		{"produce 1000", func(id kafka.TopicID) []byte { return encode(produceRequest(13, "p", id, 0, -1, many), 1) }},
		{"fetch v12", func(id kafka.TopicID) []byte { return encode(fetchRequest(12, place{"f1", id, 0, 0}), 1) }},
		{"fetch v18", func(id kafka.TopicID) []byte { return encode(fetchRequest(18, place{"f1", id, 0, 0}), 1) }},
		{"fetch 1000", func(id kafka.TopicID) []byte { return encode(fetchRequest(18, place{"f1000", id, 0, 0}), 1) }},
	}
	ids := map[string]kafka.TopicID{"p": n.topic("p", 1), "f1": n.topic("f1", 1), "f1000": n.topic("f1000", 1)}
	c := n.dial()
	c.produce(9, "f1", ids["f1"], 0, 1, few)
	c.produce(9, "f1000", ids["f1000"], 0, 1, many)
	for _, tc := range cases {
		topic := strings.Fields(tc.name)[0][:1]
		switch tc.name {
		case "fetch 1000":
			topic = "f1000"
		case "fetch v12", "fetch v18":
			topic = "f1"
		}
		request := tc.request(ids[topic])
		got := allocations(t, c.conn, request, replySize(t, c, request))
		t.Logf("%s: %.2f allocations", tc.name, got)
		if got > 12 {
			t.Errorf("%s: %.1f allocations a request, want at most 12", tc.name, got)
		}
	}
}

// The heartbeat of a member at rest, of which there are thousands a second,
// leaves as good as nothing behind: names, the answer, and what takes the event
// to its coordinator.
func TestAllocationsPerHeartbeat(t *testing.T) {
	n := start(t, onMachine(t))
	n.publish([]metarec.Record{&metarec.FeatureLevel{Name: "group.version", Level: 1}})
	n.topic("t", 1)
	c := n.coordinated(t)
	joined := c.do(joiningConsumer("g", "m")).(*kmsg.ConsumerGroupHeartbeatResponse)
	if joined.ErrorCode != 0 || joined.Assignment == nil {
		t.Fatalf("%+v", joined)
	}
	beat := beatingConsumer("g", "m", joined.MemberEpoch)
	request := encode(beat, 1)
	got := allocations(t, c.conn, request, replySize(t, c, request))
	t.Logf("%.2f allocations", got)
	if got > 6 {
		t.Errorf("%.1f allocations a heartbeat, want at most 6", got)
	}
}
