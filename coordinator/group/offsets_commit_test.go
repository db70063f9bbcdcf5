// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// A commit of more than a batch holds is refused as a whole, unless what makes
// it large is refused anyway; and only to those who may commit at all.
func TestLargeCommits(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.RecordsBytesMax = 10_000 })
	large := func(version int16, member string, generation int32, metadata string) *kmsg.OffsetCommitRequest {
		req := commitRequest(version, "g", member, generation, 5, "")
		partitions := req.Topics[0].Partitions
		for range 20 {
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.Metadata = 1, 7, &metadata
			partitions = append(partitions, p)
		}
		req.Topics[0].Partitions = partitions
		return req
	}
	want := func(name string, req *kmsg.OffsetCommitRequest, first, others kafka.Code) {
		t.Helper()
		for i, code := range commitCodes(ask[*kmsg.OffsetCommitResponse](w, req)) {
			if wanted := others; code != wanted && (i != 0 || code != first) || i == 0 && code != first {
				t.Fatalf("%s: partition %d: %v", name, i, code)
			}
		}
	}
	want("metadata too long", large(8, "", -1, strings.Repeat("m", 5000)), kafka.None, kafka.OffsetMetadataTooLarge)
	want("too much of it", large(8, "", -1, strings.Repeat("m", 4000)), kafka.InvalidCommitOffsetSize, kafka.InvalidCommitOffsetSize)
	want("of nobody", large(8, "nobody", 4, strings.Repeat("m", 4000)), kafka.UnknownMemberID, kafka.UnknownMemberID)
	if o := w.g.offsets["g"].committed["t"]; len(o) != 1 || o[0].offset != 5 {
		t.Errorf("committed is %v", o)
	}
}

// What version 0 of a subscription has is enough to know what a classic group
// reads; of what cannot be read so far it is assumed that it reads everything.
func TestSubscribedTopics(t *testing.T) {
	good := []byte{0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 0} // version, topics, user data
	for _, tc := range []struct {
		name     string
		metadata []byte
		topics   int // -1: not known
	}{
		{"nothing", nil, -1}, {"half a version", []byte{0}, -1}, {"a version", []byte{0, 0}, -1},
		{"cut short", good[:len(good)-1], -1}, {"whole", good, 1}, {"more behind it", append(append([]byte{}, good...), 1, 2, 3), 1},
		{"version -1", append([]byte{0xff, 0xff}, good[2:]...), 1}, {"of the future", append([]byte{0x7f, 0xff}, good[2:]...), 1},
		{"v1 without what v1 has", append([]byte{0, 1}, good[2:]...), 1},
		{"null topics", []byte{0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, -1},
		{"two billion topics", []byte{0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}, -1},
		{"a null topic", []byte{0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0}, -1},
		{"user data of -2 bytes", []byte{0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe}, 0},
		{"too much user data", []byte{0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}, -1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			join := joinRequest(3, "g", "")
			join.Protocols[0].Metadata = tc.metadata
			w.join(join)
			w.until(w.nowMs+3_000, nil)
			c := w.g.groups["g"].(*classicGroup)
			if got := len(c.subscribed); c.subscriptionKnown != (tc.topics >= 0) || c.subscriptionKnown && got != tc.topics {
				t.Errorf("known %v, %d topics", c.subscriptionKnown, got)
			}
			if c.subscribes("elsewhere") != (tc.topics < 0) {
				t.Error("whether it reads another topic is wrong")
			}
		})
	}
}

// Blanks around a state are passed over, those around a type are not.
func TestListFilters(t *testing.T) {
	w := newWorld(t, nil)
	ask[*kmsg.OffsetCommitResponse](w, commitRequest(8, "g", "", -1, 5, ""))
	for _, tc := range []struct {
		states, types []string
		want          int
	}{
		{nil, nil, 1}, {[]string{" Empty\t"}, nil, 1}, {[]string{"EMPTY"}, []string{"Classic"}, 1}, {[]string{""}, nil, 0}, {[]string{"Dead"}, nil, 0},
		{nil, []string{" classic"}, 0}, {nil, []string{"nonsense"}, 0}, {[]string{"Stable", "empty"}, []string{"nonsense", "classic"}, 1},
	} {
		req := kmsg.NewPtrListGroupsRequest()
		req.Version, req.StatesFilter, req.TypesFilter = 5, tc.states, tc.types
		if got := ask[*kmsg.ListGroupsResponse](w, req); len(got.Groups) != tc.want || got.ErrorCode != 0 {
			t.Errorf("%q %q: %s", tc.states, tc.types, show(got))
		}
	}
}
