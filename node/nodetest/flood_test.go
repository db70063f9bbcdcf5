// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// slowOffsets takes a time for each write of __consumer_offsets.
type slowOffsets struct {
	vfs.FS
	pause *atomic.Int64
}

func (d slowOffsets) Open(name string, flag vfs.OpenFlag, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.Open(name, flag, perm)
	if err != nil || !strings.HasSuffix(name, ".log") || !strings.Contains(name, "/__consumer_offsets-") {
		return f, err
	}
	return slowFile{f, d.pause}, nil
}

// flood is connections that send heartbeats as fast as they are answered, each
// floodWindow of them ahead.
type flood struct {
	t         *testing.T
	n         *Node
	stopped   atomic.Bool
	running   sync.WaitGroup
	answered  atomic.Int64
	throttled atomic.Int64
}

const floodWindow = 25

// send begins one connection; every answer is to have one of the codes.
func (f *flood) send(name string, request func(i int) kmsg.Request, codes ...kafka.Code) {
	f.t.Helper()
	conn, err := f.n.Net.Host(clientHost).Dial(f.t.Context(), Addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.running.Go(func() {
		defer conn.Close()
		format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("flood"))
		var out, frame []byte
		for i := 0; !f.stopped.Load(); {
			var last kmsg.Request
			out = out[:0]
			for range floodWindow {
				i++
				last = request(i)
				frame = format.AppendRequest(frame[:0], last, int32(i))
				out = append(out, frame...)
			}
			if _, err := conn.Write(out); err != nil {
				f.t.Errorf("%s: %v", name, err)
				return
			}
			for range floodWindow {
				if err := f.answer(conn, last, codes); err != nil {
					f.t.Errorf("%s: %v", name, err)
					return
				}
			}
		}
	})
}

func (f *flood) answer(conn net.Conn, req kmsg.Request, codes []kafka.Code) error {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	resp, err := read(req.Key(), req.GetVersion(), body[4:])
	if err != nil {
		return err
	}
	var code kafka.Code
	var throttleMs int32
	switch r := resp.(type) {
	case *kmsg.HeartbeatResponse:
		code, throttleMs = kafka.Code(r.ErrorCode), r.ThrottleMillis
	case *kmsg.ConsumerGroupHeartbeatResponse:
		code, throttleMs = kafka.Code(r.ErrorCode), r.ThrottleMillis
	}
	f.answered.Add(1)
	if throttleMs > 0 {
		f.throttled.Add(1)
	}
	for _, want := range codes {
		if code == want {
			return nil
		}
	}
	return fmt.Errorf("answered %v, want %v", code, codes)
}

func beatOf(group, member string, generation int32) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 4, group, member, generation
	return req
}

func consumerBeatOf(group, member string, epoch int32, topics ...string) *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 1, group, member, epoch, -1, topics
	if epoch == 0 {
		req.RebalanceTimeoutMillis, req.Topics = 60_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return req
}

func joinOf(group, member string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 3, group, member, "consumer", 6000, 6000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0}}}
	return req
}

// joined makes c the only member of a classic group.
func (c *quotaClient) joined(group string) string {
	c.t.Helper()
	for {
		r, _ := c.do(joinOf(group, ""))
		if joined := r.(*kmsg.JoinGroupResponse); joined.ErrorCode == 0 {
			c.sync(group, joined.MemberID, joined.Generation)
			return joined.MemberID
		}
		time.Sleep(100 * time.Millisecond) // its coordinator is not there yet
	}
}

// consumes makes c the only member of a new group, and gives its epoch.
func (c *quotaClient) consumes(group, member string) int32 {
	c.t.Helper()
	r, _ := c.do(consumerBeatOf(group, member, 0, "t"))
	joined := r.(*kmsg.ConsumerGroupHeartbeatResponse)
	if joined.ErrorCode != 0 || joined.MemberEpoch < 1 {
		c.t.Fatalf("joined: %+v", joined)
	}
	return joined.MemberEpoch
}

func (c *quotaClient) sync(group, member string, generation int32) {
	c.t.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 3, group, member, generation
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member, MemberAssignment: []byte("all")}}
	if r, _ := c.do(req); r.(*kmsg.SyncGroupResponse).ErrorCode != 0 {
		c.t.Fatalf("sync: %+v", r)
	}
}

// bystanders are a classic and a new group that have nothing to do with the flood.
type bystanders struct {
	*quotaClient
	second     *quotaClient
	member     string
	generation int32
	epoch      int32
	offset     int64
	longest    time.Duration // of an answer that waits for nobody
}

func (b *bystanders) timed(req kmsg.Request) kmsg.Response {
	b.t.Helper()
	began := time.Now()
	resp, _ := b.do(req)
	b.longest = max(b.longest, time.Since(began))
	return resp
}

// live is what the members of both groups do within a session.
func (b *bystanders) live() {
	b.t.Helper()
	if r := b.timed(beatOf("classic", b.member, b.generation)).(*kmsg.HeartbeatResponse); r.ErrorCode != 0 || r.ThrottleMillis != 0 {
		b.t.Fatalf("heartbeat: %v %+v", kafka.Code(r.ErrorCode), r)
	}
	if r := b.timed(consumerBeatOf("new", "m", b.epoch)).(*kmsg.ConsumerGroupHeartbeatResponse); r.ErrorCode != 0 || r.ThrottleMillis != 0 {
		b.t.Fatalf("new heartbeat: %v %+v", kafka.Code(r.ErrorCode), r)
	}
	b.offset++
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 8, "classic", b.member, b.generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = b.offset
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	if r := b.timed(req).(*kmsg.OffsetCommitResponse); r.Topics[0].Partitions[0].ErrorCode != 0 {
		b.t.Fatalf("commit: %+v", r)
	}
}

// rebalance has a second member come and go.
func (b *bystanders) rebalance() {
	b.t.Helper()
	var second *kmsg.JoinGroupResponse
	var coming sync.WaitGroup
	coming.Go(func() {
		r, _ := b.second.do(joinOf("classic", ""))
		second = r.(*kmsg.JoinGroupResponse)
	})
	for {
		r := b.timed(beatOf("classic", b.member, b.generation)).(*kmsg.HeartbeatResponse)
		if kafka.Code(r.ErrorCode) == kafka.RebalanceInProgress {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	again := func(members int) {
		r, _ := b.do(joinOf("classic", b.member))
		joined := r.(*kmsg.JoinGroupResponse)
		if joined.ErrorCode != 0 || len(joined.Members) != members || joined.Generation != b.generation+1 {
			b.t.Fatalf("rejoined: %+v", joined)
		}
		b.generation = joined.Generation
		b.sync("classic", b.member, b.generation)
	}
	again(2)
	coming.Wait()
	if second.ErrorCode != 0 || second.Generation != b.generation {
		b.t.Fatalf("the second: %+v", second)
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group, leave.MemberID = "classic", second.MemberID
	if r := b.timed(leave).(*kmsg.LeaveGroupResponse); r.ErrorCode != 0 {
		b.t.Fatalf("left: %+v", r)
	}
	again(1)
}

// Heartbeats of known and unknown members, of both protocols, come over many
// connections as fast as they are answered, to the coordinator that others use:
// their sessions, commits and rebalances go on without a delay, nothing is
// written or kept for the flood, and a quota of requests slows it down.
func TestHeartbeatFlood(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		var pause atomic.Int64
		n := Start(t, Options{
			Set: []string{"offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0", "group.consumer.min.session.timeout.ms=6000", "group.consumer.session.timeout.ms=6000",
				"group.consumer.min.heartbeat.interval.ms=2000", "group.consumer.heartbeat.interval.ms=2000", "gregor.admin.listener=" + host + ":9644", "gregor.insecure.public.listeners=PLAINTEXT,ADMIN"},
			FS: func(disk *vfs.Memory) vfs.FS { return slowOffsets{disk, &pause} },
		})
		c := n.Client()
		admin := kadm.NewClient(c)
		createTopic(ctx, t, c, nil)
		admin.FindGroupCoordinators(ctx, "classic") // makes their topic
		good := &bystanders{quotaClient: n.quotaClient(t, "good"), second: n.quotaClient(t, "good"), generation: 1}
		good.member = good.joined("classic")
		good.epoch = good.consumes("new", "m")
		mine := n.quotaClient(t, "flood")
		own := mine.joined("flooders")
		epoch := mine.consumes("new-flooders", "f")
		const delay = 10 * time.Millisecond
		n.Net.Delay(clientHost, host, delay)
		n.Net.Delay(host, clientHost, delay)
		begin := func() *flood {
			f := &flood{t: t, n: n}
			f.send("a group for each", func(i int) kmsg.Request { return beatOf(fmt.Sprint("nowhere-", i), own, 1) }, kafka.UnknownMemberID)
			f.send("a stranger", func(i int) kmsg.Request { return beatOf("classic", fmt.Sprint("stranger-", i), 1) }, kafka.UnknownMemberID)
			f.send("in another's name", func(int) kmsg.Request { return beatOf("classic", good.member, 99) }, kafka.IllegalGeneration)
			f.send("a member", func(int) kmsg.Request { return beatOf("flooders", own, 1) }, kafka.None)
			f.send("a new group for each", func(i int) kmsg.Request { return consumerBeatOf(fmt.Sprint("nowhere-", i), "f", 7) }, kafka.GroupIDNotFound)
			f.send("a new stranger", func(i int) kmsg.Request { return consumerBeatOf("new", fmt.Sprint("stranger-", i), 7) }, kafka.UnknownMemberID)
			f.send("in another's new name", func(int) kmsg.Request { return consumerBeatOf("new", "m", 99) }, kafka.FencedMemberEpoch)
			f.send("a new member", func(int) kmsg.Request { return consumerBeatOf("new-flooders", "f", epoch) }, kafka.None)
			return f
		}
		// live goes on for so long, and tells how much of the flood was answered.
		live := func(f *flood, seconds int) int64 {
			before := f.answered.Load()
			for range seconds {
				for range 5 {
					time.Sleep(100 * time.Millisecond)
					good.live()
				}
			}
			return f.answered.Load() - before
		}
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		before := heap()

		// A flood writes nothing.
		end := func() int64 {
			ends, err := admin.ListEndOffsets(ctx, "__consumer_offsets")
			if err != nil {
				t.Fatal(err)
			}
			at, _ := ends.Lookup("__consumer_offsets", 0)
			return at.Offset
		}
		good.live()
		written := end()
		f := begin()
		time.Sleep(time.Second)
		if at := end(); at != written || f.answered.Load() < 8*floodWindow {
			t.Errorf("%d records were written for %d heartbeats", at-written, f.answered.Load())
		}

		// The others notice nothing, also while the disk is slow: who floods has one
		// request in front of theirs for each connection.
		live(f, 3)
		good.rebalance()
		if good.longest > 2*delay+10*time.Millisecond {
			t.Errorf("an answer took %v", good.longest)
		}
		const slow = 20 * time.Millisecond
		pause.Store(int64(slow))
		free := live(f, 4)
		good.rebalance()
		if good.longest > 2*delay+3*slow {
			t.Errorf("an answer took %v while a write takes %v", good.longest, slow)
		}
		if used := n.scrape(t, "gregor_request_memory_used_bytes"); used > 1<<20 {
			t.Errorf("%d bytes of requests are held", used)
		}

		// A quota of requests slows the flood down, and nobody else.
		setQuota(ctx, t, admin, "flood", "request_percentage", 0.01)
		live(f, 3)
		limited := live(f, 4)
		if f.throttled.Load() == 0 || limited > free/4 {
			t.Errorf("%d heartbeats in four seconds without a quota, %d with one; %d told to wait", free, limited, f.throttled.Load())
		}
		f.stopped.Store(true)
		setQuota(ctx, t, admin, "flood", "request_percentage", 0)
		f.running.Wait()

		// Nothing is kept.
		groups, err := admin.ListGroups(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(groups) != 4 {
			t.Errorf("there are %v", groups.Groups())
		}
		if after := heap(); after > before+32<<20 {
			t.Errorf("the heap grew from %d to %d MiB", before>>20, after>>20)
		}
		t.Logf("%d heartbeats, %d with a quota; the longest answer of others took %v", f.answered.Load(), limited, good.longest)
	})
}

// Who sends heartbeats and reads no answer is read no further than the buffers of
// its connection go, and is in nobody's way.
func TestFloodWithoutReading(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{Set: []string{"offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0",
			"gregor.admin.listener=" + host + ":9644", "gregor.insecure.public.listeners=PLAINTEXT,ADMIN"}})
		admin := n.Client()
		createTopic(ctx, t, admin, nil)
		kadm.NewClient(admin).FindGroupCoordinators(ctx, "classic") // makes their topic
		c := n.quotaClient(t, "good")
		member := c.joined("classic")
		const floods, mebibytes = 4, 16
		var sent atomic.Int64
		for range floods {
			conn, err := n.Net.Host(clientHost).Dial(ctx, Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go func() {
				frame := kmsg.NewRequestFormatter().AppendRequest(nil, beatOf("classic", member, 99), 1)
				for range mebibytes << 20 / len(frame) {
					written, err := conn.Write(frame)
					sent.Add(int64(written))
					if err != nil {
						if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
							t.Logf("flood: %v", err)
						}
						return
					}
				}
				t.Error("everything was taken")
			}()
		}
		synctest.Wait()
		stuck := sent.Load()
		for range 10 {
			time.Sleep(time.Second)
			if r, _ := c.do(beatOf("classic", member, 1)); r.(*kmsg.HeartbeatResponse).ErrorCode != 0 {
				t.Fatalf("heartbeat: %+v", r)
			}
		}
		if now := sent.Load(); now != stuck {
			t.Errorf("%d bytes were taken, and %d more", stuck, now-stuck)
		}
		if used := n.scrape(t, "gregor_request_memory_used_bytes"); used > 1<<20 {
			t.Errorf("%d bytes of requests are held", used)
		}
		t.Logf("%d bytes were taken of each", stuck/floods)
	})
}
