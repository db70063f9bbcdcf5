// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/group"
)

// manyTopics have long names, or none at all that anybody may look at before wait is over.
type manyTopics struct {
	n    int
	wait func()
}

func (m manyTopics) Topic(string) (kafka.TopicID, int32, bool) { return kafka.TopicID{}, 0, false }
func (m manyTopics) TopicName(kafka.TopicID) (string, bool)    { return "", false }
func (m manyTopics) Racks(string, kafka.PartitionID) []string  { return nil }
func (m manyTopics) Version() int64                            { return 1 }
func (m manyTopics) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		m.wait()
		for i := range m.n {
			if !yield(fmt.Sprintf("%d-%s", i, strings.Repeat("a", 200))) {
				return
			}
		}
	}
}

// begun are the matchings of so many groups, each with a pattern.
func begun(topics group.Topics, groups int) (all []*group.Matching) {
	g := group.New(group.Options{Topics: topics, RandomUUID: func() [16]byte { return [16]byte{} }})
	for i := range groups {
		var out group.Out
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, fmt.Sprint("g", i), "m", 1000
		req.Topics, req.SubscribedTopicRegex = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, kmsg.StringPtr("(.*a){100}")
		g.ConsumerGroupHeartbeat(0, group.Caller{}, req, 1, &out)
		all = append(all, out.Matching...)
	}
	return all
}

// So many run at once as the key says, and each comes back once.
func TestMatchersRunSoManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, done atomic.Int32
		topics := manyTopics{wait: func() {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
		}}
		m := newMatchers(2, func(p kafka.PartitionID, _ *group.Matching) { done.Add(int32(p)) })
		for _, one := range begun(topics, 5) {
			m.begin(1, []*group.Matching{one})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if done.Load() != 5 || most.Load() != 2 {
			t.Errorf("%d are done, %d ran at once", done.Load(), most.Load())
		}
		m.close()
		m.begin(1, begun(topics, 1))
		synctest.Wait()
		if done.Load() != 5 {
			t.Error("one was begun behind the end")
		}
	})
}

// The end of the node does not wait for a pattern that takes minutes.
func TestMatchersGiveUp(t *testing.T) {
	started := make(chan struct{}, 8)
	m := newMatchers(1, func(kafka.PartitionID, *group.Matching) {})
	m.begin(0, begun(manyTopics{n: 20_000, wait: func() { started <- struct{}{} }}, 3))
	<-started
	ended := make(chan struct{})
	go func() {
		m.close()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("still runs")
	}
	if len(started) != 0 {
		t.Error("another one was begun")
	}
}
