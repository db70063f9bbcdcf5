// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/test/badinput"
	"gregor/wire/frame"
)

// closedLog counts the log lines that tell why a connection was closed.
type closedLog struct {
	slog.Handler
	lines atomic.Int64
}

func (h *closedLog) Enabled(context.Context, slog.Level) bool { return true }
func (h *closedLog) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *closedLog) WithGroup(string) slog.Handler            { return h }

func (h *closedLog) Handle(_ context.Context, r slog.Record) error {
	switch {
	case r.Message == "connection closed for a bad request":
		h.lines.Add(1)
	case r.Level >= slog.LevelError:
		return fmt.Errorf("%s", r.Message)
	}
	return nil
}

// peer is a client that says what no client says.
type peer struct {
	t    *testing.T
	n    *Node
	conn net.Conn
	next int32
}

func (n *Node) peer(t *testing.T) *peer {
	t.Helper()
	p := &peer{t: t, n: n}
	p.dial()
	t.Cleanup(func() { p.conn.Close() })
	return p
}

func (p *peer) dial() {
	p.t.Helper()
	c, err := p.n.Net.Host(clientHost).Dial(p.t.Context(), Addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.conn = c
}

// send writes a request in a frame.
func (p *peer) send(key, version int16, flexible bool, body []byte) {
	p.t.Helper()
	p.next++
	b := binary.BigEndian.AppendUint16(make([]byte, 4, 32+len(body)), uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(p.next))
	b = append(b, 0, 1, 'p')
	if flexible {
		b = append(b, 0)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	_, _ = p.conn.Write(b) // the answer tells whether it arrived
}

// answer reads the body of the next answer; io.EOF is a connection that was closed.
func (p *peer) answer() ([]byte, error) {
	_ = p.conn.SetReadDeadline(time.Now().Add(10 * time.Minute))
	var head [8]byte
	if _, err := io.ReadFull(p.conn, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(p.conn, body); err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != p.next {
		return nil, fmt.Errorf("answer to %d, want %d", got, p.next)
	}
	return body, nil
}

// do sends a request of kmsg and reads its response.
func (p *peer) do(req kmsg.Request) kmsg.Response {
	p.t.Helper()
	p.send(req.Key(), req.GetVersion(), req.IsFlexible(), req.AppendTo(nil))
	body, err := p.answer()
	if err != nil {
		p.t.Fatalf("%T: %v", req, err)
	}
	resp, err := read(req.Key(), req.GetVersion(), body)
	if err != nil {
		p.t.Fatalf("%T: %v", req, err)
	}
	return resp
}

func read(key, version int16, body []byte) (kmsg.Response, error) {
	resp := kmsg.ResponseForKey(key)
	resp.SetVersion(version)
	if resp.IsFlexible() && key != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("no empty tags in the header")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	return resp, nil
}

// scrape reads one counter of the admin listener.
func (n *Node) scrape(t *testing.T, name string) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return n.Net.Host(clientHost).Dial(ctx, host+":9644")
	}}}
	resp, err := client.Get("http://" + host + ":9644/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no metric %s", name)
	}
	v, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}

// allocatedBytes is what the process has allocated so far.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Each API that the node offers, in each version, meets all that can be wrong
// with a request in one place. What is not a request costs its connection, with
// one log line and one count; what is one gets an answer that can be read, and
// never UNKNOWN_SERVER_ERROR. The node lives on, and so do its other
// connections.
func TestBadInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		if s, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
			seed = s
		}
		t.Logf("SEED=%d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		log := &closedLog{}
		n := Start(t, Options{Set: []string{"gregor.admin.listener=" + host + ":9644", "gregor.insecure.public.listeners=PLAINTEXT,ADMIN", "auto.create.topics.enable=false", "connections.max.idle.ms=86400000"}, Log: log})
		bystander, p := n.peer(t), n.peer(t)
		id := badTopic(t, bystander)
		offered := p.do(&kmsg.ApiVersionsRequest{}).(*kmsg.ApiVersionsResponse).ApiKeys
		if len(offered) < 20 {
			t.Fatalf("%d APIs are offered", len(offered))
		}
		cases, closed := 0, 0
		for _, api := range offered {
			coordinate(bystander, id)
			for v := max(api.MinVersion, oldest(api.ApiKey)); v <= api.MaxVersion; v++ {
				req := badinput.Sample(api.ApiKey, v, id)
				list := badinput.Cases(req)
				if len(list) == 0 {
					t.Errorf("%s v%d: no cases", kmsg.NameForKey(api.ApiKey), v)
				}
				p.good(req)
				for range 30 {
					list = append(list, badinput.Mixed(badinput.Sample(api.ApiKey, v, id), random),
						badinput.Case{Name: "scrambled", Body: badinput.Scrambled(req.AppendTo(nil), random), Fate: badinput.Open})
				}
				for _, c := range list {
					cases++
					if p.suffer(req, c) {
						closed++
					}
				}
			}
			bystander.alive()
		}
		synctest.Wait()
		if got := n.scrape(t, `gregor_connections_closed_total{reason="malformed"}`); got != closed || int(log.lines.Load()) != closed {
			t.Errorf("%d connections were closed; the counter says %d, the log %d", closed, got, log.lines.Load())
		}
		if got := n.scrape(t, `gregor_connections_closed_total{reason="panic"}`); got != 0 {
			t.Errorf("%d panics", got)
		}
		if got := n.scrape(t, "gregor_unknown_errors_total"); got != 0 {
			t.Errorf("%d unknown errors", got)
		}
		if got := n.scrape(t, "gregor_request_memory_used_bytes"); got != 0 {
			t.Errorf("%d bytes of the budget are not given back", got)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%d requests, %d closed; heap %d KiB", cases, closed, m.HeapAlloc>>10)
		if m.HeapAlloc > 256<<20 {
			t.Errorf("%d MiB are in use", m.HeapAlloc>>20)
		}
	})
}

// oldest is the first version that is served, where that is not the first that
// is offered.
func oldest(key int16) int16 {
	if key == int16(kmsg.Produce) {
		return 3
	}
	return 0
}

// badTopic makes the topic of the samples, and has their groups coordinated.
func badTopic(t *testing.T, p *peer) (id [16]byte) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = badinput.Topic, 1, 1
	req.Topics = append(req.Topics, topic)
	made := p.do(req).(*kmsg.CreateTopicsResponse).Topics[0]
	if made.ErrorCode != 0 {
		t.Fatalf("create: %v", kafka.Code(made.ErrorCode))
	}
	coordinate(p, made.TopicID)
	for v := int16(13); ; {
		produced := p.do(badinput.Sample(int16(kmsg.Produce), v, made.TopicID)).(*kmsg.ProduceResponse)
		if produced.Topics[0].Partitions[0].ErrorCode == 0 {
			return made.TopicID
		}
		time.Sleep(time.Millisecond)
	}
}

// coordinate has the groups of the samples coordinated: a case before may have
// deleted their topic.
func coordinate(p *peer, id [16]byte) {
	p.t.Helper()
	for req := badinput.Sample(int16(kmsg.FindCoordinator), 3, id); ; time.Sleep(time.Second) {
		if found := p.do(req).(*kmsg.FindCoordinatorResponse); found.ErrorCode == 0 {
			return
		}
	}
}

// good wants the sample to be answered without an error.
func (p *peer) good(req kmsg.Request) {
	p.t.Helper()
	if r, ok := req.(*kmsg.CreatePartitionsRequest); ok { // a case before may have done it in earnest
		r.Topics[0].Count = p.partitions(r.Topics[0].Topic) + 1
	}
	codes, err := badinput.Codes(p.do(req))
	if err != nil || len(codes) > 0 && !strings.Contains(samplesWithErrors, kmsg.NameForKey(req.Key())) {
		p.t.Errorf("%s v%d: the sample is answered with %v, %v", kmsg.NameForKey(req.Key()), req.GetVersion(), codes, err)
	}
}

// partitions is how many a topic has.
func (p *peer) partitions(topic string) int32 {
	p.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 1
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	return int32(len(p.do(req).(*kmsg.MetadataResponse).Topics[0].Partitions))
}

// samplesWithErrors are right requests that ask for what is not there, because
// they would change something otherwise, or because it is not built.
const samplesWithErrors = "DeleteTopics UnregisterBroker ElectLeaders JoinGroup SyncGroup Heartbeat LeaveGroup DeleteGroups OffsetDelete ConsumerGroupHeartbeat ConsumerGroupDescribe PushTelemetry DescribeACLs CreateACLs DeleteACLs DescribeUserSCRAMCredentials"

// suffer sends a case and tells whether it cost the connection.
func (p *peer) suffer(req kmsg.Request, c badinput.Case) (closed bool) {
	p.t.Helper()
	name := func() string {
		return fmt.Sprintf("%s v%d, %s", kmsg.NameForKey(req.Key()), req.GetVersion(), c.Name)
	}
	before := allocatedBytes()
	p.send(req.Key(), req.GetVersion(), req.IsFlexible(), c.Body)
	mute := isMute(req, c.Body)
	if mute { // the answer to something else tells what became of it
		p.send(int16(kmsg.ApiVersions), 0, false, nil)
	}
	body, err := p.answer()
	if used := allocatedBytes() - before; used > 8<<20 {
		p.t.Errorf("%s: %d MiB were allocated for %d bytes", name(), used>>20, len(c.Body))
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.t.Errorf("%s: no answer", name())
	case err == nil && c.Fate == badinput.Closed:
		p.t.Errorf("%s: answered % x, want the connection closed", name(), body[:min(len(body), 40)])
		return false
	case err != nil && c.Fate == badinput.Answered && !mute:
		p.t.Errorf("%s: %v, want an answer; % x", name(), err, c.Body)
	case mute && err == nil:
		return false
	case err == nil:
		resp, err := read(req.Key(), req.GetVersion(), body)
		if err != nil {
			p.t.Errorf("%s: the answer: %v", name(), err)
			return false
		}
		codes, err := badinput.Codes(resp)
		if err != nil {
			p.t.Errorf("%s: %v", name(), err)
		}
		for _, code := range codes {
			if kafka.Code(code) == kafka.UnknownServerError {
				p.t.Errorf("%s: UNKNOWN_SERVER_ERROR; % x", name(), c.Body)
			}
		}
		return false
	}
	p.conn.Close()
	p.dial()
	return true
}

// isMute reports whether a body is a Produce that wants no answer.
func isMute(req kmsg.Request, body []byte) bool {
	if req.Key() != int16(kmsg.Produce) {
		return false
	}
	r := frame.NewReader(body)
	if req.IsFlexible() {
		r.CompactNullableString()
	} else {
		r.NullableString()
	}
	return r.Int16() == 0 && r.Err() == nil
}

// alive wants this connection, and the topic, to work.
func (p *peer) alive() {
	p.t.Helper()
	produced := p.do(badinput.Sample(int16(kmsg.Produce), 9, [16]byte{})).(*kmsg.ProduceResponse)
	fetch := badinput.Sample(int16(kmsg.Fetch), 4, [16]byte{}).(*kmsg.FetchRequest)
	fetch.Topics[0].Partitions[0].FetchOffset = produced.Topics[0].Partitions[0].BaseOffset
	if fetched := p.do(fetch).(*kmsg.FetchResponse); len(fetched.Topics) != 1 ||
		!bytes.Contains(fetched.Topics[0].Partitions[0].RecordBatches, []byte("value")) {
		p.t.Fatalf("read %+v", fetched)
	}
}
