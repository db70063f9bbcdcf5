// SPDX-License-Identifier: Apache-2.0

package groups

import (
	"context"
	"errors"
	"math"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// portionBytes is how much of __consumer_offsets one request may write. A
// coordinator appends a request as one batch, whose limit (max.message.bytes) is
// 1 MB by default, and refuses as a whole what is larger.
const portionBytes = 256 << 10

// recordBytes is more than the record of an offset takes beside its names and its metadata.
const recordBytes = 128

// Commit commits offsets for a group without members, in as many requests as they
// need. When one fails as a whole, or finds members in the group, no other
// follows: the answers are those of the requests before, and of that one.
func Commit(ctx context.Context, admin *kadm.Client, group string, offsets []kadm.Offset) (kadm.OffsetResponses, error) {
	all := kadm.OffsetResponses{}
	for len(offsets) > 0 {
		portion := kadm.Offsets{}
		n := portionOf(len(offsets), func(i int) int { return len(group) + len(offsets[i].Topic) + len(offsets[i].Metadata) })
		for _, o := range offsets[:n] {
			portion.Add(o)
		}
		offsets = offsets[n:]
		answers, err := admin.CommitOffsets(ctx, group, portion)
		if err != nil {
			return all, err
		}
		active := false
		answers.Each(func(r kadm.OffsetResponse) {
			all.Add(r)
			active = active || IsActive(r.Err)
		})
		if active {
			return all, nil
		}
	}
	return all, nil
}

// IsActive reports whether an error of a commit says that the group has members.
func IsActive(err error) bool {
	return errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.StaleMemberEpoch) || errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration)
}

// Moved is an offset moved by a number of records. It stays an offset, however
// large the number: it then lies far behind an end of the partition.
func Moved(offset, by int64) int64 {
	if by > math.MaxInt64-max(offset, 0) {
		return math.MaxInt64
	}
	return offset + by
}

// Place is one partition.
type Place struct {
	Topic     string
	Partition int32
}

// Delete deletes offsets of a group, in as many requests as they need. When one
// fails as a whole, no other follows.
func Delete(ctx context.Context, admin *kadm.Client, group string, places []Place) (kadm.DeleteOffsetsResponses, error) {
	all := kadm.DeleteOffsetsResponses{}
	for len(places) > 0 {
		portion := kadm.TopicsSet{}
		n := portionOf(len(places), func(i int) int { return len(group) + len(places[i].Topic) })
		for _, p := range places[:n] {
			portion.Add(p.Topic, p.Partition)
		}
		places = places[n:]
		answers, err := admin.DeleteOffsets(ctx, group, portion)
		if err != nil {
			return all, err
		}
		for topic, partitions := range answers {
			if all[topic] == nil {
				all[topic] = partitions
				continue
			}
			for id, err := range partitions {
				all[topic][id] = err
			}
		}
	}
	return all, nil
}

// portionOf is how many of so many, the first one in any case, go into one request.
func portionOf(many int, bytes func(i int) int) int {
	sum := 0
	for i := range many {
		if sum += recordBytes + bytes(i); i > 0 && sum > portionBytes {
			return i
		}
	}
	return many
}
