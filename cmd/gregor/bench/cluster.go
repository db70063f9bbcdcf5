// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// setupTimeout bounds what happens before a load starts.
const setupTimeout = 30 * time.Second

// partition is one partition of the topic under load and who leads it.
type partition struct {
	index      int32
	leader     string // host:port
	start, end int64  // offsets when the load began
}

// target is the topic under load, as the cluster described it once.
type target struct {
	topic      string
	topicID    [16]byte
	partitions []partition
}

// aim gives the options as they will be used, and the topic, which it creates if
// it shall.
func (o Options) aim(ctx context.Context, create bool) (Options, *target, error) {
	o, err := o.prepare()
	if err != nil {
		return o, nil, err
	}
	t, err := describe(ctx, o, create)
	return o, t, err
}

// describe finds the topic, creating it when it is missing.
func describe(ctx context.Context, o Options, create bool) (*target, error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	admin, err := kadm.NewOptClient(kgo.SeedBrokers(o.Bootstrap))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	if create {
		if _, err := admin.CreateTopic(ctx, int32(o.Partitions), -1, nil, o.Topic); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return nil, fmt.Errorf("create topic %s: %w", o.Topic, err)
		}
	}
	for {
		found, err := lookUp(ctx, admin, o.Topic)
		if err == nil || !kerr.IsRetriable(err) {
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func lookUp(ctx context.Context, admin *kadm.Client, topic string) (*target, error) {
	metadata, err := admin.Metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	detail := metadata.Topics[topic]
	if detail.Err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, detail.Err)
	}
	starts, err1 := admin.ListStartOffsets(ctx, topic)
	ends, err2 := admin.ListEndOffsets(ctx, topic)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	t := &target{topic: topic, topicID: detail.ID}
	for _, p := range detail.Partitions.Sorted() {
		if p.Err != nil {
			return nil, fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, p.Err)
		}
		at := slices.IndexFunc(metadata.Brokers, func(b kadm.BrokerDetail) bool { return b.NodeID == p.Leader })
		if at < 0 {
			return nil, fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, kerr.LeaderNotAvailable)
		}
		start, _ := starts.Lookup(topic, p.Partition)
		end, _ := ends.Lookup(topic, p.Partition)
		if err := errors.Join(start.Err, end.Err); err != nil {
			return nil, fmt.Errorf("topic %s partition %d: %w", topic, p.Partition, err)
		}
		t.partitions = append(t.partitions, partition{
			index: p.Partition, start: start.Offset, end: end.Offset,
			leader: net.JoinHostPort(metadata.Brokers[at].Host, strconv.Itoa(int(metadata.Brokers[at].Port))),
		})
	}
	return t, nil
}

// deal gives every connection its leader and its partitions. Leaders take
// turns; the connections of one leader share its partitions, or each write all
// of them when there are more connections than partitions.
func (t *target) deal(connections int) []lane {
	var leaders []string
	led := map[string][]partition{}
	for _, p := range t.partitions {
		if led[p.leader] == nil {
			leaders = append(leaders, p.leader)
		}
		led[p.leader] = append(led[p.leader], p)
	}
	lanes := make([]lane, max(connections, len(leaders)))
	for i := range lanes {
		leader := leaders[i%len(leaders)]
		all := led[leader]
		nth, of := i/len(leaders), (len(lanes)-i%len(leaders)+len(leaders)-1)/len(leaders)
		lanes[i].leader = leader
		for k, p := range all {
			if k%of == nth || of > len(all) {
				lanes[i].partitions = append(lanes[i].partitions, p)
			}
		}
		// Where every connection writes everything, they start apart.
		if of > len(all) {
			shift := nth % len(all)
			lanes[i].partitions = append(slices.Clone(lanes[i].partitions[shift:]), lanes[i].partitions[:shift]...)
		}
	}
	return lanes
}

// lane is the share of one connection.
type lane struct {
	leader     string
	partitions []partition
}
