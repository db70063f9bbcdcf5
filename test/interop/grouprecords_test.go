// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/test/interop/kafka"
)

// groupRecordSettings let members outlive the change from one node to the next.
var groupRecordSettings = append(slices.Clone(transactionSettings), "group.initial.rebalance.delay.ms=0",
	"group.consumer.max.session.timeout.ms=1800000", "group.consumer.session.timeout.ms=600000")

// TestEveryRecordOfGroups has groups live so that every type of record that
// gregor writes of them stands in __consumer_offsets, with a value and as a
// tombstone: classic and static members, members of the new protocol with an
// instance, a rack and a regular expression, a group that moves from one protocol
// to the other, transactions of either end (Apache Kafka's: gregor coordinates
// none), members that leave and groups that are deleted. Kafka's DumpLogSegments reads them with its decoder of offsets, and the
// other broker finds the groups, their members and their offsets as they were, and
// a member goes on with its epoch. So it is with gregor first and with Kafka first.
func TestEveryRecordOfGroups(t *testing.T) {
	t.Parallel()
	gregor := func(t *testing.T, dir string) *kafka.Node { return startWith(t, dir, groupRecordSettings...) }
	apache := func(t *testing.T, dir string) *kafka.Node {
		return kafka.StartApache(t, dir, kafka.Options{Settings: slices.Concat(forever, groupRecordSettings)})
	}
	for name, starts := range map[string][]func(*testing.T, string) *kafka.Node{"gregor first": {gregor, apache}, "Kafka first": {apache, gregor}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			dir := filepath.Join(t.TempDir(), "data")
			n := starts[0](t, dir)
			g := newGroups(ctx, t, n)
			epoch := g.live()
			before := g.look()
			n.Stop(t)
			decode(t, dir, g.transactions())

			n = starts[1](t, dir)
			g = newGroups(ctx, t, n)
			if diff := cmp.Diff(before, g.look()); diff != "" {
				t.Fatalf("what was left (-), what %s finds (+):\n%s", n.Name, diff)
			}
			if r := g.heartbeat(consumerHeartbeat("new", "stays", epoch)); r.ErrorCode != 0 || r.MemberEpoch < epoch {
				t.Errorf("%s answers a member that goes on with %v, epoch %d after %d", n.Name, kerr.ErrorForCode(r.ErrorCode), r.MemberEpoch, epoch)
			}
			n.Stop(t)
		})
	}
}

// decode has Kafka's tool read the records of groups.
func decode(t *testing.T, dir string, transactions bool) {
	t.Helper()
	said := dump(t, []string{filepath.Join(dir, "__consumer_offsets-0", "00000000000000000000.log")}, []string{"--offsets-decoder"})
	reportComplaints(t, said)
	seen := map[string][2]int{} // by type: with a value, and without
	key := regexp.MustCompile(` key: \{"type":"(\d+)","data":\{.*?\}\}? payload: (.*)$`)
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "| offset: ") || strings.Contains(line, " endTxnMarker: ") {
			continue
		}
		found := key.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if found == nil {
			t.Errorf("the decoder does not know %s", line)
			continue
		}
		count := seen[found[1]]
		switch value := found[2]; {
		case value == "<DELETE>":
			count[1]++
		case strings.HasPrefix(value, `{"version":"`) && strings.Contains(value, `"data":{`):
			count[0]++
		default:
			t.Errorf("the decoder does not know the value of %s", line)
		}
		seen[found[1]] = count
	}
	// Offsets, classic groups, groups of the new protocol, members, target
	// assignments of groups and of members, current assignments, expressions.
	for _, kind := range []string{"1", "2", "3", "5", "6", "7", "8", "16"} {
		if count := seen[kind]; count[0] == 0 || count[1] == 0 {
			t.Errorf("of type %s there are %d values and %d tombstones", kind, count[0], count[1])
		}
		delete(seen, kind)
	}
	// What older brokers kept of subscriptions goes with its group.
	if count := seen["4"]; count[0] > 0 || count[1] == 0 || len(seen) != 1 {
		t.Errorf("of types that are not expected there are, with a value and without, %v", seen)
	}
	wanted := []string{`"groupInstanceId":"i-1"`, `"instanceId":"i-new"`, `"rackId":"r-1"`, `"subscribedTopicRegex":"al.*"`, `"serverAssignor":"range"`,
		`"classicMemberMetadata":{`, `"metadata":"by hand"`}
	if transactions {
		wanted = append(wanted, ` endTxnMarker: COMMIT`, ` endTxnMarker: ABORT`)
	}
	for _, want := range wanted {
		if !strings.Contains(said, want) {
			t.Errorf("the decoder does not say %s", want)
		}
	}
}

// groups drives groups by requests of its own making.
type groups struct {
	ctx    context.Context
	t      *testing.T
	node   *kafka.Node
	client *kgo.Client
	admin  *kadm.Client
}

func newGroups(ctx context.Context, t *testing.T, n *kafka.Node) *groups {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(n.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &groups{ctx: ctx, t: t, node: n, client: c, admin: kadm.NewClient(c)}
}

// transactions tells whether the node coordinates them.
func (g *groups) transactions() bool { return g.node.Name == "Apache Kafka" }

// live makes the groups, and returns the epoch of the member that stays.
func (g *groups) live() int32 {
	g.t.Helper()
	for topic, partitions := range map[string]int{"in": 2, "out": 1, "also": 1} {
		createTopic(g.ctx, g.t, g.admin, topic, partitions, nil)
	}
	for i := range 8 {
		if err := g.client.ProduceSync(g.ctx, &kgo.Record{Topic: "in", Partition: int32(i % 2), Value: []byte("v")}).FirstErr(); err != nil {
			g.t.Fatal(err)
		}
	}
	consume(g.t, g.ctx, g.node.Address, 8, kgo.ConsumerGroup("classic"), kgo.InstanceID("i-1"))
	consume(g.t, g.ctx, g.node.Address, 8, kgo.ConsumerGroup("deleted"))
	if g.transactions() {
		transact(g.t, g.ctx, g.node.Address, "in a transaction", kgo.TryCommit)
		transact(g.t, g.ctx, g.node.Address, "aborted", kgo.TryAbort)
	}

	stays := consumerHeartbeat("new", "stays", 0)
	stays.InstanceID, stays.RackID, stays.ServerAssignor, stays.SubscribedTopicRegex = value("i-new"), value("r-1"), value("range"), value("al.*")
	stays.SubscribedTopicNames = []string{"in"}
	g.settle(stays, 3)
	leaves := consumerHeartbeat("new", "leaves", 0)
	leaves.SubscribedTopicNames, leaves.SubscribedTopicRegex = []string{}, value("ou.*")
	g.settle(leaves, 1)
	leaves = consumerHeartbeat("new", "leaves", -1)
	g.must(leaves)
	epoch := g.settle(consumerHeartbeat("new", "stays", stays.MemberEpoch), 3)
	g.commit("new", "stays", epoch)

	last := consumerHeartbeat("deleted too", "last", 0)
	last.SubscribedTopicNames = []string{"in"}
	g.commit("deleted too", "last", g.settle(last, 2))
	g.must(consumerHeartbeat("deleted too", "last", -1))

	g.joinClassic("moved")
	moves := consumerHeartbeat("moved", "moves", 0)
	moves.SubscribedTopicNames = []string{"also"}
	g.settle(moves, 1)

	deleted, err := g.admin.DeleteGroups(g.ctx, "deleted", "deleted too")
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	return epoch
}

// consumerHeartbeat is one that changes nothing, or joins with epoch 0.
func consumerHeartbeat(group, member string, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Group, r.MemberID, r.MemberEpoch = group, member, epoch
	if epoch == 0 {
		r.RebalanceTimeoutMillis, r.Topics = 600_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	return r
}

func (g *groups) heartbeat(r *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	g.t.Helper()
	resp, err := r.RequestWith(g.ctx, g.client)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp
}

func (g *groups) must(r *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	g.t.Helper()
	resp := g.heartbeat(r)
	if resp.ErrorCode != 0 {
		g.t.Fatalf("heartbeat of %s: %v %v", r.MemberID, kerr.ErrorForCode(resp.ErrorCode), resp.ErrorMessage)
	}
	return resp
}

// settle sends heartbeats until the member owns so many partitions and has the
// epoch of its group, which it returns.
func (g *groups) settle(r *kmsg.ConsumerGroupHeartbeatRequest, partitions int) int32 {
	g.t.Helper()
	for {
		resp := g.must(r)
		r.MemberEpoch = resp.MemberEpoch
		if a := resp.Assignment; a != nil {
			r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			for _, topic := range a.Topics {
				r.Topics = append(r.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topic.TopicID, Partitions: topic.Partitions})
			}
		}
		described := g.describe(r.Group)
		at := slices.IndexFunc(described.Members, func(m kmsg.ConsumerGroupDescribeResponseGroupMember) bool { return m.MemberID == r.MemberID })
		if at >= 0 {
			m := described.Members[at]
			if owned(m.Assignment) == owned(m.TargetAssignment) && strings.Count(owned(m.Assignment), " ") == partitions && m.MemberEpoch == described.Epoch &&
				resp.MemberEpoch == described.Epoch {
				return resp.MemberEpoch
			}
		}
		select {
		case <-g.ctx.Done():
			g.t.Fatalf("member %s does not get %d partitions: %+v", r.MemberID, partitions, described)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// owned lists partitions, each with a space before it.
func owned(a kmsg.Assignment) string {
	var all []string
	for _, topic := range a.TopicPartitions {
		for _, p := range topic.Partitions {
			all = append(all, fmt.Sprintf(" %s-%d", topic.Topic, p))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func (g *groups) describe(group string) kmsg.ConsumerGroupDescribeResponseGroup {
	g.t.Helper()
	r := kmsg.NewPtrConsumerGroupDescribeRequest()
	r.Groups = []string{group}
	resp, err := r.RequestWith(g.ctx, g.client)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.Groups[0]
}

// commit commits by hand.
func (g *groups) commit(group, member string, epoch int32) {
	g.t.Helper()
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.MemberID, r.Generation = group, member, epoch
	topic, part := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset, part.Metadata = 1, 3, value("by hand")
	listed, err := g.admin.ListTopics(g.ctx, "in")
	if err != nil {
		g.t.Fatal(err)
	}
	topic.Topic, topic.TopicID, topic.Partitions = "in", listed["in"].ID, append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
	resp, err := r.RequestWith(g.ctx, g.client)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		g.t.Fatalf("commit of %s: %v %+v", member, err, resp)
	}
}

// joinClassic makes a group of the classic protocol with a member of clients of
// the consumer kind, which can move to the new protocol.
func (g *groups) joinClassic(group string) {
	g.t.Helper()
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{"in"}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = group, "consumer", 600_000, 600_000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: metadata.AppendTo(nil)}}
	joined, err := join.RequestWith(g.ctx, g.client)
	if err == nil && joined.ErrorCode == kerr.MemberIDRequired.Code {
		join.MemberID = joined.MemberID
		joined, err = join.RequestWith(g.ctx, g.client)
	}
	if err != nil || joined.ErrorCode != 0 {
		g.t.Fatalf("join: %v %+v", err, joined)
	}
	assignment := kmsg.NewConsumerMemberAssignment()
	assignment.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "in", Partitions: []int32{0, 1}}}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.Generation, sync.MemberID, sync.ProtocolType, sync.Protocol = group, joined.Generation, joined.MemberID, value("consumer"), value("range")
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: assignment.AppendTo(nil)}}
	if synced, err := sync.RequestWith(g.ctx, g.client); err != nil || synced.ErrorCode != 0 {
		g.t.Fatalf("sync: %v %+v", err, synced)
	}
}

// look is what must be the same with the other broker, line by line.
func (g *groups) look() (lines []string) {
	g.t.Helper()
	committedOf(g.ctx, g.t, g.admin, "classic", "in") // a coordinator that still reads its log lists nothing
	listed, err := g.admin.ListGroups(g.ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	for name, l := range listed {
		offsets, err := g.admin.FetchOffsets(kadm.RequireStable(g.ctx), name)
		if err != nil {
			g.t.Fatal(err)
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			lines = append(lines, fmt.Sprintf("%s: %s-%d at %d, epoch %d, %q", name, o.Topic, o.Partition, o.At, o.LeaderEpoch, o.Metadata))
		})
		if d := g.describe(name); d.ErrorCode == 0 {
			lines = append(lines, fmt.Sprintf("%s: %s, epoch %d, assignment epoch %d, %s", name, d.State, d.Epoch, d.AssignmentEpoch, d.AssignorName))
			for _, m := range d.Members {
				lines = append(lines, fmt.Sprintf("%s: member %s of type %d at epoch %d: instance %s, rack %s, client %s at %s, topics %v, expression %s, has%s, gets%s", name,
					m.MemberID, m.MemberType, m.MemberEpoch, orNone(m.InstanceID), orNone(m.RackID), m.ClientID, m.ClientHost, m.SubscribedTopics, orNone(m.SubscribedTopicRegex),
					owned(m.Assignment), owned(m.TargetAssignment)))
			}
			continue
		}
		described, err := g.admin.DescribeGroups(g.ctx, name)
		if err != nil {
			g.t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s: %s %s, protocol %q", name, l.ProtocolType, described[name].State, described[name].Protocol))
		for _, m := range described[name].Members {
			lines = append(lines, fmt.Sprintf("%s: member %s: instance %s, client %s at %s", name, m.MemberID, orNone(m.InstanceID), m.ClientID, m.ClientHost))
		}
	}
	slices.Sort(lines)
	return lines
}

func orNone(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}
