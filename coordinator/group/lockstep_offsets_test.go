// SPDX-License-Identifier: Apache-2.0

//go:build parity

package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// TestOffsetsLockstep: random commits, within transactions and without, deletions
// and reads of offsets of four groups, two of which have members now and then,
// while transactions end, offsets expire, topics go and come again under their
// names, and the coordinator moves. Apache Kafka's coordinator gives the same
// records and the same answers at each step.
func TestOffsetsLockstep(t *testing.T) {
	k := startApacheCoordinator(t)
	steps := max(modelSteps(t)/50, 1)
	first, runs := lockstepSeeds()
	for run := range runs {
		seed := first + uint64(run)
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { offsetsLockstep(t, k, seed, steps) }) {
			return
		}
	}
	t.Logf("%d steps were compared", runs*steps)
}

func offsetsLockstep(t *testing.T, k *apacheCoordinator, seed uint64, steps int) {
	d := &offsetsDriver{k: k, random: rand.New(rand.NewPCG(seed, 17)), members: map[string]*offsetsMember{}}
	d.world = newWorld(t, func(o *Options) {
		o.GroupInitialRebalanceDelayMs, o.OffsetsRetentionMs, o.OffsetsRetentionCheckIntervalMs, o.OffsetMetadataMaxBytes = 0, 3*60_000, 7_000, 20
	})
	d.lives = map[string]byte{}
	d.topics = topicSet{"t": 3, "u": 2, "v": 4}
	d.do(func(out *Out) { d.g.MetadataChanged(d.nowMs, d.view(), TopicsChange{Created: true}, out) })
	d.twin.topics = d.view()
	k.begin(t, d.world, "group.initial.rebalance.delay.ms=0", "offsets.retention.minutes=3", "offsets.retention.check.interval.ms=7000", "offset.metadata.max.bytes=20", "group.consumer.assignment.interval.ms=0")
	d.beside = &offsetsBeside{k}
	for range steps {
		d.step()
	}
}

// offsetsBeside takes the end of an offset once: Kafka writes it for what is
// committed, and again for what is pending of the same partition.
type offsetsBeside struct{ *apacheCoordinator }

func (b *offsetsBeside) compare() {
	b.t.Helper()
	for i := range b.theirs {
		seen := map[string]bool{}
		b.theirs[i].lines = slices.DeleteFunc(b.theirs[i].lines, func(line string) bool {
			twice := seen[line]
			seen[line] = strings.HasPrefix(line, "+ OffsetCommit{") && strings.HasSuffix(line, " deleted")
			return twice
		})
	}
	b.apacheCoordinator.compare()
}

// offsetsMember is the member of a group that has one.
type offsetsMember struct {
	id    string
	epoch int32
}

type offsetsDriver struct {
	*world
	k       *apacheCoordinator
	random  *rand.Rand
	members map[string]*offsetsMember
}

func (d *offsetsDriver) chance(percent int) bool { return d.random.IntN(100) < percent }

func (d *offsetsDriver) of(list ...string) string { return list[d.random.IntN(len(list))] }

// group is one that only commits, twice, one of the classic protocol, or one of the new.
func (d *offsetsDriver) group() string { return d.of("g", "h", "classic", "new") }

func (d *offsetsDriver) pass(ms int64) { d.until(d.nowMs+ms, nil) }

func (d *offsetsDriver) tell(req kmsg.Request) kmsg.Response {
	d.pass(1)
	to := d.ask(func(to Token, out *Out) { d.send(Caller{ClientID: "c", ClientHost: "/192.0.2.1"}, req, to, out) })
	for _, r := range d.replies {
		if r.To == to {
			return r.Response
		}
	}
	return nil
}

func (d *offsetsDriver) step() {
	switch n := d.random.IntN(100); {
	case n < 8:
		d.pass(int64(d.random.IntN(20_000)))
	case n < 11:
		d.pass(int64(d.random.IntN(150_000)))
	case n < 14:
		d.reload()
	case n < 18:
		d.retopic()
	case n < 30:
		d.member()
	case n < 50:
		d.commit()
	case n < 68:
		d.commitInTransaction()
	case n < 76:
		d.end()
	case n < 83:
		d.delete()
	case n < 85:
		d.tell(&kmsg.DeleteGroupsRequest{Version: 2, Groups: slices.Compact([]string{d.group(), d.group()})})
	default:
		d.fetch()
	}
}

// places are some of the partitions that exist, by topic.
func (d *offsetsDriver) places() map[string][]int32 {
	found := map[string][]int32{}
	for _, name := range sortedKeys(d.topics) {
		if !d.chance(60) {
			continue
		}
		for p := range d.topics[name] {
			if d.chance(50) {
				found[name] = append(found[name], p)
			}
		}
	}
	return found
}

// metadata may be too long, but not all that a request has: Kafka makes a group of it nevertheless.
func (d *offsetsDriver) metadata(first bool) *string {
	if first || d.chance(20) {
		return nil
	}
	return kmsg.StringPtr(d.of("", "m", "twenty characters ..", "twenty-one characters"))
}

// who is nobody, the member of the group, or somebody who was.
func (d *offsetsDriver) who(group string) (id string, epoch int32) {
	m := d.members[group]
	if m == nil || d.chance(25) {
		return "", -1
	}
	if epoch = m.epoch; d.chance(10) {
		epoch += int32(d.random.IntN(3)) - 1
	}
	return m.id, epoch
}

func (d *offsetsDriver) commit() {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.RetentionTimeMillis = int16(2+d.random.IntN(8)), d.group(), -1
	req.MemberID, req.Generation = d.who(req.Group)
	if req.Version <= 4 && d.chance(40) {
		req.RetentionTimeMillis = int64(d.random.IntN(60_000))
	}
	places := d.places()
	for _, topic := range sortedKeys(places) {
		one := kmsg.NewOffsetCommitRequestTopic()
		one.Topic = topic
		for _, p := range places[topic] {
			at := kmsg.NewOffsetCommitRequestTopicPartition()
			at.Partition, at.Offset, at.LeaderEpoch, at.Metadata = p, int64(d.random.IntN(100)), -1, d.metadata(len(req.Topics) == 0 && len(one.Partitions) == 0)
			if req.Version >= 6 {
				at.LeaderEpoch = int32(d.random.IntN(5)) - 1
			}
			one.Partitions = append(one.Partitions, at)
		}
		req.Topics = append(req.Topics, one)
	}
	if len(req.Topics) != 0 {
		d.tell(req)
	}
}

func (d *offsetsDriver) commitInTransaction() {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.Group, req.TransactionalID = int16(d.random.IntN(6)), d.group(), "t"
	req.ProducerID, req.Generation = int64(1+d.random.IntN(3)), -1
	if req.Version >= 3 {
		req.MemberID, req.Generation = d.who(req.Group)
	}
	places := d.places()
	for _, topic := range sortedKeys(places) {
		one := kmsg.NewTxnOffsetCommitRequestTopic()
		one.Topic = topic
		for _, p := range places[topic] {
			at := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			at.Partition, at.Offset, at.LeaderEpoch, at.Metadata = p, int64(d.random.IntN(100)), -1, d.metadata(len(req.Topics) == 0 && len(one.Partitions) == 0)
			one.Partitions = append(one.Partitions, at)
		}
		req.Topics = append(req.Topics, one)
	}
	if len(req.Topics) != 0 {
		d.tell(req)
	}
}

func (d *offsetsDriver) end() {
	d.pass(1)
	id, how := int64(1+d.random.IntN(3)), "commit"
	if d.chance(40) {
		how = "abort"
	}
	d.k.history = append(d.k.history, fmt.Sprintf("%d marker %d %s", d.nowMs-startMs, id, how))
	d.k.say(d.nowMs, "marker %d %s", id, how)
	d.marker(kafka.ProducerID(id), how == "commit")
	d.same()
}

func (d *offsetsDriver) delete() {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = d.group()
	places := d.places()
	for _, topic := range sortedKeys(places) {
		one := kmsg.OffsetDeleteRequestTopic{Topic: topic}
		for _, p := range places[topic] {
			one.Partitions = append(one.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
		}
		req.Topics = append(req.Topics, one)
	}
	if len(req.Topics) != 0 {
		d.tell(req)
	}
}

func (d *offsetsDriver) fetch() {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.RequireStable = int16(8+d.random.IntN(2)), d.chance(50)
	for range 1 + d.random.IntN(2) {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberEpoch = d.group(), -1
		if d.chance(60) {
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
			for _, topic := range []string{"t", "u", "v"} {
				g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: topic, Partitions: []int32{0, 1, 2}})
			}
		}
		req.Groups = append(req.Groups, g)
	}
	d.tell(req)
}

// retopic deletes a topic, or makes one; one that is deleted may come again at once, as another.
func (d *offsetsDriver) retopic() {
	d.pass(1)
	topics, change := topicSet{}, TopicsChange{Names: []string{}}
	for _, name := range []string{"t", "u", "v"} {
		n, ok := d.topics[name]
		switch {
		case ok && d.chance(60):
			topics[name] = n
			continue
		case ok:
			id, _, _ := d.view().Topic(name)
			change.Deleted = append(change.Deleted, DeletedTopic{Name: name, ID: id})
			d.lives[name]++
			if d.chance(50) {
				topics[name], change.Created = 1+int32(d.random.IntN(4)), true
			}
		case d.chance(70):
			topics[name], change.Created = 1+int32(d.random.IntN(4)), true
		default:
			continue
		}
		change.Names = append(change.Names, name)
	}
	d.topics, d.version = topics, d.version+1
	view := d.view()
	d.k.topics(d.world)
	d.twin.topics = view
	d.do(func(out *Out) { d.g.MetadataChanged(d.nowMs, view, change, out) })
	d.same()
}

// member has somebody join, beat, or leave.
func (d *offsetsDriver) member() {
	if d.chance(50) {
		d.memberOfTheNew()
		return
	}
	m := d.members["classic"]
	if m == nil {
		join := joinRequest(3, "classic", "")
		join.SessionTimeoutMillis = 30_000
		if topics := sortedKeys(d.topics); len(topics) != 0 {
			join.Protocols = protocols("range", subscription(topics[d.random.IntN(len(topics))]))
		}
		d.tell(join)
		d.pass(1)
		c, ok := d.g.groups["classic"].(*classicGroup)
		if !ok || len(c.members) == 0 {
			return
		}
		d.members["classic"] = &offsetsMember{c.members[0].id, c.generation}
		if d.chance(80) {
			sync := syncRequest("classic", c.members[0].id, c.generation)
			sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: c.members[0].id}}
			d.tell(sync)
		}
		return
	}
	if d.chance(60) {
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Group, beat.MemberID, beat.Generation = "classic", m.id, m.epoch
		d.tell(beat)
		return
	}
	delete(d.members, "classic")
	if d.chance(60) {
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Version, leave.Group, leave.Members = 5, "classic", []kmsg.LeaveGroupRequestMember{{MemberID: m.id}}
		d.tell(leave)
		return
	}
	d.pass(31_000)
	if c, ok := d.g.groups["classic"].(*classicGroup); ok && len(c.members) != 0 {
		d.pass(120_000) // until nobody is left
	}
}

func (d *offsetsDriver) memberOfTheNew() {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "new", "a", -1
	m := d.members["new"]
	switch {
	case m == nil:
		names := sortedKeys(d.topics)
		if len(names) == 0 {
			return
		}
		req.RebalanceTimeoutMillis, req.Topics = 10_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		req.SubscribedTopicNames = slices.Clone(names[:1+d.random.IntN(len(names))])
	case d.chance(70):
		req.MemberEpoch = m.epoch
	default:
		req.MemberEpoch = epochLeave
	}
	resp := d.tell(req).(*kmsg.ConsumerGroupHeartbeatResponse)
	delete(d.members, "new")
	if resp.ErrorCode == 0 && resp.MemberEpoch > 0 {
		d.members["new"] = &offsetsMember{"a", resp.MemberEpoch}
	}
}
