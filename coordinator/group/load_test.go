// SPDX-License-Identifier: Apache-2.0

package group

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// TestLoadsWhatOthersHaveWritten: commits of before Kafka 0.8.3, snapshots of
// all versions, and records of kinds that are of no concern here.
func TestLoadsWhatOthersHaveWritten(t *testing.T) {
	g := New(Options{Topics: topicSet{}})
	protocol, leader := "range", "gone"
	metadata := &grouprec.GroupMetadataValue{ProtocolType: "consumer", Generation: 3, Protocol: &protocol, Leader: &leader,
		Members: []grouprec.GroupMember{{MemberID: "m", ClientID: "c", RebalanceTimeout: -1, SessionTimeout: 9000, Subscription: subscription("t")}}}
	legacyKey := grouprec.LegacyOffsetCommitKey{Group: "old", Topic: "t", Partition: 2}
	legacyValue := grouprec.LegacyOffsetCommitValue{Offset: 7, Metadata: "m", CommitTimestamp: 5}
	records := []grouprec.Record{
		{Key: (&grouprec.GroupMetadataKey{Group: "v0"}).Append(nil), Value: metadata.AppendVersion(nil, 0)},
		{Key: legacyKey.Append(nil), Value: legacyValue.Append(nil)},
		{Key: []byte{0x7f, 0xff, 1, 2}, Value: []byte{1}},
		grouprec.Tombstone(&grouprec.GroupMetadataKey{Group: "never was"}),
		grouprec.Tombstone(&grouprec.OffsetCommitKey{Group: "never was", Topic: "t"}),
	}
	for i, rec := range records {
		if err := g.Replay(rec, Origin{Offset: kafka.Offset(i)}); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	c := g.groups["v0"].(*classicGroup)
	if c.state != stateStable || c.leaderName() != "m" || c.members[0].rebalanceTimeoutMs != 9000 || !c.subscribes("t") || c.subscribes("u") {
		t.Fatalf("a group of version 0: %s", snapshot(c))
	}
	if got, _ := g.offsets["old"].committed.get("t", 2); got.offset != 7 || got.metadata != "m" || got.commitMs != 5 {
		t.Fatalf("a commit of old: %+v", got)
	}
	if err := g.Replay(grouprec.Record{Key: []byte{0, 1, 0, 9}}, Origin{Offset: 42}); err == nil || !strings.Contains(err.Error(), "42") {
		t.Fatalf("malformed bytes: %v", err)
	}
}

// TestALoadedGroupMayBeTooLarge: group.max.size was made smaller; a rebalance
// finds out who stays.
func TestALoadedGroupMayBeTooLarge(t *testing.T) {
	w := newWorld(t, nil)
	for range 3 {
		w.join(joinRequest(3, "g", ""))
	}
	w.until(w.nowMs+6_000, nil)
	leader := w.g.groups["g"].(*classicGroup).leaderName()
	ask[*kmsg.SyncGroupResponse](w, syncRequest("g", leader, 1))
	w.options.GroupMaxSize = 2
	w.reload()
	c := w.g.groups["g"].(*classicGroup)
	if c.state != statePreparingRebalance {
		t.Fatalf("%s", w.state("g"))
	}
	var codes []kafka.Code
	for _, m := range []string{c.members[2].id, c.members[1].id, c.members[0].id} {
		w.join(joinRequest(9, "g", m))
		for _, r := range w.replies {
			codes = append(codes, kafka.Code(r.Response.(*kmsg.JoinGroupResponse).ErrorCode))
		}
	}
	// The last one to come finds no place, and with it gone the others have all joined.
	if !slices.Equal(codes, []kafka.Code{kafka.GroupMaxSizeReached, kafka.None, kafka.None}) || len(c.members) != 2 {
		t.Fatalf("got %v\n%s", codes, w.state("g"))
	}
}

// TestOffsetOfATopicOfAnotherLife: asked for by the id of the topic that there
// is now, an offset of its predecessor of the same name is none.
func TestOffsetOfATopicOfAnotherLife(t *testing.T) {
	w := newWorld(t, nil)
	v := grouprec.NewOffsetCommitValue()
	v.Offset, v.TopicID = 7, topicID("t of another life")
	k := grouprec.OffsetCommitKey{Group: "g", Topic: "t"}
	if err := w.g.Replay(grouprec.Record{Key: k.Append(nil), Value: v.AppendVersion(nil, 4)}, Origin{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		version int16
		want    int64
	}{{9, 7}, {10, -1}} {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version = c.version
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}}}
		if c.version >= 10 {
			req.Groups[0].Topics[0].Topic, req.Groups[0].Topics[0].TopicID = "", topicID("t")
		}
		var out Out
		w.g.OffsetFetch(w.nowMs, Caller{}, req, 1, &out)
		if p := out.Replies[0].Response.(*kmsg.OffsetFetchResponse).Groups[0].Topics[0].Partitions[0]; p.Offset != c.want || p.ErrorCode != 0 {
			t.Errorf("v%d: %s", c.version, show(p))
		}
	}
}

// A type that nobody here knows is another coordinator's. A newer version of one
// that is known must not be passed over: it may be the offset of a group.
func TestRecordsOfNewerPrograms(t *testing.T) {
	g := newWorld(t, nil).g
	k := grouprec.OffsetCommitKey{Group: "g", Topic: "t"}
	newer := []byte{0, 100, 1, 2, 3}
	for _, c := range []struct {
		rec  grouprec.Record
		want error
	}{
		{grouprec.Record{Key: []byte{0, 100, 1}, Value: newer}, nil},
		{grouprec.Record{Key: k.Append(nil), Value: newer}, grouprec.ErrUnknown},
		{grouprec.Record{Key: (&grouprec.GroupMetadataKey{Group: "g"}).Append(nil), Value: newer}, grouprec.ErrUnknown},
		{grouprec.Record{Key: (&grouprec.ConsumerGroupMetadataKey{GroupID: "g"}).Append(nil), Value: newer}, grouprec.ErrUnknown},
	} {
		if err := g.Replay(c.rec, Origin{Offset: 1}); !errors.Is(err, c.want) {
			t.Errorf("%x: %v, want %v", c.rec.Key, err, c.want)
		}
	}
}
