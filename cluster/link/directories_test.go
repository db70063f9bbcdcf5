// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// dirController is a controller that takes assignments as a test wants.
type dirController struct {
	fakeController
	mu       sync.Mutex
	refuse   kafka.Code                              // of whole requests
	per      map[kafka.PartitionID]kafka.Code        // of partitions
	known    map[kafka.PartitionID]kafka.DirectoryID // by partition: all are of one topic
	requests []*kmsg.AssignReplicasToDirsRequest
	silent   bool // no heartbeat is answered
}

func (c *dirController) Do(ctx context.Context, who Requester, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, beat := req.(*kmsg.BrokerHeartbeatRequest); beat && c.silent {
		return nil, errors.New("no answer")
	}
	ask, ok := req.(*kmsg.AssignReplicasToDirsRequest)
	if !ok {
		return c.fakeController.Do(ctx, who, req)
	}
	c.requests = append(c.requests, ask)
	resp := ask.ResponseKind().(*kmsg.AssignReplicasToDirsResponse)
	if resp.ErrorCode = int16(c.refuse); c.refuse != 0 {
		return resp, nil
	}
	for _, d := range ask.Directories {
		rd := kmsg.AssignReplicasToDirsResponseDirectory{ID: d.ID}
		for _, t := range d.Topics {
			rt := kmsg.AssignReplicasToDirsResponseDirectoryTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				code := c.per[kafka.PartitionID(p.Partition)]
				if code == 0 {
					c.known[kafka.PartitionID(p.Partition)] = d.ID
				}
				rt.Partitions = append(rt.Partitions, kmsg.AssignReplicasToDirsResponseDirectoryTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
			}
			rd.Topics = append(rd.Topics, rt)
		}
		resp.Directories = append(resp.Directories, rd)
	}
	return resp, nil
}

func runDirs(t *testing.T, f func(t *testing.T, c *dirController, l *Link)) {
	synctest.Test(t, func(t *testing.T) {
		c := &dirController{known: map[kafka.PartitionID]kafka.DirectoryID{}, per: map[kafka.PartitionID]kafka.Code{}}
		l := New(Options{NodeID: 4, ClusterID: "cluster", LogDirs: []kafka.DirectoryID{{8}, {9}}, Controller: c,
			HeartbeatInterval: 2 * time.Second, RequestTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.Run(ctx) })
		running.Go(func() { l.RunAssignments(ctx) })
		f(t, c, l)
		cancel()
		running.Wait()
	})
}

func replicaOf(p kafka.PartitionID) kafka.TopicIDPartition {
	return kafka.TopicIDPartition{TopicID: kafka.TopicID{1}, Partition: p}
}

// Assignments go out in requests of a limited size, as soon as the broker is
// registered, and the newest one counts. How many go along with the first
// depends on who is faster.
func TestAssignments(t *testing.T) {
	runDirs(t, func(t *testing.T, c *dirController, l *Link) {
		for p := range kafka.PartitionID(5000) {
			l.Assign(replicaOf(p), kafka.DirectoryID{8})
		}
		l.Assign(replicaOf(3), kafka.DirectoryID{9})
		time.Sleep(time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.known) != 5000 || c.known[3] != (kafka.DirectoryID{9}) || c.known[4] != (kafka.DirectoryID{8}) || len(c.requests) < 3 || l.AssignmentsPending() != 0 {
			t.Errorf("%d known in %d requests, %d pending", len(c.known), len(c.requests), l.AssignmentsPending())
		}
		for _, r := range c.requests {
			n := 0
			for _, d := range r.Directories {
				n += len(d.Topics[0].Partitions)
			}
			if n > assignmentsMax || r.BrokerID != 4 || r.BrokerEpoch != 100 {
				t.Errorf("request of %d replicas by broker %d in epoch %d", n, r.BrokerID, r.BrokerEpoch)
			}
		}
	})
}

// What is refused for a passing reason is tried again, ever more seldom; what
// is gone is forgotten.
func TestAssignmentsAreTriedAgain(t *testing.T) {
	runDirs(t, func(t *testing.T, c *dirController, l *Link) {
		c.mu.Lock()
		c.refuse = kafka.StaleBrokerEpoch
		c.mu.Unlock()
		time.Sleep(time.Second)
		l.Assign(replicaOf(0), kafka.DirectoryID{8})
		time.Sleep(time.Minute)
		c.mu.Lock()
		if n := len(c.requests); n < 5 || n > 20 {
			t.Errorf("%d requests in a minute", n)
		}
		c.refuse, c.per[1], c.per[2] = 0, kafka.UnknownTopicID, kafka.NotController
		c.mu.Unlock()
		l.Assign(replicaOf(1), kafka.DirectoryID{8})
		l.Assign(replicaOf(2), kafka.DirectoryID{8})
		time.Sleep(20 * time.Second)
		if l.AssignmentsPending() != 1 {
			t.Errorf("%d pending", l.AssignmentsPending())
		}
		c.mu.Lock()
		delete(c.per, 2)
		c.mu.Unlock()
		time.Sleep(20 * time.Second)
		c.mu.Lock()
		defer c.mu.Unlock()
		if l.AssignmentsPending() != 0 || len(c.known) != 2 {
			t.Errorf("%d pending, %d known", l.AssignmentsPending(), len(c.known))
		}
	})
}

// A cluster whose metadata.version knows no directories is not asked again.
func TestAssignmentsOfAnOldCluster(t *testing.T) {
	runDirs(t, func(t *testing.T, c *dirController, l *Link) {
		c.mu.Lock()
		c.refuse = kafka.UnsupportedVersion
		c.mu.Unlock()
		l.Assign(replicaOf(0), kafka.DirectoryID{8})
		time.Sleep(time.Minute)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.requests) != 1 || l.AssignmentsPending() != 0 {
			t.Errorf("%d requests, %d pending", len(c.requests), l.AssignmentsPending())
		}
	})
}

// A failed directory is in every heartbeat from now on, the next of which comes
// at once, and in no registration.
func TestOfflineDirectory(t *testing.T) {
	runDirs(t, func(t *testing.T, c *dirController, l *Link) {
		l.o.DirFailureTimeout, l.o.Failed = 30*time.Second, func(err error) { t.Error(err) }
		time.Sleep(time.Second)
		l.Published(100)
		synctest.Wait()
		before := c.beatCount()
		l.DirectoryOffline(kafka.DirectoryID{9})
		l.DirectoryOffline(kafka.DirectoryID{9})
		synctest.Wait()
		c.fakeController.mu.Lock()
		for _, b := range c.beats[before:] {
			if len(b.req.OfflineLogDirs) != 1 || b.req.OfflineLogDirs[0] != (kafka.DirectoryID{9}) {
				t.Errorf("heartbeat with %v", b.req.OfflineLogDirs)
			}
		}
		if len(c.beats) == before {
			t.Error("no heartbeat at once")
		}
		c.forgotten = true
		c.fakeController.mu.Unlock()
		time.Sleep(5 * time.Second)
		c.fakeController.mu.Lock()
		defer c.fakeController.mu.Unlock()
		last := c.registered[len(c.registered)-1]
		if len(c.registered) != 2 || len(last.LogDirs) != 1 || last.LogDirs[0] != (kafka.DirectoryID{8}) {
			t.Errorf("%d registrations, the last with %v", len(c.registered), last.LogDirs)
		}
	})
}

// log.dir.failure.timeout.ms: a broker whose controller does not hear of it ends.
func TestOfflineDirectoryThatCannotBeTold(t *testing.T) {
	runDirs(t, func(t *testing.T, c *dirController, l *Link) {
		failed := make(chan error, 1)
		l.o.DirFailureTimeout, l.o.Failed = 30*time.Second, func(err error) { failed <- err }
		time.Sleep(time.Second)
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
		began := time.Now()
		l.DirectoryOffline(kafka.DirectoryID{9})
		err := <-failed
		if took := time.Since(began); took != 30*time.Second || !strings.Contains(err.Error(), "could not be told within 30s") {
			t.Errorf("%v after %v", err, took)
		}
	})
}
