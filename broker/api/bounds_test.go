// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
)

// An answer names a bounded number of records at fault, however many batches
// of them a request holds.
func TestRecordErrorsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const recordErrorsMax = 3_000
		n := start(t, func(s *setup) { s.set = []string{"gregor.produce.record.errors.max=3000"} })
		id := n.topic("t", 20, "cleanup.policy", "compact")
		keyless := records(strings.Split(strings.Repeat("v,", 4_000), ",")...)
		req := produceRequest(9, "t", id, 0, 1, keyless)
		for i := range int32(19) {
			p := req.Topics[0].Partitions[0]
			p.Partition = i + 1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
		}
		resp := n.dial().do(req).(*kmsg.ProduceResponse)
		named := 0
		for _, p := range resp.Topics[0].Partitions {
			if kafka.Code(p.ErrorCode) != kafka.InvalidRecord {
				t.Errorf("partition %d: %v", p.Partition, kafka.Code(p.ErrorCode))
			}
			named += len(p.ErrorRecords)
		}
		if named != recordErrorsMax {
			t.Errorf("%d records are named, want %d", named, recordErrorsMax)
		}
	})
}

// Names that no topic has take no memory of a connection.
func TestOnlyNamesOfTopicsAreRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.topic("real", 1)
		var s state
		for i := range 1000 {
			name := fmt.Sprintf("made-up-%d", i)
			if got := s.intern(n.images.Load(), []byte(name)); got != name {
				t.Fatalf("%s became %s", name, got)
			}
		}
		if got := s.intern(n.images.Load(), []byte("real")); got != "real" {
			t.Errorf("real became %s", got)
		}
		if len(s.names) != 1 {
			t.Errorf("%d names are remembered", len(s.names))
		}
		if got := s.intern(image.Empty(), []byte("real")); got != "real" {
			t.Errorf("real became %s", got)
		}
	})
}

// What a large request took does not stay with its reply slot.
func TestSlotsShrink(t *testing.T) {
	w := &produced{parts: make([]producedPart, slotKeepMax+1), topics: make([]producedTopic, slotKeepMax+1)}
	w.end()
	if w.parts != nil || w.topics != nil {
		t.Error("a slot keeps the memory of a large request")
	}
	w = &produced{parts: make([]producedPart, 1)}
	w.parts[0].result.ErrorMessage = "large"
	if w.end(); w.parts[0].result.ErrorMessage != "" {
		t.Error("a slot keeps the texts of an answer")
	}
}
