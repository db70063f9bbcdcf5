// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// DirectoryOffline tells the controller, with every heartbeat from now on, that
// a directory has failed. It does not wait.
func (l *Link) DirectoryOffline(id kafka.DirectoryID) {
	l.mu.Lock()
	_, again := l.offline[id]
	if !again {
		l.offline[id] = false
	}
	l.mu.Unlock()
	if again {
		return
	}
	l.nudge()
	if l.o.DirFailureTimeout <= 0 || l.o.Failed == nil {
		return
	}
	time.AfterFunc(l.o.DirFailureTimeout, func() {
		select {
		case <-l.ended:
			return
		default:
		}
		l.mu.Lock()
		known := l.offline[id]
		l.mu.Unlock()
		if !known {
			l.o.Failed(fmt.Errorf("the controller could not be told within %v that log directory %s has failed", l.o.DirFailureTimeout, id))
		}
	})
}

func (l *Link) offlineLocked() [][16]byte {
	var ids [][16]byte
	for id := range l.offline {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

// onlineDirs are the directories to register with.
func (l *Link) onlineDirs() [][16]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids [][16]byte
	for _, id := range l.o.LogDirs {
		if _, failed := l.offline[id]; !failed {
			ids = append(ids, id)
		}
	}
	return ids
}

// assignments are the replicas whose directory the controller does not know
// yet. Only the newest directory of a replica counts.
type assignments struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex // guards pending
	pending map[kafka.TopicIDPartition]kafka.DirectoryID
}

// assignmentsMax is how many one request carries, as in Kafka.
const assignmentsMax = 2250

func newAssignments() assignments {
	return assignments{wake: make(chan struct{}, 1), pending: make(map[kafka.TopicIDPartition]kafka.DirectoryID)}
}

// Assign tells the controller in which directory a replica is, as soon as it
// can be. It does not wait.
func (l *Link) Assign(tp kafka.TopicIDPartition, dir kafka.DirectoryID) {
	a := &l.assignments
	a.mu.Lock()
	a.pending[tp] = dir
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// AssignmentsPending is the number of replicas whose directory the controller
// does not know yet.
func (l *Link) AssignmentsPending() int {
	l.assignments.mu.Lock()
	defer l.assignments.mu.Unlock()
	return len(l.assignments.pending)
}

// RunAssignments carries assignments to the controller until ctx ends.
func (l *Link) RunAssignments(ctx context.Context) {
	const waitLeast, waitMost = 50 * time.Millisecond, 10 * time.Second
	for wait := waitLeast; ; {
		asked := l.assignments.take()
		if len(asked) == 0 {
			select {
			case <-l.assignments.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := l.assign(ctx, asked)
		if err == nil {
			wait = waitLeast
			continue
		}
		if ctx.Err() != nil {
			return
		}
		l.o.Logger.Warn("the controller does not know the directories of replicas yet", "replicas", len(asked), "err", err)
		if sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, waitMost)
	}
}

func (a *assignments) take() map[kafka.TopicIDPartition]kafka.DirectoryID {
	a.mu.Lock()
	defer a.mu.Unlock()
	some := make(map[kafka.TopicIDPartition]kafka.DirectoryID)
	for tp, dir := range a.pending {
		if len(some) == assignmentsMax {
			break
		}
		some[tp] = dir
	}
	return some
}

// done forgets an assignment unless there is a newer one.
func (a *assignments) done(tp kafka.TopicIDPartition, dir kafka.DirectoryID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending[tp] == dir {
		delete(a.pending, tp)
	}
}

// assign asks once. What the controller does not take for a reason that stays
// is forgotten, as is what it takes; the error speaks of the rest.
func (l *Link) assign(ctx context.Context, asked map[kafka.TopicIDPartition]kafka.DirectoryID) error {
	epoch := l.Epoch()
	if epoch < 0 {
		return errors.New("this broker is not registered")
	}
	ctx, cancel := context.WithTimeout(ctx, l.o.RequestTimeout)
	defer cancel()
	resp, err := l.Do(ctx, Requester{Local: true}, l.assignRequest(epoch, asked))
	if err != nil {
		return err
	}
	r := resp.(*kmsg.AssignReplicasToDirsResponse)
	if code := kafka.Code(r.ErrorCode); code == kafka.UnsupportedVersion { // a metadata.version that knows no directories
		for tp, dir := range asked {
			l.assignments.done(tp, dir)
		}
		return nil
	} else if code != kafka.None {
		return code
	}
	var last error
	for _, d := range r.Directories {
		for _, t := range d.Topics {
			for _, p := range t.Partitions {
				switch code := kafka.Code(p.ErrorCode); code {
				case kafka.None, kafka.UnknownTopicID, kafka.UnknownTopicOrPartition, kafka.NotLeaderForPartition: // known now, or gone
					l.assignments.done(kafka.TopicIDPartition{TopicID: t.TopicID, Partition: kafka.PartitionID(p.Partition)}, d.ID)
				default:
					last = code
				}
			}
		}
	}
	return last
}

func (l *Link) assignRequest(epoch kafka.BrokerEpoch, asked map[kafka.TopicIDPartition]kafka.DirectoryID) *kmsg.AssignReplicasToDirsRequest {
	byDir := make(map[kafka.DirectoryID]map[kafka.TopicID][]kafka.PartitionID)
	for tp, dir := range asked {
		if byDir[dir] == nil {
			byDir[dir] = make(map[kafka.TopicID][]kafka.PartitionID)
		}
		byDir[dir][tp.TopicID] = append(byDir[dir][tp.TopicID], tp.Partition)
	}
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = int32(l.o.NodeID), int64(epoch)
	for dir, topics := range byDir {
		rd := kmsg.NewAssignReplicasToDirsRequestDirectory()
		rd.ID = dir
		for topic, partitions := range topics {
			rt := kmsg.NewAssignReplicasToDirsRequestDirectoryTopic()
			rt.TopicID = topic
			slices.Sort(partitions)
			for _, p := range partitions {
				rp := kmsg.NewAssignReplicasToDirsRequestDirectoryTopicPartition()
				rp.Partition = int32(p)
				rt.Partitions = append(rt.Partitions, rp)
			}
			rd.Topics = append(rd.Topics, rt)
		}
		slices.SortFunc(rd.Topics, func(a, b kmsg.AssignReplicasToDirsRequestDirectoryTopic) int {
			return bytes.Compare(a.TopicID[:], b.TopicID[:])
		})
		req.Directories = append(req.Directories, rd)
	}
	slices.SortFunc(req.Directories, func(a, b kmsg.AssignReplicasToDirsRequestDirectory) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return req
}
