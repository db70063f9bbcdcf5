// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/config"
	"gregor/coordinator/assignor"
	"gregor/coordinator/group"
	"gregor/coordinator/grouprec"
	"gregor/coordinator/shard"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

// groups is the group coordinator of this node: the pure machine of
// coordinator/group in the shards of __consumer_offsets.
type groups struct {
	*shard.Shards[groupMachine, *groupOut]
	self   kafka.NodeID
	static *config.Node
	// latest is the metadata that groups work with. It is never older than that
	// which requests see: who has seen a topic may commit offsets of it.
	latest   atomic.Pointer[image.Image]
	matchers *matchers
}

// groupMachine is group.Groups as coordinator/shard runs it.
type groupMachine struct{ *group.Groups }

func (m groupMachine) Replay(rec grouprec.Record, from shard.Origin) error {
	return m.Groups.Replay(rec, group.Origin(from))
}

func (m groupMachine) Loaded(nowMs int64, out *groupOut) { m.Groups.Loaded(nowMs, &out.out) }
func (m groupMachine) Tick(nowMs int64, out *groupOut)   { m.Groups.Tick(nowMs, &out.out) }
func (m groupMachine) Abandon(out *groupOut)             { m.Groups.Abandon(&out.out) }

// groupOut is group.Out as coordinator/shard reads it.
type groupOut struct{ out group.Out }

func (o *groupOut) Reset() { o.out.Reset() }

func (o *groupOut) Records() (records []grouprec.Record, of shard.Producer, transactional bool) {
	if t := o.out.Transaction; t != nil {
		return o.out.Records, shard.Producer{ID: t.ProducerID, Epoch: t.ProducerEpoch}, true
	}
	return o.out.Records, shard.Producer{}, false
}

func (o *groupOut) Replies(yield func(shard.Token, kmsg.Response) bool) {
	for _, r := range o.out.Replies {
		if !yield(shard.Token(r.To), r.Response) {
			return
		}
	}
}

// imageTopics is what groups see of the metadata.
type imageTopics struct{ img *image.Image }

func (t imageTopics) Topic(name string) (id kafka.TopicID, partitions int32, ok bool) {
	topic := t.img.Topic(name)
	if topic == nil {
		return kafka.TopicID{}, 0, false
	}
	return topic.ID, int32(topic.PartitionCount()), true
}

func (t imageTopics) TopicName(id kafka.TopicID) (name string, ok bool) {
	topic := t.img.TopicByID(id)
	if topic == nil {
		return "", false
	}
	return topic.Name, true
}

func (t imageTopics) Racks(name string, p kafka.PartitionID) (racks []string) {
	for _, id := range t.img.Topic(name).Partition(p).Replicas {
		if b := t.img.Broker(id); b != nil && b.Rack != nil {
			racks = append(racks, *b.Rack)
		}
	}
	return racks
}

func (t imageTopics) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		for topic := range t.img.Topics() {
			if !yield(topic.Name) {
				return
			}
		}
	}
}

func (t imageTopics) Version() int64 { return int64(t.img.Offset()) }

// uuids makes unguessable ids out of one seed, for any number of goroutines.
type uuids struct {
	seed  [32]byte
	count atomic.Uint64
}

func (u *uuids) next() (id [16]byte) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(u.seed[:], u.count.Add(1)))
	copy(id[:], sum[:])
	return id
}

// openGroups makes the coordinator; the publisher elects its shards.
func (n *Node) openGroups() error {
	c := n.o.Config
	codec := c.Int(config.OffsetsTopicCompressionCodec)
	if codec != int32(compress.Codec(codec)) || !compress.Codec(codec).Valid() {
		return fmt.Errorf("%s=%d: allowed are 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) and 4 (zstd)", config.OffsetsTopicCompressionCodec, codec)
	}
	if err := checkAssignors(c.List(config.GroupConsumerAssignors)); err != nil {
		return err
	}
	ids := &uuids{}
	if _, err := io.ReadFull(n.o.Random, ids.seed[:]); err != nil {
		return err
	}
	g := &groups{self: n.ident.node, static: c}
	g.latest.Store(n.images.Load())
	g.matchers = newMatchers(int(c.Int(config.GroupCoordinatorBackgroundThreads)), func(p kafka.PartitionID, m *group.Matching) {
		// Where this fails, there is nobody any more who waits for it.
		_ = g.Do(p, nil, func(groups *group.Groups, nowMs int64, _ group.Token, out *group.Out) { groups.Matched(nowMs, m, out) })
	})
	g.Shards = shard.New(shard.Options[groupMachine, *groupOut]{
		Name: kafka.OffsetsTopic,
		New: func(kafka.PartitionID) groupMachine {
			return groupMachine{group.New(groupOptions(c, g.self, g.latest.Load, ids))}
		},
		NewOutput: func() *groupOut { return &groupOut{} },
		Open: func(ctx context.Context, p kafka.PartitionID, epoch kafka.LeaderEpoch) (shard.Log, error) {
			return coordinatorLog(ctx, n.images.Load(), n.table, kafka.OffsetsTopic, p, epoch)
		},
		Refresh: func(m groupMachine, nowMs int64, out *groupOut) {
			m.LimitRecords(recordsBytesMax(c, g.self, g.latest.Load()))
			m.MetadataChanged(nowMs, imageTopics{g.latest.Load()}, group.TopicsChange{Created: true}, &out.out)
		},
		LoadBufferBytes: int(c.Int(config.OffsetsLoadBufferSize)),
		CommitTimeout:   millis(int64(c.Int(config.OffsetsCommitTimeoutMs))),
		PendingMax:      int(c.Int(config.GregorGroupCoordinatorPendingMax)),
		Codec:           compress.Codec(codec),
		Logger:          n.o.Logger, Now: n.o.Now,
	})
	n.groups = g
	return nil
}

// migrationOf reads group.consumer.migration.policy.
func migrationOf(policy string) group.Migration {
	switch strings.ToLower(policy) {
	case "upgrade":
		return group.MigrateUpgrade
	case "downgrade":
		return group.MigrateDowngrade
	case "disabled":
		return group.MigrateDisabled
	}
	return group.MigrateBothWays
}

// checkAssignors refuses assignors that there are none of: Kafka would load them as classes.
func checkAssignors(names []string) error {
	for _, name := range names {
		if assignor.ByName(name) == nil {
			return fmt.Errorf("%s: %q: allowed are %s", config.GroupConsumerAssignors, name, strings.Join(assignor.Names(), " and "))
		}
	}
	return nil
}

func groupOptions(c *config.Node, self kafka.NodeID, latest func() *image.Image, ids *uuids) group.Options {
	broker := brokerResource(self)
	return group.Options{
		Topics: imageTopics{latest()}, RandomUUID: ids.next,
		GroupConfig: func(id string) group.GroupConfig {
			img := latest()
			own := img.Configs(image.Resource{Type: image.ResourceGroup, Name: id})
			return group.GroupConfig(config.ResolveGroup(own, img.Configs(image.ClusterResource), img.Configs(broker), c))
		},
		GroupMinSessionTimeoutMs:        c.Int(config.GroupMinSessionTimeoutMs),
		GroupMaxSessionTimeoutMs:        c.Int(config.GroupMaxSessionTimeoutMs),
		GroupInitialRebalanceDelayMs:    c.Int(config.GroupInitialRebalanceDelayMs),
		GroupMaxSize:                    c.Int(config.GroupMaxSize),
		ConsumerSessionTimeoutMs:        c.Int(config.GroupConsumerSessionTimeoutMs),
		ConsumerHeartbeatIntervalMs:     c.Int(config.GroupConsumerHeartbeatIntervalMs),
		ConsumerAssignmentIntervalMs:    c.Int(config.GroupConsumerAssignmentIntervalMs),
		ConsumerRebalanceIntervalMs:     c.Int(config.GregorGroupConsumerRebalanceIntervalMs),
		ConsumerMaxSize:                 c.Int(config.GroupConsumerMaxSize),
		ConsumerAssignors:               c.List(config.GroupConsumerAssignors),
		ConsumerMigration:               migrationOf(c.Text(config.GroupConsumerMigrationPolicy)),
		ConsumerRegexRefreshIntervalMs:  c.Int(config.GroupConsumerRegexRefreshIntervalMs),
		ConsumerRegexBytesMax:           c.Int(config.GregorGroupConsumerRegexMaxBytes),
		OffsetMetadataMaxBytes:          c.Int(config.OffsetMetadataMaxBytes),
		OffsetsRetentionMs:              int64(c.Int(config.OffsetsRetentionMinutes)) * 60_000,
		OffsetsRetentionCheckIntervalMs: c.Long(config.OffsetsRetentionCheckIntervalMs),
		RecordsBytesMax:                 recordsBytesMax(c, self, latest()),
	}
}

func brokerResource(id kafka.NodeID) image.Resource {
	return image.Resource{Type: image.ResourceBroker, Name: strconv.Itoa(int(id))}
}

// offsetsResource is the configuration of the topic of groups.
var offsetsResource = image.Resource{Type: image.ResourceTopic, Name: kafka.OffsetsTopic}

// recordsBytesMax is what one event of a group may write: max.message.bytes of
// __consumer_offsets, which is raised where groups have grown large. A lower one
// does not go below the broker's message.max.bytes, which groups have been
// measured by: what they hold already could not be written any more.
func recordsBytesMax(c *config.Node, self kafka.NodeID, img *image.Image) int32 {
	topic := config.Resolve(img.Configs(offsetsResource), img.Configs(image.ClusterResource), img.Configs(brokerResource(self)), c)
	return max(topic.MaxMessageBytes-batch.HeaderSize, c.Int(config.MessageMaxBytes)-batch.HeaderSize, 1)
}

// Do gives an event to the groups of a partition of __consumer_offsets; see
// shard.Shards.Do.
func (g *groups) Do(p kafka.PartitionID, t *shard.Ticket, event func(m *group.Groups, nowMs int64, to group.Token, out *group.Out)) error {
	return g.Shards.Do(p, t, func(m groupMachine, nowMs int64, to shard.Token, out *groupOut) {
		event(m.Groups, nowMs, group.Token(to), &out.out)
		if len(out.out.Matching) != 0 {
			g.matchers.begin(p, out.out.Matching)
		}
	})
}

// Close gives up what runs beside the lanes, and the partitions.
func (g *groups) Close() {
	g.matchers.close()
	g.Shards.Close()
}

// counts counts the groups of all partitions that are loaded, one after another.
func (g *groups) counts() group.Counts {
	c := group.Counts{Groups: map[group.GroupState]int{}, Members: map[group.Kind]int{}}
	active, _ := g.Active()
	for _, p := range active {
		_ = g.Do(p, nil, func(m *group.Groups, _ int64, _ group.Token, _ *group.Out) { m.CountInto(&c) }) // or it is loaded no more
	}
	return c
}

// resign ends the terms that a delta ends, and tells what begins.
func (g *groups) resign(d *image.Delta) (elect []shard.Election) {
	resign, elect := shard.Plan(d, kafka.OffsetsTopic, g.self)
	for _, p := range resign {
		g.Resign(p)
	}
	return elect
}

// elect begins terms.
func (g *groups) elect(elect []shard.Election) {
	for _, e := range elect {
		g.Elect(e.Partition, e.Epoch)
	}
}

// changed tells the groups of topics that came, grew, moved or went, before
// requests see them.
func (g *groups) changed(d *image.Delta, img *image.Image) {
	g.latest.Store(img)
	g.relimit(d, img)
	var change group.TopicsChange
	for t := range d.Topics() {
		switch {
		case t.After == nil:
			change.Deleted = append(change.Deleted, group.DeletedTopic{Name: t.Name, ID: t.ID})
		case t.Before == nil:
			change.Created = true
		case t.Before.PartitionCount() == t.After.PartitionCount() && !replicasMoved(t.Before, t.After):
			continue
		}
		change.Names = append(change.Names, t.Name)
	}
	if change.Names != nil {
		g.PostAll(func(m groupMachine, nowMs int64, out *groupOut) {
			m.MetadataChanged(nowMs, imageTopics{img}, change, &out.out)
		})
	}
}

// relimit tells the groups of another limit of their records.
func (g *groups) relimit(d *image.Delta, img *image.Image) {
	for r := range d.Configs() {
		if r == offsetsResource || r == image.ClusterResource || r == brokerResource(g.self) {
			bytesMax := recordsBytesMax(g.static, g.self, img)
			g.PostAll(func(m groupMachine, _ int64, _ *groupOut) { m.LimitRecords(bytesMax) })
			return
		}
	}
}

// replicasMoved says whether a partition is on other brokers than it was: its racks may be others.
func replicasMoved(before, after *image.Topic) bool {
	for id, p := range after.Partitions() {
		if had := before.Partition(id); had != p && (had == nil || !slices.Equal(had.Replicas, p.Replicas)) {
			return true
		}
	}
	return false
}
