// SPDX-License-Identifier: Apache-2.0

package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Position is where a group stands in one partition. Offsets that nobody
// knows are -1.
type Position struct {
	Topic       string
	Partition   int32
	Committed   int64
	LeaderEpoch int32 // of what was committed
	Metadata    string
	LogStart    int64
	End         int64 // the high watermark
	Owner       *Member
	// Gone says that the topic or the partition does not exist any more.
	Gone bool
	// Err says why its offsets are not known.
	Err error
}

// Next is what the group reads next: what was committed, moved to the log
// start where older records were deleted.
func (p *Position) Next() int64 {
	if p.Committed < 0 {
		return -1
	}
	return max(p.Committed, p.LogStart)
}

// Lag is how many offsets lie between what was committed and the end; -1
// where nothing was committed or the end is not known.
func (p *Position) Lag() int64 {
	if p.Committed < 0 || p.End < 0 {
		return -1
	}
	return max(0, p.End-p.Committed)
}

// Positions gives those of a group, by topic and partition: where it has
// committed, and what its members are assigned.
func Positions(ctx context.Context, admin *kadm.Client, g *Group) ([]Position, error) {
	committed, err := admin.FetchOffsets(ctx, g.Name)
	if errors.Is(err, kerr.GroupIDNotFound) {
		committed, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the offsets of group %q: %w", g.Name, err)
	}
	type place struct {
		topic     string
		partition int32
	}
	all := map[place]*Position{}
	at := func(topic string, partition int32) *Position {
		p := all[place{topic, partition}]
		if p == nil {
			p = &Position{Topic: topic, Partition: partition, Committed: -1, LeaderEpoch: -1, LogStart: -1, End: -1}
			all[place{topic, partition}] = p
		}
		return p
	}
	committed.Each(func(o kadm.OffsetResponse) {
		if o.Err == nil && o.At < 0 {
			return
		}
		p := at(o.Topic, o.Partition)
		p.Committed, p.LeaderEpoch, p.Metadata, p.Err = o.At, o.LeaderEpoch, o.Metadata, o.Err
	})
	for i := range g.Members {
		for topic, ids := range g.Members[i].Assigned {
			for _, id := range ids {
				at(topic, id).Owner = &g.Members[i]
			}
		}
	}
	list := make([]Position, 0, len(all))
	for _, p := range all {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b Position) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return list, bounds(ctx, admin, list)
}

// bounds asks where the partitions begin and end.
func bounds(ctx context.Context, admin *kadm.Client, list []Position) error {
	var topics []string
	for _, p := range list {
		topics = append(topics, p.Topic)
	}
	if topics = slices.Compact(topics); len(topics) == 0 {
		return nil
	}
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list offsets: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("list offsets: %w", err)
	}
	for i := range list {
		p := &list[i]
		start, hasStart := starts.Lookup(p.Topic, p.Partition)
		end, hasEnd := ends.Lookup(p.Topic, p.Partition)
		switch err := cmp.Or(start.Err, end.Err); {
		case !hasStart || !hasEnd, errors.Is(err, kerr.UnknownTopicOrPartition):
			p.Gone = true
		case err != nil:
			p.Err = cmp.Or(p.Err, err)
		default:
			p.LogStart, p.End = start.Offset, end.Offset
		}
	}
	return nil
}
