// SPDX-License-Identifier: Apache-2.0

package active_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/active"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/link"
	"gregor/cluster/metalog"
	"gregor/cluster/metalog/loader"
	"gregor/cluster/metarec"
	"gregor/cluster/raftnode"
)

// house is a controller over a metadata quorum of its own, in memory.
type house struct {
	t      *testing.T
	fs     vfs.FS
	node   *raftnode.Node
	c      *active.Controller
	cancel context.CancelFunc
	done   chan struct{}
	failed chan error
}

var (
	directory = kafka.DirectoryID{0: 7, 6: 0x40, 8: 0x80, 15: 1}
	clusterID = "cluster"
)

func config() *controller.Config {
	return &controller.Config{
		NodeID: 1, ClusterID: clusterID, NumPartitions: 1, DefaultReplicationFactor: 1, MinInSyncReplicas: 2,
		DeleteTopicEnable: true, RecordsMax: 10_000,
		Features: []metarec.FeatureRange{{Name: "metadata.version", Min: 7, Max: 33}, {Name: "kraft.version", Max: 1}},
	}
}

func newHouse(t *testing.T, fs vfs.FS, change ...func(*raftnode.Options, *active.Options)) *house {
	t.Helper()
	h := &house{t: t, fs: fs, done: make(chan struct{}), failed: make(chan error, 2)}
	endpoint := metarec.VoterEndpoint{Name: "CONTROLLER", Host: "127.0.0.1", Port: 9093}
	ro := raftnode.Options{
		FS: fs, Dir: "/meta", NodeID: 1, DirectoryID: directory, Endpoints: []metarec.VoterEndpoint{endpoint},
		Form: &raftnode.Formation{
			Voters: []metarec.Voter{metalog.NewVoter(1, directory, endpoint)}, Bootstrap: controller.Bootstrap(config()), MetadataVersion: 33,
		},
		Image:  func() raftnode.Applied { return h.applied() },
		Failed: func(op string, err error) { h.failed <- fmt.Errorf("%s: %w", op, err) },
		Now:    time.Now,
	}
	ao := active.Options{
		Env: controller.Env{Config: config()}, SessionTimeout: time.Hour, Now: time.Now, Random: rand.NewChaCha8([32]byte{1}),
		Failed: func(op string, err error) { h.failed <- fmt.Errorf("%s: %w", op, err) },
	}
	for _, f := range change {
		f(&ro, &ao)
	}
	var err error
	if h.node, err = raftnode.Open(ro); err != nil {
		t.Fatal(err)
	}
	if err := h.node.Start(); err != nil {
		t.Fatal(err)
	}
	ao.Quorum, ao.Log = h.node, h.node.Log()
	h.c = active.New(ao)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() {
		_ = h.c.Run(ctx) // Failed tells
		close(h.done)
	}()
	return h
}

func (h *house) applied() raftnode.Applied {
	l := loader.New(h.node.Log())
	if _, _, err := l.Load(); err != nil {
		h.t.Error(err)
	}
	img := l.Image()
	return raftnode.Applied{End: l.Next(), MetadataVersion: img.MetadataVersion(), Records: img.Records()}
}

func (h *house) image() *image.Image {
	h.t.Helper()
	l := loader.New(h.node.Log())
	if _, _, err := l.Load(); err != nil {
		h.t.Fatal(err)
	}
	return l.Image()
}

func (h *house) stop() {
	h.t.Helper()
	h.cancel()
	<-h.done
	if err := h.node.Stop(context.Background()); err != nil {
		h.t.Error(err)
	}
}

func (h *house) kill() {
	h.cancel()
	<-h.done
	h.node.Kill()
}

func (h *house) do(req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return h.c.Do(ctx, link.Requester{}, req)
}

// register registers a broker and gets it unfenced.
func (h *house) register(id int32, incarnation byte, local bool) (epoch int64, code kafka.Code) {
	h.t.Helper()
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = 4
	req.BrokerID, req.ClusterID, req.IncarnationID = id, clusterID, [16]byte{15: incarnation}
	req.LogDirs = [][16]byte{directory}
	req.Listeners = []kmsg.BrokerRegistrationRequestListener{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092}}
	req.Features = []kmsg.BrokerRegistrationRequestFeature{{Name: "metadata.version", MinSupportedVersion: 7, MaxSupportedVersion: 33}, {Name: "kraft.version", MaxSupportedVersion: 1}}
	req.PreviousBrokerEpoch = -1
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := h.c.Do(ctx, link.Requester{Local: local}, req)
	if err != nil {
		h.t.Fatal(err)
	}
	r := resp.(*kmsg.BrokerRegistrationResponse)
	return r.BrokerEpoch, kafka.Code(r.ErrorCode)
}

func (h *house) beat(id int32, epoch int64) *kmsg.BrokerHeartbeatResponse {
	h.t.Helper()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = id, epoch, int64(h.node.Log().Committed().End-1)
	resp, err := h.do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.(*kmsg.BrokerHeartbeatResponse)
}

func createTopic(name string, partitions int32) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	req.Topics = append(req.Topics, topic)
	return req
}

func (h *house) create(name string) (kafka.Code, error) {
	resp, err := h.do(createTopic(name, 2))
	if err != nil {
		return 0, err
	}
	return kafka.Code(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode), nil
}

// A new cluster begins with its features, written as one metadata transaction.
func TestFirstLeadershipBootstraps(t *testing.T) {
	h := newHouse(t, vfs.NewMemory())
	if epoch, code := h.register(1, 1, false); code != 0 || epoch == 0 {
		t.Fatalf("registration: epoch %d, %v", epoch, code)
	}
	var got []metarec.Record
	if _, err := h.node.Log().Replay(0, func(b metalog.Batch) error {
		if got == nil {
			got = b.Records
		}
		if len(got) == 0 {
			got = nil
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if begin, ok := got[0].(*metarec.BeginTransaction); !ok || *begin.Name != "Bootstrap records" {
		t.Errorf("first record %+v", got[0])
	}
	if f, ok := got[1].(*metarec.FeatureLevel); !ok || f.Name != "metadata.version" || f.Level != 33 {
		t.Errorf("second record %+v", got[1])
	}
	if _, ok := got[len(got)-1].(*metarec.EndTransaction); !ok {
		t.Errorf("last record %+v", got[len(got)-1])
	}
	before := h.image().Offset()
	h.stop()
	h = newHouse(t, h.fs)
	defer h.stop()
	// Nothing is bootstrapped twice.
	if _, code := h.register(1, 2, true); code != 0 {
		t.Fatal(code)
	}
	if img := h.image(); img.MetadataVersion() != 33 || img.Offset() > before+3 {
		t.Errorf("metadata.version %d, offset %d after %d", img.MetadataVersion(), img.Offset(), before)
	}
}

// A broker's epoch is the offset of its registration record.
func TestBrokerEpochIsItsOffset(t *testing.T) {
	h := newHouse(t, vfs.NewMemory())
	defer h.stop()
	epoch, code := h.register(1, 1, false)
	if code != 0 {
		t.Fatal(code)
	}
	found := false
	if _, err := h.node.Log().Replay(kafka.Offset(epoch), func(b metalog.Batch) error {
		for i, rec := range b.Records {
			r, ok := rec.(*metarec.RegisterBroker)
			found = found || ok && int64(r.BrokerEpoch) == epoch && int64(b.Base)+int64(i) == epoch
		}
		return nil
	}); err != nil || !found {
		t.Errorf("no registration at offset %d: %v", epoch, err)
	}
	if r := h.beat(1, epoch); r.ErrorCode != 0 || r.IsFenced || !r.IsCaughtUp {
		t.Errorf("heartbeat %+v", r)
	}
}

// Requests that come at once are judged one after the other, each against what
// those before it propose: one of many equal CreateTopics passes, and those that
// fail are answered no earlier than the one that passed.
func TestConcurrentRequestsSeeEachOther(t *testing.T) {
	h := newHouse(t, vfs.NewMemory())
	defer h.stop()
	epoch, _ := h.register(1, 1, false)
	h.beat(1, epoch)
	var mu sync.Mutex
	codes := map[kafka.Code]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			code, err := h.create("same")
			if err != nil {
				t.Error(err)
			}
			if h.image().Topic("same") == nil {
				t.Errorf("answered %v before the topic was committed", code)
			}
			mu.Lock()
			codes[code]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if codes[kafka.None] != 1 || codes[kafka.TopicAlreadyExists] != 49 {
		t.Errorf("codes %v", codes)
	}
	for i := range 50 {
		wg.Go(func() {
			if code, err := h.create(fmt.Sprint("topic-", i)); err != nil || code != 0 {
				t.Error(code, err)
			}
		})
	}
	wg.Wait()
	if n := h.image().TopicCount(); n != 51 {
		t.Errorf("%d topics", n)
	}
}

// What was answered is there after the process was killed.
func TestAnsweredIsKept(t *testing.T) {
	m := vfs.NewMemory()
	if err := errors.Join(m.MkdirAll("/meta"), m.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	var want []string
	for run := range 4 {
		h := newHouse(t, m, func(_ *raftnode.Options, o *active.Options) { o.Random = rand.NewChaCha8([32]byte{byte(run)}) })
		epoch, code := h.register(1, byte(run+1), true)
		if code != 0 {
			t.Fatalf("run %d: %v", run, code)
		}
		h.beat(1, epoch)
		for i := range 5 {
			name := fmt.Sprintf("t-%d-%d", run, i)
			if code, err := h.create(name); err != nil || code != 0 {
				t.Fatal(code, err)
			}
			want = append(want, name)
		}
		m = m.CrashClone(vfs.Loss{Data: vfs.KeepNone, Entries: vfs.KeepNone})
		h.kill()
	}
	h := newHouse(t, m)
	defer h.stop()
	var got []string
	for topic := range h.image().Topics() {
		got = append(got, topic.Name)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("topics %v, want %v", got, want)
	}
}

// The broker in the controller's own process is admitted at once after a crash;
// another incarnation elsewhere waits for the session.
func TestLocalIncarnationIsAdmittedAtOnce(t *testing.T) {
	h := newHouse(t, vfs.NewMemory())
	defer h.stop()
	epoch, _ := h.register(1, 1, true)
	h.beat(1, epoch)
	if _, code := h.register(1, 2, false); code != kafka.DuplicateBrokerRegistration {
		t.Errorf("a second incarnation from elsewhere: %v", code)
	}
	if _, code := h.register(1, 3, true); code != kafka.None {
		t.Errorf("a second incarnation in this process: %v", code)
	}
}

// A broker that is silent for a session is fenced; one that speaks is not.
func TestSilentBrokerIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, vfs.NewMemory(), func(_ *raftnode.Options, o *active.Options) { o.SessionTimeout = 9 * time.Second })
		defer h.stop()
		epoch, _ := h.register(1, 1, false)
		for range 10 {
			if r := h.beat(1, epoch); r.IsFenced || r.ErrorCode != 0 {
				t.Fatalf("heartbeat %+v", r)
			}
			time.Sleep(5 * time.Second)
		}
		synctest.Wait()
		if h.image().Broker(1).Fenced {
			t.Error("a broker that speaks was fenced")
		}
		time.Sleep(9*time.Second + time.Millisecond)
		synctest.Wait()
		if !h.image().Broker(1).Fenced {
			t.Error("a silent broker was not fenced")
		}
		if r := h.beat(1, epoch); r.IsFenced {
			t.Errorf("back again: %+v", r)
		}
	})
}

// While the disk is full the controller is not active; when there is room it
// serves again, in another epoch.
func TestFullDiskEndsTheLeadership(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory())
	h := newHouse(t, fault)
	defer h.stop()
	epoch, _ := h.register(1, 1, false)
	h.beat(1, epoch)
	before := h.node.Leader().Epoch
	full(fault, true)
	if _, err := h.create("late"); !errors.Is(err, kafka.NotController) {
		t.Errorf("create on a full disk: %v", err)
	}
	if _, err := h.create("later"); !errors.Is(err, active.ErrNotActive) {
		t.Errorf("create while not active: %v", err)
	}
	full(fault, false)
	eventually(t, h.c.Active)
	if after := h.node.Leader().Epoch; after <= before {
		t.Errorf("epoch %d after %d", after, before)
	}
	if code, err := h.create("room"); err != nil || code != 0 && code != kafka.TopicAlreadyExists {
		t.Error(code, err)
	}
	select {
	case err := <-h.failed:
		t.Errorf("a full disk is no failure: %v", err)
	default:
	}
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}

// A failed fsync is final.
func TestFailedSyncEndsTheNode(t *testing.T) {
	fault := vfs.NewFault(vfs.NewMemory())
	h := newHouse(t, fault)
	epoch, _ := h.register(1, 1, false)
	h.beat(1, epoch)
	broken(fault)
	if _, err := h.create("lost"); !errors.Is(err, kafka.NotController) {
		t.Errorf("create: %v", err)
	}
	select {
	case <-h.failed:
	case <-time.After(time.Minute):
		t.Error("nobody was told")
	}
	eventually(t, func() bool { return !h.node.Leader().Leading && !h.c.Active() })
	h.kill()
}

// Requests that nobody waits for are not carried out, and a controller that has
// stopped answers at once.
func TestGivenUpAndStopped(t *testing.T) {
	h := newHouse(t, vfs.NewMemory())
	epoch, _ := h.register(1, 1, false)
	h.beat(1, epoch)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.c.Do(ctx, link.Requester{}, createTopic("never", 1)); !errors.Is(err, kafka.RequestTimedOut) && err != nil {
		t.Errorf("given up: %v", err)
	}
	h.stop()
	if _, err := h.create("after"); !errors.Is(err, kafka.NotController) {
		t.Errorf("stopped: %v", err)
	}
}

// A checkpoint is written at a clean stop, and a start needs no more than it.
func TestCleanStopLeavesACheckpoint(t *testing.T) {
	fs := vfs.NewMemory()
	h := newHouse(t, fs)
	epoch, _ := h.register(1, 1, false)
	h.beat(1, epoch)
	for i := range 20 {
		if code, err := h.create(fmt.Sprint("topic-", i)); err != nil || code != 0 {
			t.Fatal(code, err)
		}
	}
	h.stop()
	log, err := metalog.Open(metalog.Options{FS: fs, Dir: "/meta"})
	if err != nil {
		t.Fatal(err)
	}
	ck, ok := log.Checkpoint()
	if !ok || ck.End != log.End() {
		t.Errorf("checkpoint at %d, the log ends at %d", ck.End, log.End())
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	h = newHouse(t, fs)
	defer h.stop()
	if n := h.image().TopicCount(); n != 20 {
		t.Errorf("%d topics", n)
	}
}

func full(f *vfs.Fault, is bool) {
	if is {
		f.SetBudget(0)
	} else {
		f.Clear()
	}
}

func broken(f *vfs.Fault) { f.Add(vfs.Rule{Ops: vfs.OpSyncData, Err: syscall.EIO}) }
