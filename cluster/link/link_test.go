// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// fakeController answers as a controller would for one broker, and notes when
// it was asked.
type fakeController struct {
	mu         sync.Mutex
	notActive  int // requests to refuse first
	refuse     kafka.Code
	epoch      int64
	forgotten  bool
	leads      int // heartbeats until a shutdown is allowed
	next       int64
	registered []*kmsg.BrokerRegistrationRequest
	beats      []beat
	who        []Requester
}

type beat struct {
	at  time.Time
	req kmsg.BrokerHeartbeatRequest
}

func (c *fakeController) Do(ctx context.Context, who Requester, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.who = append(c.who, who)
	if c.notActive > 0 {
		c.notActive--
		return nil, kafka.NotController
	}
	switch r := req.(type) {
	case *kmsg.BrokerRegistrationRequest:
		resp := r.ResponseKind().(*kmsg.BrokerRegistrationResponse)
		if resp.ErrorCode = int16(c.refuse); c.refuse == 0 {
			c.epoch, c.forgotten = c.epoch+100, false
			resp.BrokerEpoch = c.epoch
		}
		c.registered = append(c.registered, r)
		return resp, nil
	case *kmsg.BrokerHeartbeatRequest:
		c.beats = append(c.beats, beat{time.Now(), *r})
		resp := r.ResponseKind().(*kmsg.BrokerHeartbeatResponse)
		if c.forgotten || r.BrokerEpoch != c.epoch {
			resp.ErrorCode = int16(kafka.StaleBrokerEpoch)
			return resp, nil
		}
		resp.IsFenced = r.CurrentMetadataOffset < c.epoch
		if r.WantShutdown {
			c.leads--
			resp.ShouldShutdown = c.leads < 0
		}
		return resp, nil
	case *kmsg.AllocateProducerIDsRequest:
		resp := r.ResponseKind().(*kmsg.AllocateProducerIDsResponse)
		if r.BrokerEpoch != c.epoch {
			resp.ErrorCode = int16(kafka.StaleBrokerEpoch)
			return resp, nil
		}
		resp.ProducerIDStart, resp.ProducerIDLen = c.next, 3
		c.next += 3
		return resp, nil
	}
	return nil, kafka.UnsupportedVersion
}

func (c *fakeController) beatCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.beats)
}

func newLink(c Controller) *Link {
	return New(Options{
		NodeID: 4, ClusterID: "cluster", Incarnation: kafka.UUID{1}, Rack: "r",
		Listeners: []kmsg.BrokerRegistrationRequestListener{{Name: "PLAINTEXT", Host: "h", Port: 9092}},
		LogDirs:   []kafka.DirectoryID{{9}}, PreviousEpoch: 7,
		Controller: c, HeartbeatInterval: 2 * time.Second, RequestTimeout: time.Second, Logger: slog.New(slog.DiscardHandler),
	})
}

// run runs a link in a bubble until the test's function returns.
func run(t *testing.T, c *fakeController, f func(t *testing.T, l *Link)) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(c)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			l.Run(ctx)
			close(done)
		}()
		f(t, l)
		cancel()
		<-done
	})
}

func TestRegistersAndIsUnfencedWhenItsImageHoldsIt(t *testing.T) {
	c := &fakeController{notActive: 3}
	run(t, c, func(t *testing.T, l *Link) {
		if l.Epoch() != -1 {
			t.Errorf("epoch %d before the registration", l.Epoch())
		}
		synctest.Wait()
		time.Sleep(500 * time.Millisecond) // the controller becomes active
		if l.Epoch() != 100 || l.Unfenced() {
			t.Fatalf("epoch %d, unfenced %v", l.Epoch(), l.Unfenced())
		}
		r := c.registered[0]
		if r.BrokerID != 4 || r.ClusterID != "cluster" || *r.Rack != "r" || r.PreviousBrokerEpoch != 7 || len(r.LogDirs) != 1 || !c.who[len(c.who)-1].Local {
			t.Errorf("registration %+v", r)
		}
		l.Published(99)
		synctest.Wait()
		if l.Unfenced() {
			t.Error("unfenced before the image holds the registration")
		}
		before := time.Now()
		l.Published(100)
		synctest.Wait()
		if !l.Unfenced() || !time.Now().Equal(before) {
			t.Error("the image holds the registration, and no heartbeat says so at once")
		}
	})
}

func TestHeartbeatsAtTheInterval(t *testing.T) {
	c := &fakeController{}
	run(t, c, func(t *testing.T, l *Link) {
		synctest.Wait()
		l.Published(100)
		synctest.Wait()
		n := c.beatCount()
		time.Sleep(20*time.Second + time.Millisecond)
		if got := c.beatCount() - n; got != 10 {
			t.Errorf("%d heartbeats in 20 s, want 10", got)
		}
	})
}

func TestRegistersAnewWhenForgotten(t *testing.T) {
	c := &fakeController{}
	run(t, c, func(t *testing.T, l *Link) {
		synctest.Wait()
		l.Published(100)
		synctest.Wait()
		c.mu.Lock()
		c.forgotten = true
		c.mu.Unlock()
		time.Sleep(2100 * time.Millisecond)
		if l.Epoch() != 200 || l.Unfenced() {
			t.Errorf("epoch %d, unfenced %v", l.Epoch(), l.Unfenced())
		}
		l.Published(200)
		synctest.Wait()
		if !l.Unfenced() {
			t.Error("still fenced")
		}
	})
}

func TestRefusedRegistrationIsTriedAgain(t *testing.T) {
	c := &fakeController{refuse: kafka.DuplicateBrokerRegistration}
	run(t, c, func(t *testing.T, l *Link) {
		time.Sleep(5 * time.Second)
		c.mu.Lock()
		tries := len(c.registered)
		c.refuse = 0
		c.mu.Unlock()
		if tries < 4 || tries > 10 {
			t.Errorf("%d tries in 5 s", tries)
		}
		time.Sleep(1100 * time.Millisecond)
		if l.Epoch() != 100 {
			t.Errorf("epoch %d", l.Epoch())
		}
	})
}

func TestLeaveWaitsUntilTheControllerLetsGo(t *testing.T) {
	c := &fakeController{leads: 3}
	run(t, c, func(t *testing.T, l *Link) {
		synctest.Wait()
		l.Published(100)
		synctest.Wait()
		begin := time.Now()
		if err := l.Leave(context.Background()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > 100*time.Millisecond {
			t.Errorf("leaving took %v: no interval is waited for", took)
		}
		if last := c.beats[len(c.beats)-1].req; !last.WantShutdown {
			t.Errorf("last heartbeat %+v", last)
		}
	})
	never := &fakeController{leads: 1 << 30}
	run(t, never, func(t *testing.T, l *Link) {
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := l.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("leave: %v", err)
		}
	})
}

func TestProducerIDsAreUnique(t *testing.T) {
	c := &fakeController{next: 1000}
	run(t, c, func(t *testing.T, l *Link) {
		var mu sync.Mutex
		seen := map[kafka.ProducerID]bool{}
		var wg sync.WaitGroup
		for range 20 { // also before the registration is through
			wg.Go(func() {
				id, err := l.ProducerID(context.Background())
				mu.Lock()
				defer mu.Unlock()
				if err != nil || seen[id] || id < 1000 {
					t.Errorf("id %d, %v", id, err)
				}
				seen[id] = true
			})
		}
		wg.Wait()
		if len(seen) != 20 || c.next > 1000+3*8 {
			t.Errorf("%d ids, blocks up to %d", len(seen), c.next)
		}
	})
}

func TestDoGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(&fakeController{notActive: 1 << 30})
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := l.Do(ctx, Requester{}, kmsg.NewPtrCreateTopicsRequest()); !errors.Is(err, kafka.RequestTimedOut) {
			t.Errorf("do: %v", err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if _, err := l.ProducerID(ctx); err == nil {
			t.Error("a producer id without a controller")
		}
	})
}

// Who asks for something when the node has ended is told so: nobody is left who
// could become active.
func TestDoEndsWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Options{NodeID: 1, Controller: &fakeController{notActive: 1 << 30}, HeartbeatInterval: time.Second, RequestTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		go l.Run(ctx)
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		if _, err := l.Do(t.Context(), Requester{}, kmsg.NewPtrCreateTopicsRequest()); !errors.Is(err, kafka.NotController) {
			t.Errorf("error %v, want NOT_CONTROLLER", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
