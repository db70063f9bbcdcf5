// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCrowdIsWholeWhenAllHaveTheirs(t *testing.T) {
	c := newCrowd("g", 2, 3)
	whole := func(want bool) {
		t.Helper()
		if _, _, ok := c.whole(); ok != want {
			t.Fatalf("whole: %v", ok)
		}
	}
	moves := []struct {
		from, to int32
		had, has []int32
		whole    bool
	}{
		{0, 1, nil, []int32{0, 1, 2}, false}, // the first has all, and one is still to come
		{0, 2, nil, nil, false},              // at another epoch
		{1, 1, []int32{0, 1, 2}, []int32{0, 1}, false},
		{1, 2, []int32{0, 1}, []int32{0, 1}, false}, // nobody has 2
		{2, 2, nil, []int32{2}, true},
		{2, 3, []int32{0, 1}, []int32{0, 1}, false}, // a new epoch
	}
	for i, m := range moves {
		if err := c.moved(m.from, m.to, m.had, m.has); err != nil {
			t.Fatalf("move %d: %v", i, err)
		}
		whole(m.whole)
	}
	if err := c.moved(2, 3, []int32{2}, []int32{1, 2}); !errors.Is(err, errTwoOwners) {
		t.Errorf("a partition with two owners passed: %v", err)
	}
}

// A member says at once what it has, and only if that has changed.
func TestMemberDoesAsItIsTold(t *testing.T) {
	m := &member{crowd: newCrowd("g", 1, 4), id: "m"}
	join := m.joinRequest()
	if join.MemberEpoch != 0 || join.Topics == nil || len(join.Topics) != 0 || !slices.Equal(join.SubscribedTopicNames, []string{groupTopic}) || join.RebalanceTimeoutMillis <= 0 {
		t.Errorf("joins by %+v", join)
	}
	answer := func(epoch int32, assigned ...int32) *kmsg.ConsumerGroupHeartbeatResponse {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.MemberEpoch = epoch
		resp.Assignment = &kmsg.ConsumerGroupHeartbeatResponseAssignment{}
		if len(assigned) != 0 {
			resp.Assignment.Topics = []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{{TopicID: [16]byte{7}, Partitions: assigned}}
		}
		return resp
	}
	quiet := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	quiet.MemberEpoch = 6
	for i, step := range []struct {
		resp    *kmsg.ConsumerGroupHeartbeatResponse
		changed bool
		owned   []int32
	}{
		{answer(4), false, nil}, {answer(5, 3, 1), true, []int32{1, 3}}, {answer(5, 1, 3), false, []int32{1, 3}},
		{quiet, false, []int32{1, 3}}, {answer(6, 1), true, []int32{1}}, {answer(7), true, nil},
	} {
		changed, err := m.take(step.resp)
		if err != nil || changed != step.changed || !slices.Equal(m.owned, step.owned) || m.epoch != step.resp.MemberEpoch {
			t.Fatalf("step %d: %v %v, %v at %d", i, changed, err, m.owned, m.epoch)
		}
		next := m.nextRequest(changed)
		if (next.Topics != nil) != changed || next.SubscribedTopicNames != nil || next.RebalanceTimeoutMillis != -1 || next.MemberEpoch != m.epoch {
			t.Errorf("step %d goes on with %+v", i, next)
		}
		if len(step.owned) != 0 && changed && (next.Topics[0].TopicID != [16]byte{7} || !slices.Equal(next.Topics[0].Partitions, step.owned)) {
			t.Errorf("step %d says that it owns %+v", i, next.Topics)
		}
	}
}

func TestQuantile(t *testing.T) {
	var some []time.Duration
	for i := range 100 {
		some = append(some, time.Duration(i))
	}
	if quantile(some, 0.5) != 50 || quantile(some, 0.99) != 99 || quantile(some, 1) != 99 || quantile(nil, 0.5) != 0 {
		t.Errorf("%d %d %d", quantile(some, 0.5), quantile(some, 0.99), quantile(some, 1))
	}
}

func TestGroupsOfOneCoordinator(t *testing.T) {
	groups := groupsOfOneCoordinator(3)
	if len(slices.Compact(slices.Sorted(slices.Values(groups)))) != 3 {
		t.Errorf("%v", groups)
	}
}
