// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/cluster/metalog"
)

// The leader tells how far each member is and when it heard of it; the others
// tell that they do not know.
func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mesh{nodes: map[kafka.NodeID]*Node{}}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		one := meshMember(t, m, emptyDisk(t), 1, 1)
		m.propose(t, 10)
		q, err := one.Describe(ctx)
		self := metalog.Replica{NodeID: 1, DirectoryID: directoryOf(1), LogEndOffset: one.Log().End(), LastFetchMs: time.Now().UnixMilli(), LastCaughtUpMs: time.Now().UnixMilli()}
		if err != nil || q.Leader != 1 || q.Epoch != one.Leader().Epoch || q.HighWatermark != one.Log().End() ||
			len(q.Voters) != 1 || q.Voters[0] != self || len(q.Observers) != 0 || len(q.Nodes) != 1 || len(q.Nodes[0].Endpoints) != 1 {
			t.Fatalf("alone: %+v %v", q, err)
		}

		two := meshMember(t, m, emptyDisk(t), 2)
		if err := one.Change(ctx, AddLearner, voterNamed(2)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		m.propose(t, 3)
		time.Sleep(time.Second)
		synctest.Wait()
		q, err = one.Describe(ctx)
		if err != nil || len(q.Voters) != 1 || len(q.Observers) != 1 {
			t.Fatalf("with a learner: %+v %v", q, err)
		}
		recent := time.Now().Add(-2 * time.Second).UnixMilli()
		if o := q.Observers[0]; o.NodeID != 2 || o.DirectoryID != directoryOf(2) || o.LogEndOffset != one.Log().End() || o.LastFetchMs < recent || o.LastCaughtUpMs < recent {
			t.Errorf("learner %+v, the log ends at %d", o, one.Log().End())
		}
		if _, err := two.Describe(ctx); !errors.Is(err, kafka.NotLeaderForPartition) {
			t.Errorf("the learner: %v", err)
		}

		// Who is gone stays where it was.
		two.Kill()
		m.set(2, nil)
		goneAt := time.Now().UnixMilli()
		time.Sleep(time.Minute)
		m.propose(t, 3)
		time.Sleep(time.Second)
		q, err = one.Describe(ctx)
		if err != nil || q.Observers[0].LastFetchMs > goneAt || q.Observers[0].LogEndOffset >= one.Log().End() || q.Voters[0].LastFetchMs <= goneAt {
			t.Errorf("gone: %+v %v", q, err)
		}
		one.Kill()
		if _, err := one.Describe(ctx); !errors.Is(err, kafka.NotLeaderForPartition) {
			t.Errorf("killed: %v", err)
		}
	})
}
