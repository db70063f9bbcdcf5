// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
)

// TestConsumerModelOfLiars: members that know no rules. They come at any epoch,
// under another's instance id, say that they own what they do not, or own nothing
// of what they do, and change the protocol in the middle of a revocation, while
// topics go and come again and the coordinator moves. Whatever they say:
//
//	no partition is held by two members, and none is given to one that does not read it
//	nobody is at an epoch that the group has not come to
//	the log gives the same state again (held by world)
func TestConsumerModelOfLiars(t *testing.T) {
	histories(t, func(t *rapid.T, seed uint64, steps int) {
		d := newDriver(t, seed)
		for range steps {
			d.step()
		}
	})
}

// driver is members that know no rules.
type driver struct {
	*world
	random    *rand.Rand
	mixed     bool
	alike     bool // most members read the same
	consumer  bool // the group was of the new protocol after the last step
	migration Migration
	assignor  string           // which of two with as many votes is taken depends on Kafka's hash table
	epochs    map[string]int32 // as last heard of
	owned     map[string][]kafka.TopicIDPartition
	ids       map[string]string // of classic members, by client
	// leads are the members of whom a classic member has been told as their leader.
	leads map[string][]kmsg.JoinGroupResponseMember
	asked map[Token]func(kmsg.Response)
}

// checkHolders holds what nobody can talk the coordinator out of.
func (d *driver) checkHolders() {
	c, ok := d.g.groups["g"].(*consumerGroup)
	if !ok {
		return
	}
	holder := map[kafka.TopicIDPartition]string{}
	for id, m := range c.members {
		if m.epoch > c.epoch || c.assignmentEpoch > c.epoch || m.epoch > 0 && m.state == memberUnrevoked && len(m.revoking) == 0 {
			d.t.Fatalf("%s is ahead\n%s", id, d.consumerState(c))
		}
		for tp := range m.holds() {
			if other, twice := holder[tp]; twice {
				d.t.Fatalf("%v is held by %s and %s\n%s", tp, other, id, d.consumerState(c))
			}
			holder[tp] = id
		}
	}
	targets := map[kafka.TopicIDPartition]string{}
	for id, a := range c.targets {
		if c.members[id] == nil {
			d.t.Fatalf("%s has a target and is no member\n%s", id, d.consumerState(c))
		}
		for _, topic := range a {
			for _, p := range topic.Partitions {
				tp := kafka.TopicIDPartition{TopicID: topic.ID, Partition: p}
				if other, twice := targets[tp]; twice {
					d.t.Fatalf("%v is for %s and for %s\n%s", tp, other, id, d.consumerState(c))
				}
				targets[tp] = id
			}
		}
	}
	for regex := range c.resolved {
		if c.regexes[regex] == 0 {
			d.t.Fatalf("nobody has %s any more\n%s", regex, d.consumerState(c))
		}
	}
	if len(holder) != len(c.partitionEpochs) {
		d.t.Fatalf("%d partitions are held, and %d known to be\n%s", len(holder), len(c.partitionEpochs), d.consumerState(c))
	}
}

// downgraded says whether the group has just gone back to the classic protocol with its members.
func (d *driver) downgraded() bool {
	c, classic := d.g.groups["g"].(*classicGroup)
	was := d.consumer
	_, d.consumer = d.g.groups["g"].(*consumerGroup)
	return was && classic && !c.empty()
}

func newDriver(t fataler, seed uint64) *driver {
	d := &driver{random: rand.New(rand.NewPCG(seed, 3)), epochs: map[string]int32{}, owned: map[string][]kafka.TopicIDPartition{}, ids: map[string]string{},
		leads: map[string][]kmsg.JoinGroupResponseMember{}, asked: map[Token]func(kmsg.Response){}}
	interval := []int32{0, 1000}[d.random.IntN(2)]
	d.mixed, d.alike, d.assignor = d.random.IntN(2) == 0, d.random.IntN(3) == 0, d.of(assignor.Names()...)
	d.migration = Migration(d.random.IntN(6))
	if d.migration > MigrateDisabled {
		d.migration = MigrateBothWays
	}
	d.world = newWorld(t, func(o *Options) {
		o.ConsumerAssignmentIntervalMs, o.ConsumerMaxSize, o.GroupInitialRebalanceDelayMs, o.ConsumerMigration = interval, 4, 0, d.migration
	})
	d.compacts = true
	d.topics, d.lives = topicSet{"t": 3, "u": 2, "v": 4}, map[string]byte{}
	d.do(func(out *Out) { d.g.MetadataChanged(d.nowMs, d.view(), TopicsChange{Created: true}, out) })
	d.twin.topics = d.view()
	return d
}

func (d *driver) chance(percent int) bool { return d.random.IntN(100) < percent }

func (d *driver) of(list ...string) string { return list[d.random.IntN(len(list))] }

func (d *driver) step() {
	defer d.checkHolders()
	switch n := d.random.IntN(100); {
	case d.mixed && d.token < 12: // so that there is a classic group to move to the new protocol
		d.classic()
		d.pass(100)
	case n < 8:
		d.pass(int64(d.random.IntN(60_000)))
	case n < 20:
		d.pass(int64(d.random.IntN(3_000)))
	case n < 23:
		d.reload()
	case n < 27:
		d.retopic()
	case n < 32:
		d.commit()
	case n < 33:
		d.fetch()
	case n < 35:
		d.ask1("x", &kmsg.ConsumerGroupDescribeRequest{Version: 1, Groups: []string{"g"}})
	case n < 36:
		d.ask1("x", &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{"g"}})
	case n < 39:
		d.malformed()
	case d.mixed && n < 65:
		d.classic()
	default:
		d.beat()
	}
}

// ask1 asks a moment after whatever was before: of two timers that are due at once
// each coordinator has its own order.
func (d *driver) ask1(client string, req kmsg.Request) kmsg.Response {
	d.pass(1)
	to := d.ask(func(to Token, out *Out) { d.send(Caller{ClientID: client, ClientHost: "/192.0.2.1"}, req, to, out) })
	for _, r := range d.replies {
		if r.To == to {
			return r.Response
		}
	}
	return nil
}

func (d *driver) pass(ms int64) {
	d.until(d.nowMs+ms, func() {
		for _, r := range d.replies {
			if handle := d.asked[r.To]; handle != nil {
				handle(r.Response)
			}
		}
	})
}

func (d *driver) retopic() {
	d.pass(1) // what matches regexes then sees the topics as they are now
	topics := topicSet{}
	for _, name := range []string{"t", "u", "v", "w"} {
		if n, ok := d.topics[name]; ok && (len(d.topics) == 1 || !d.chance(15)) {
			topics[name] = n
			if d.chance(20) && n < 6 {
				topics[name]++
			}
		} else if !ok && d.chance(50) {
			topics[name] = 1 + int32(d.random.IntN(4))
		}
	}
	if len(topics) == 0 {
		topics["x"] = 2
	}
	var deleted []DeletedTopic
	for _, name := range sortedKeys(d.topics) {
		if _, ok := topics[name]; !ok || d.chance(8) { // it may come again at once, as another
			id, _, _ := d.view().Topic(name)
			deleted = append(deleted, DeletedTopic{Name: name, ID: id})
			d.lives[name]++
		}
	}
	d.setTopics(topics, deleted)
}

// subscription has at least one topic that exists. When a member changes its
// subscription to nothing, Kafka sometimes writes once more what the member has.
func (d *driver) subscription() (names []string) {
	if d.alike && d.topics["t"] != 0 && d.chance(85) {
		return []string{"t"}
	}
	names = []string{d.of(sortedKeys(d.topics)...)}
	for _, name := range []string{"t", "u", "v", "w", "nowhere"} {
		if d.chance(35) && name != names[0] {
			names = append(names, name)
		}
	}
	return names
}

func (d *driver) member(id string) *consumerMember {
	if c, ok := d.g.groups["g"].(*consumerGroup); ok {
		return c.members[id]
	}
	return nil
}

// misjudged: Kafka makes a target for members that it takes to read the same, while
// one of them comes with a regex that has not been matched.
func (d *driver) misjudged(req *kmsg.ConsumerGroupHeartbeatRequest) bool {
	c, ok := d.g.groups["g"].(*consumerGroup)
	if !ok || deref(req.SubscribedTopicRegex) == "" || c.assignmentEpoch == c.epoch {
		return false
	}
	_, known := c.resolved[*req.SubscribedTopicRegex]
	return !known && homogeneous(c.names, c.regexes, len(c.members))
}

func (d *driver) exists(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return d.topics[name] != 0 })
}

func (d *driver) beat() {
	member := d.of("a", "b", "c", "d", "e")
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, "g", member, -1
	if d.chance(30) {
		instance := d.of("i", "j")
		if d.chance(80) {
			instance = map[string]string{"a": "i", "b": "i", "c": "j", "d": "j", "e": "j"}[member]
		}
		req.InstanceID = &instance
	}
	epoch, known := d.epochs[member]
	switch n := d.random.IntN(100); {
	case !known || n < 8:
		epoch = epochJoin
	case n < 12:
		epoch = epochLeave
	case n < 16:
		epoch = epochStaticLeave
	case n < 22:
		epoch += int32(d.random.IntN(4)) - 2
	}
	if c, ok := d.g.groups["g"].(*classicGroup); ok && !c.empty() && c.protocol == nil && epoch == epochJoin {
		return // Kafka says that it does not know what has happened, and has sent the members away
	}
	if m := d.member(member); m != nil && epoch == epochJoin && req.InstanceID != nil && !sameText(m.instance, req.InstanceID) {
		return // takes the place of two members; of one that had a regex, Kafka keeps that for ever
	}
	req.MemberEpoch = epoch
	if d.chance(5) {
		req.RackID = kmsg.StringPtr(d.of("r1", "r2"))
	}
	if d.chance(5) {
		req.ServerAssignor = &d.assignor
	}
	if epoch == epochJoin || d.chance(15) {
		req.RebalanceTimeoutMillis = int32(1000 * (1 + d.random.IntN(60)))
	}
	if epoch == epochJoin || d.chance(12) {
		req.SubscribedTopicNames = d.subscription()
	}
	if d.chance(12) {
		req.SubscribedTopicRegex = kmsg.StringPtr(d.of("", "[tu]", "v|w", ".*", "(", "t"))
	}
	if m := d.member(member); req.SubscribedTopicRegex != nil && req.SubscribedTopicNames == nil && m != nil && !d.exists(m.names) {
		return
	}
	if c, ok := d.g.groups["g"].(*classicGroup); ok && !c.empty() && len(d.waiting) != 0 && deref(req.SubscribedTopicRegex) == "(" {
		return // Kafka sends who waits away, though nothing comes of it
	}
	if d.beside != nil && d.misjudged(req) {
		return
	}
	if epoch != epochJoin && d.chance(60) {
		var owned []kafka.TopicIDPartition
		if !d.chance(12) {
			owned = slices.Clone(d.owned[member])
		}
		if d.chance(10) {
			id, _, _ := d.view().Topic(d.of("t", "u", "v", "w"))
			owned = append(owned, kafka.TopicIDPartition{TopicID: id, Partition: kafka.PartitionID(d.random.IntN(4))})
		}
		if n := len(owned); n > 0 && d.chance(10) {
			i := d.random.IntN(n)
			owned = slices.Delete(owned, i, i+1)
		}
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, tp := range owned {
			req.Topics = append(req.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: tp.TopicID, Partitions: []int32{int32(tp.Partition)}})
		}
	}
	if epoch == epochJoin {
		req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	resp := d.ask1("c-"+d.of("1", "1", "1", "1", "1", "2"), req).(*kmsg.ConsumerGroupHeartbeatResponse)
	switch kafka.Code(resp.ErrorCode) {
	case kafka.None:
		if d.chance(92) { // else it is lost
			d.epochs[member] = resp.MemberEpoch
			if resp.Assignment != nil && d.chance(90) {
				d.owned[member] = nil
				for _, t := range resp.Assignment.Topics {
					for _, p := range t.Partitions {
						d.owned[member] = append(d.owned[member], kafka.TopicIDPartition{TopicID: t.TopicID, Partition: kafka.PartitionID(p)})
					}
				}
			}
		}
		if resp.MemberEpoch < 0 {
			delete(d.epochs, member)
		}
	case kafka.UnknownMemberID, kafka.FencedMemberEpoch, kafka.GroupIDNotFound:
		if d.chance(70) {
			delete(d.epochs, member)
			delete(d.owned, member)
		}
	}
}

func (d *driver) classic() {
	if len(d.waiting) != 0 {
		return // Kafka never answers a JoinGroup that another one of its member comes behind
	}
	client := d.of("k", "l")
	id := d.ids[client]
	var instance *string
	c, ok := d.g.groups["g"].(*consumerGroup)
	mixed := ok && !c.empty() // how a classic group takes such members is not what this is about
	if static := client == "l"; static != (mixed && d.chance(10)) {
		instance = kmsg.StringPtr("j")
	}
	switch n := d.random.IntN(100); {
	case n < 40:
		d.join(client, id, instance)
	case n < 65:
		d.sync(client, id, instance)
	case n < 92:
		req := kmsg.NewPtrHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 4, "g", id, instance, d.epochs[client]
		d.ask1(client, req)
	default:
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group, req.Members = 5, "g", []kmsg.LeaveGroupRequestMember{{MemberID: id, InstanceID: instance}}
		d.ask1(client, req)
	}
}

func (d *driver) join(client, id string, instance *string) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = 9, "g", id, instance, protocolTypeConsumer
	// Otherwise Kafka forgets an empty group of the new protocol, without a record, when it refuses a member that it does not know.
	if c, ok := d.g.groups["g"].(*consumerGroup); d.chance(10) || ok && c.empty() {
		req.MemberID = ""
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 20_000
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 3, d.subscription()
	for _, tp := range d.owned[client] {
		if topic, ok := d.view().TopicName(tp.TopicID); ok {
			m.OwnedPartitions = append(m.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: topic, Partitions: []int32{int32(tp.Partition)}})
		}
	}
	if d.chance(20) {
		m.OwnedPartitions = nil
	}
	if d.chance(10) {
		m.Rack = kmsg.StringPtr("r1")
	}
	req.Protocols = protocols(d.of("range", "range", "range", "range,sticky"), m.AppendTo(nil))
	answered := func(resp kmsg.Response) {
		r := resp.(*kmsg.JoinGroupResponse)
		switch kafka.Code(r.ErrorCode) {
		case kafka.None:
			d.ids[client], d.epochs[client] = r.MemberID, r.Generation
			if delete(d.leads, client); r.LeaderID == r.MemberID {
				d.leads[client] = r.Members
			}
		case kafka.MemberIDRequired:
			d.ids[client] = r.MemberID
		default:
			if d.chance(70) {
				d.ids[client] = ""
			}
		}
	}
	if resp := d.ask1(client, req); resp != nil {
		answered(resp)
	} else {
		d.asked[d.token] = answered
	}
}

func (d *driver) sync(client, id string, instance *string) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 5, "g", id, instance, d.epochs[client]
	req.ProtocolType, req.Protocol = kmsg.StringPtr(protocolTypeConsumer), kmsg.StringPtr("range")
	if members := d.leads[client]; members != nil {
		assigned := map[string]*kmsg.ConsumerMemberAssignment{}
		for _, topic := range sortedKeys(d.topics) {
			for p := range d.topics[topic] {
				m := members[d.random.IntN(len(members))].MemberID
				if assigned[m] == nil {
					assigned[m] = &kmsg.ConsumerMemberAssignment{}
				}
				assigned[m].Topics = append(assigned[m].Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topic, Partitions: []int32{p}})
			}
		}
		for _, m := range sortedKeys(assigned) {
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: merged(assigned[m]).AppendTo(nil)})
		}
	}
	answered := func(resp kmsg.Response) {
		r := resp.(*kmsg.SyncGroupResponse)
		if r.ErrorCode != 0 {
			return
		}
		d.owned[client] = nil
		assigned, _, _ := parseAssignment(r.MemberAssignment)
		for _, t := range assigned {
			id, _, _ := d.view().Topic(t.topic)
			for _, p := range t.partitions {
				d.owned[client] = append(d.owned[client], kafka.TopicIDPartition{TopicID: id, Partition: kafka.PartitionID(p)})
			}
		}
	}
	if resp := d.ask1(client, req); resp != nil {
		answered(resp)
	} else {
		d.asked[d.token] = answered
	}
}

// malformed is a heartbeat that is wrong in one way or two.
func (d *driver) malformed() {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version = int16(d.random.IntN(2))
	req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = "g", "e", int32(d.random.IntN(8)-4), 1000
	req.SubscribedTopicNames, req.Topics = d.subscription(), []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for range 1 + d.random.IntN(2) {
		switch d.random.IntN(10) {
		case 0:
			req.Group = d.of("", " ", "nobody's")
		case 1:
			req.MemberID = d.of("", "  ", "\t")
		case 2:
			req.InstanceID = kmsg.StringPtr(d.of("", " ", "\u2003"))
		case 3:
			req.RackID = kmsg.StringPtr(d.of("", " "))
		case 4:
			req.RebalanceTimeoutMillis = -1
		case 5:
			req.SubscribedTopicNames = nil
		case 6:
			req.Topics = nil
		case 7:
			req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{Partitions: []int32{-1, 0, 0}}}
		case 8:
			req.ServerAssignor = kmsg.StringPtr(d.of("", "Uniform", "sticky"))
		case 9:
			req.Version, req.SubscribedTopicRegex = 1, kmsg.StringPtr(d.of("(", "a(?=b)", "[z-a]", "\\1", "a)(b", "x{1001}", "(?P<n>a", "[[:word:"))
		}
	}
	if c, ok := d.g.groups["g"].(*classicGroup); ok && !c.empty() {
		return
	}
	d.ask1("c", req)
}

// fetch reads an offset as somebody who says at which epoch it is.
func (d *driver) fetch() {
	member := d.of("a", "b", "c", "d", "k")
	epoch := d.epochs[member]
	if id, ok := d.ids[member]; ok {
		member = id
	}
	if d.chance(30) {
		epoch += int32(d.random.IntN(3)) - 1
	}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 9
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberID: &member, MemberEpoch: epoch,
		Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0, 1}}}}}
	if d.chance(20) {
		req.Groups[0].MemberID, req.Groups[0].MemberEpoch = nil, -1
	}
	d.ask1("c", req)
}

func (d *driver) commit() {
	member := d.of("a", "b", "c", "d", "k")
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = int16(8+d.random.IntN(2)), "g", member, d.epochs[member]-int32(d.random.IntN(3))
	if id, ok := d.ids[member]; ok {
		req.MemberID = id
	}
	topic := d.of("t", "u", "v")
	partition := int32(d.random.IntN(3))
	if partition >= d.topics[topic] {
		return // the broker refuses it
	}
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: partition, Offset: 5, LeaderEpoch: -1}}}}
	d.ask1("c", req)
}
