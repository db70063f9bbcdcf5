// SPDX-License-Identifier: Apache-2.0

package group

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// Batches may be smaller than they were when a group was written: what none can
// hold any more stays, and what comes behind it goes.
func TestTombstonesThatNoBatchHolds(t *testing.T) {
	w := newWorld(t, nil)
	long := strings.Repeat("g", 300)
	for _, group := range []string{"a", long, "z"} {
		for _, code := range commitCodes(ask[*kmsg.OffsetCommitResponse](w, commitRequest(8, group, "", -1, 3, ""))) {
			if code != kafka.None {
				t.Fatal(code)
			}
		}
	}
	w.options.RecordsBytesMax = 200
	w.reload()
	w.until(w.nowMs+2*w.g.options.OffsetsRetentionMs, nil)
	if left := w.g.groupIDs(); len(left) != 1 || left[0] != long || w.g.offsets[long] == nil {
		t.Errorf("left are %q", left)
	}
	w.setTopics(topicSet{"u": 2}, []DeletedTopic{{Name: "t", ID: topicID("t")}})
	w.until(w.nowMs+w.g.options.OffsetsRetentionCheckIntervalMs, nil)
	if w.g.deleted != nil || w.g.offsets[long] == nil {
		t.Errorf("still to be deleted: %v", w.g.deleted)
	}
	for _, group := range []string{long + "2", "b"} {
		w.join(joinRequest(4, group, ""))
		want := kafka.MemberIDRequired
		if group != "b" {
			want = kafka.UnknownServerError
		}
		if code := kafka.Code(w.replies[0].Response.(*kmsg.JoinGroupResponse).ErrorCode); code != want || (w.g.groups[group] != nil) != (group == "b") {
			t.Errorf("a group of %d bytes: %v", len(group), code)
		}
	}
}

func commitCodes(resp *kmsg.OffsetCommitResponse) (codes []kafka.Code) {
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			codes = append(codes, kafka.Code(p.ErrorCode))
		}
	}
	return codes
}
