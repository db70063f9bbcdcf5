// SPDX-License-Identifier: Apache-2.0

// Package link is a broker's line to the active controller: it registers the
// broker, keeps its session alive, takes producer ids in blocks and carries the
// requests that only the controller may decide.
//
// The controller is an interface here. While the node is its own only voter it
// is the controller's loop in the same process; nothing is encoded then.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/security"
)

// Requester is who a request is carried out for.
type Requester struct {
	Principal security.Principal
	ClientID  string
	Remote    netip.AddrPort
	// Local: the broker that shares the controller's process asks on its own
	// behalf. Who was registered under its id before is gone, since this process
	// holds the lock of its directories. No request from a socket has it.
	Local bool
}

// Controller decides on requests. An answer means that its records are
// committed. kafka.NotController: this one is not active; ask again later.
type Controller interface {
	Do(ctx context.Context, who Requester, req kmsg.Request) (kmsg.Response, error)
}

// Options describe the broker that is registered.
type Options struct {
	NodeID      kafka.NodeID
	ClusterID   string
	Incarnation kafka.UUID // of this process
	Listeners   []kmsg.BrokerRegistrationRequestListener
	Features    []kmsg.BrokerRegistrationRequestFeature
	Rack        string // empty: none
	LogDirs     []kafka.DirectoryID
	// PreviousEpoch is what the clean-shutdown marker named, -1 without one.
	PreviousEpoch kafka.BrokerEpoch

	Controller Controller
	// DirFailureTimeout is log.dir.failure.timeout.ms: a failed directory that
	// the controller does not know of by then ends the broker, which it still
	// takes for the leader of what is gone. Failed is told.
	DirFailureTimeout time.Duration
	Failed            func(err error)
	// HeartbeatInterval is broker.heartbeat.interval.ms.
	HeartbeatInterval time.Duration
	// RequestTimeout bounds one request of the link's own.
	RequestTimeout time.Duration
	Logger         *slog.Logger
}

// Link is one broker's line. Run drives it:
//
//	register ─► wait until the own image holds the registration ─► heartbeat: unfence me ─► heartbeat …
//
// A heartbeat that finds the registration gone (the cluster fenced and forgot
// this broker, or the controller's log was rolled back) registers anew. The
// broker's epoch is the offset of its registration record, so the image has
// caught up as soon as its offset reaches the epoch.
type Link struct {
	o     Options
	kick  chan struct{} // capacity 1: something changed, beat now
	ended chan struct{} // closed when Run has ended

	mu       sync.Mutex // guards what follows
	image    kafka.Offset
	epoch    kafka.BrokerEpoch // -1: not registered
	unfenced bool
	leaving  bool
	left     chan struct{} // closed when the controller lets the broker go
	// offline are the directories that have failed; true once the controller knows.
	offline map[kafka.DirectoryID]bool

	assignments assignments
	ids         idBlock
}

// New makes a Link; Run starts it.
func New(o Options) *Link {
	return &Link{o: o, kick: make(chan struct{}, 1), ended: make(chan struct{}), image: kafka.NoOffset, epoch: -1, left: make(chan struct{}),
		offline: make(map[kafka.DirectoryID]bool), assignments: newAssignments(), ids: newIDBlock()}
}

// Do carries a request to the active controller. While there is none it asks
// again until ctx or Run ends.
func (l *Link) Do(ctx context.Context, who Requester, req kmsg.Request) (kmsg.Response, error) {
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		resp, err := l.o.Controller.Do(ctx, who, req)
		if !errors.Is(err, kafka.NotController) {
			return resp, err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
			continue
		case <-ctx.Done():
			err = fmt.Errorf("no active controller: %w", kafka.RequestTimedOut)
		case <-l.ended:
		}
		t.Stop()
		return nil, err
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Published tells how far the broker's own image is. It does not wait.
func (l *Link) Published(offset kafka.Offset) {
	l.mu.Lock()
	before := l.caughtUpLocked()
	l.image = offset
	due := !before && l.caughtUpLocked()
	l.mu.Unlock()
	if due {
		l.nudge()
	}
}

func (l *Link) caughtUpLocked() bool { return l.epoch >= 0 && l.image >= kafka.Offset(l.epoch) }

func (l *Link) nudge() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Epoch is this broker's epoch; -1 while it is not registered.
func (l *Link) Epoch() kafka.BrokerEpoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// Unfenced reports whether the controller lets this broker lead.
func (l *Link) Unfenced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unfenced
}

// Leave asks the controller to move leaderships away, and returns when it lets
// the broker go or ctx ends. Run must be running.
func (l *Link) Leave(ctx context.Context) error {
	l.mu.Lock()
	registered := l.epoch >= 0
	l.leaving = true
	l.mu.Unlock()
	if !registered {
		return nil
	}
	l.nudge()
	select {
	case <-l.left:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("controlled shutdown: %w", ctx.Err())
	}
}

// Run registers the broker and keeps it registered until ctx ends.
func (l *Link) Run(ctx context.Context) {
	defer close(l.ended)
	for ctx.Err() == nil {
		if err := l.register(ctx); err != nil {
			if ctx.Err() == nil {
				l.o.Logger.Warn("broker registration failed", "err", err)
				_ = sleep(ctx, l.retryAfter())
			}
			continue
		}
		l.beat(ctx)
	}
}

// retryAfter spaces attempts after a failure.
func (l *Link) retryAfter() time.Duration { return min(l.o.HeartbeatInterval, time.Second) }

func (l *Link) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.o.RequestTimeout)
	defer cancel()
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.Version = req.MaxVersion()
	req.BrokerID = int32(l.o.NodeID)
	req.ClusterID = l.o.ClusterID
	req.IncarnationID = l.o.Incarnation
	req.Listeners = l.o.Listeners
	req.Features = l.o.Features
	if l.o.Rack != "" {
		req.Rack = &l.o.Rack
	}
	req.LogDirs = l.onlineDirs()
	req.PreviousBrokerEpoch = int64(l.o.PreviousEpoch)
	resp, err := l.Do(ctx, Requester{Local: true}, req)
	if err != nil {
		return err
	}
	r := resp.(*kmsg.BrokerRegistrationResponse)
	if r.ErrorCode != 0 {
		return kafka.Code(r.ErrorCode)
	}
	l.mu.Lock()
	l.epoch = kafka.BrokerEpoch(r.BrokerEpoch)
	l.unfenced = false
	l.mu.Unlock()
	l.o.Logger.Debug("broker registered", "broker_epoch", r.BrokerEpoch)
	return nil
}

// beat sends heartbeats until the registration is void or ctx ends.
func (l *Link) beat(ctx context.Context) {
	timer := time.NewTimer(l.o.HeartbeatInterval)
	defer timer.Stop()
	for {
		again, err := l.heartbeat(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, kafka.StaleBrokerEpoch), errors.Is(err, kafka.BrokerIDNotRegistered):
			l.o.Logger.Warn("the controller does not know this broker's registration", "err", err)
			l.mu.Lock()
			l.epoch, l.unfenced = -1, false
			l.mu.Unlock()
			return
		case err != nil:
			l.o.Logger.Warn("heartbeat to the controller failed", "err", err)
		}
		wait := l.o.HeartbeatInterval
		if again {
			wait = min(wait, 10*time.Millisecond)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
		case <-timer.C:
		}
	}
}

// heartbeat sends one; again asks for the next one soon.
func (l *Link) heartbeat(ctx context.Context) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.RequestTimeout)
	defer cancel()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version = req.MaxVersion()
	req.BrokerID = int32(l.o.NodeID)
	l.mu.Lock()
	caughtUp := l.caughtUpLocked()
	req.BrokerEpoch = int64(l.epoch)
	req.CurrentMetadataOffset = int64(l.image)
	req.WantFence = false
	req.WantShutdown = l.leaving
	leaving := l.leaving
	req.OfflineLogDirs = l.offlineLocked()
	l.mu.Unlock()
	resp, err := l.Do(ctx, Requester{Local: true}, req)
	if err != nil {
		return false, err
	}
	r := resp.(*kmsg.BrokerHeartbeatResponse)
	if r.ErrorCode != 0 {
		return false, kafka.Code(r.ErrorCode)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unfenced = !r.IsFenced
	for _, d := range req.OfflineLogDirs {
		l.offline[d] = true
	}
	if leaving && r.ShouldShutdown {
		select {
		case <-l.left:
		default:
			close(l.left)
		}
	}
	return leaving && !r.ShouldShutdown || caughtUp && r.IsFenced && !leaving, nil
}
