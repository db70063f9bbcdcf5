// SPDX-License-Identifier: Apache-2.0

//go:build parity

package group

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/assignor"
	"gregor/coordinator/grouprec"
	apache "gregor/test/interop/kafka"
)

// apacheCoordinator is one partition of Apache Kafka's group coordinator in a
// process of its own, which gets the same events as a world (testdata/Lockstep.java).
type apacheCoordinator struct {
	t     fataler
	to    io.Writer
	lines *bufio.Scanner
	asked map[Token]kmsg.Request
	// theirs and ours are what came of the events since the last comparison.
	theirs, ours []outcomeAt
	history      []string
}

// outcomeAt is what came of the events of one moment.
type outcomeAt struct {
	ms    int64
	lines []string
}

func startApacheCoordinator(t *testing.T) *apacheCoordinator {
	t.Helper()
	apache.Need(t, "java", "javac")
	jars, classes := apache.Jars(t, apache.Broker), t.TempDir()
	compile := exec.CommandContext(t.Context(), "javac", "-nowarn", "-encoding", "UTF-8", "-cp", jars, "-d", classes, filepath.Join("testdata", "Lockstep.java"))
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), "java", "-Xmx512m", "-cp", classes+":"+jars, "org.apache.kafka.coordinator.group.Lockstep")
	said, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	run.Stderr = said
	to, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = to.Close()
		_ = run.Wait()
		if text, err := os.ReadFile(said.Name()); err == nil && t.Failed() {
			t.Logf("Kafka says\n%s", text[max(0, len(text)-4000):])
		}
	})
	k := &apacheCoordinator{t: t, to: to, lines: bufio.NewScanner(from), asked: map[Token]kmsg.Request{}}
	k.lines.Buffer(nil, 64<<20)
	return k
}

// begin has Kafka start anew beside a world.
func (k *apacheCoordinator) begin(t fataler, w *world, settings ...string) {
	k.t, k.theirs, k.ours, k.history = t, nil, nil, nil
	clear(k.asked)
	const prefix = "org.apache.kafka.coordinator.group.Lockstep$"
	k.say(w.nowMs, "new %d group.consumer.assignors=%sUniform,%sRange %s", w.nowMs, prefix, prefix, strings.Join(settings, " "))
	w.beside = k
	k.topics(w)
	k.say(w.nowMs, "load")
}

// say sends a command and takes in what comes of it.
func (k *apacheCoordinator) say(nowMs int64, format string, args ...any) {
	k.t.Helper()
	line := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(k.to, line); err != nil {
		k.t.Fatalf("Kafka's coordinator: %v", err)
	}
	ms := nowMs
	for k.lines.Scan() {
		words := strings.Fields(k.lines.Text())
		switch words[0] {
		case "done":
			return
		case "at":
			ms, _ = strconv.ParseInt(words[1], 10, 64)
		case "rec":
			rec := grouprec.Record{Key: k.hex(words[1])}
			if words[2] != "-" {
				rec.Value = k.hex(words[2])
			}
			k.note(&k.theirs, ms, "+ "+canonicalRecord(k.t, rec))
		case "resp":
			token, _ := strconv.Atoi(words[1])
			req := k.asked[Token(token)]
			resp := req.ResponseKind()
			resp.SetVersion(req.GetVersion())
			body := []byte{}
			if len(words) > 2 {
				body = k.hex(words[2])
			}
			if err := resp.ReadFrom(body); err != nil {
				k.t.Fatalf("%T: %v", resp, err)
			}
			k.note(&k.theirs, ms, fmt.Sprintf("= #%d %s", token, canonicalResponse(resp)))
		}
	}
	k.t.Fatalf("Kafka's coordinator has ended: %v", k.lines.Err())
}

func (k *apacheCoordinator) hex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		k.t.Fatalf("%v", err)
	}
	return b
}

func (k *apacheCoordinator) note(list *[]outcomeAt, ms int64, line string) {
	if n := len(*list); n == 0 || (*list)[n-1].ms != ms {
		*list = append(*list, outcomeAt{ms: ms})
	}
	last := &(*list)[len(*list)-1]
	last.lines = append(last.lines, line)
}

func (k *apacheCoordinator) sent(w *world, to Token, by Caller, req kmsg.Request) {
	k.t.Helper()
	k.asked[to] = req
	k.history = append(k.history, fmt.Sprintf("%d #%d %s", w.nowMs-startMs, to, show(req)))
	k.say(w.nowMs, "send %d %d %d %d %s %s", to, w.memberNo, req.Key(), req.GetVersion(), by.ClientID, hex.EncodeToString(req.AppendTo(nil)))
}

func (k *apacheCoordinator) passed(_ *world, ms int64) {
	k.t.Helper()
	k.say(ms, "at %d", ms)
}

func (k *apacheCoordinator) topics(w *world) {
	k.t.Helper()
	line := fmt.Sprintf("topics %d", w.version)
	for _, name := range sortedKeys(w.topics) {
		id, _, _ := w.view().Topic(name)
		line += fmt.Sprintf(" %s:%s:%d", name, hex.EncodeToString(id[:]), w.topics[name])
	}
	k.history = append(k.history, line)
	k.say(w.nowMs, "%s", line)
}

func (k *apacheCoordinator) reloaded(w *world) {
	k.t.Helper()
	k.history = append(k.history, "reload")
	k.say(w.nowMs, "load")
}

// gave notes what came of an event of the world.
func (k *apacheCoordinator) gave(w *world) {
	for _, rec := range w.records {
		k.note(&k.ours, w.nowMs, "+ "+canonicalRecord(k.t, rec))
	}
	for _, r := range w.replies {
		k.note(&k.ours, w.nowMs, fmt.Sprintf("= #%d %s", r.To, canonicalResponse(r.Response)))
	}
}

// compare holds what came of the same events against each other. What happens in
// one moment may happen in another order.
func (k *apacheCoordinator) compare() {
	k.t.Helper()
	text := func(list []outcomeAt) []string {
		var all []string
		slices.SortStableFunc(list, func(a, b outcomeAt) int { return cmp.Compare(a.ms, b.ms) })
		for _, o := range list {
			slices.Sort(o.lines)
			for _, line := range o.lines {
				all = append(all, fmt.Sprintf("%d %s", o.ms-startMs, line))
			}
		}
		return all
	}
	theirs, ours := text(k.theirs), text(k.ours)
	k.theirs, k.ours = nil, nil
	if !slices.Equal(theirs, ours) {
		k.t.Fatalf("Kafka gives (-), gregor (+)\n%s\nafter\n%s", gocmp.Diff(theirs, ours), strings.Join(k.history[max(0, len(k.history)-50):], "\n"))
	}
}

// canonicalRecord is a record without the order of Kafka's hash tables.
func canonicalRecord(t fataler, rec grouprec.Record) string {
	typ, err := grouprec.TypeOf(rec.Key)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if rec.Value == nil {
		return showRecord(t, rec)
	}
	value := grouprec.NewValue(typ)
	if _, err := value.Decode(rec.Value); err != nil {
		t.Fatalf("%v", err)
	}
	switch v := value.(type) {
	case *grouprec.ConsumerGroupMemberMetadataValue:
		slices.Sort(v.SubscribedTopicNames)
	case *grouprec.ConsumerGroupCurrentMemberAssignmentValue:
		v.AssignedPartitions = savedOwned(ownedOf(v.AssignedPartitions, 0))
		v.PartitionsPendingRevocation = savedOwned(ownedOf(v.PartitionsPendingRevocation, 0))
	case *grouprec.ConsumerGroupTargetAssignmentMemberValue:
		var sorted []grouprec.TopicPartitions
		for _, topic := range targetOf(v) {
			sorted = append(sorted, grouprec.TopicPartitions{TopicID: topic.ID, Partitions: topic.Partitions})
		}
		v.TopicPartitions = sorted
	case *grouprec.ConsumerGroupRegularExpressionValue:
		slices.Sort(v.Topics)
	case *grouprec.GroupMetadataValue:
		v.Leader = nil
		slices.SortFunc(v.Members, func(a, b grouprec.GroupMember) int { return cmp.Compare(a.MemberID, b.MemberID) })
		for i := range v.Members {
			v.Members[i].Assignment = canonicalAssignment(v.Members[i].Assignment)
		}
	}
	return showRecord(t, grouprec.New(keyOf(t, typ, rec.Key), value))
}

func keyOf(t fataler, typ int16, b []byte) grouprec.Key {
	key := grouprec.NewKey(typ)
	if err := key.Decode(b); err != nil {
		t.Fatalf("%v", err)
	}
	return key
}

func canonicalAssignment(b []byte) []byte {
	a := kmsg.NewConsumerMemberAssignment()
	if len(b) == 0 || a.ReadFrom(b) != nil {
		return b
	}
	slices.SortFunc(a.Topics, func(x, y kmsg.ConsumerMemberAssignmentTopic) int { return cmp.Compare(x.Topic, y.Topic) })
	for i := range a.Topics {
		slices.Sort(a.Topics[i].Partitions)
	}
	return a.AppendTo(nil)
}

// canonicalResponse is a response without words and without the order of hash tables.
func canonicalResponse(resp kmsg.Response) string {
	again := resp.RequestKind().ResponseKind() // a copy
	again.SetVersion(resp.GetVersion())
	if err := again.ReadFrom(resp.AppendTo(nil)); err != nil {
		return err.Error()
	}
	switch r := again.(type) {
	case *kmsg.ConsumerGroupHeartbeatResponse:
		r.ErrorMessage = nil
		if r.Assignment != nil {
			slices.SortFunc(r.Assignment.Topics, func(a, b kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic) int {
				return assignor.CompareTopics(a.TopicID, b.TopicID)
			})
			for i := range r.Assignment.Topics {
				slices.Sort(r.Assignment.Topics[i].Partitions)
			}
		}
	case *kmsg.ConsumerGroupDescribeResponse:
		for i := range r.Groups {
			canonicalDescription(&r.Groups[i])
		}
	case *kmsg.JoinGroupResponse:
		slices.SortFunc(r.Members, func(a, b kmsg.JoinGroupResponseMember) int { return cmp.Compare(a.MemberID, b.MemberID) })
	case *kmsg.SyncGroupResponse:
		r.MemberAssignment = canonicalAssignment(r.MemberAssignment)
	}
	return show(again)
}

func canonicalDescription(g *kmsg.ConsumerGroupDescribeResponseGroup) {
	g.ErrorMessage, g.AuthorizedOperations = nil, 0
	slices.SortFunc(g.Members, func(a, b kmsg.ConsumerGroupDescribeResponseGroupMember) int {
		return cmp.Compare(a.MemberID, b.MemberID)
	})
	for i := range g.Members {
		m := &g.Members[i]
		slices.Sort(m.SubscribedTopics)
		for _, list := range [][]kmsg.AssignmentTopicPartition{m.Assignment.TopicPartitions, m.TargetAssignment.TopicPartitions} {
			slices.SortFunc(list, func(a, b kmsg.AssignmentTopicPartition) int { return cmp.Compare(a.Topic, b.Topic) })
			for j := range list {
				slices.Sort(list[j].Partitions)
			}
		}
	}
}

// TestLockstep: random requests of four members that know no rules, at random
// epochs and with random things that they say they own, some of them of the
// classic protocol, while topics come and go and the coordinator moves. Apache
// Kafka's coordinator gives the same records and the same answers at each step.
func TestLockstep(t *testing.T) {
	k := startApacheCoordinator(t)
	steps := max(modelSteps(t)/100, 1)
	first, runs := uint64(rand.Uint32()), 100
	if text := os.Getenv("LOCKSTEP_SEED"); text != "" {
		first, _ = strconv.ParseUint(text, 10, 64)
		runs = 1
	}
	for run := range runs {
		seed := first + uint64(run)
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { lockstep(t, k, seed, steps) })
		if !ok {
			return
		}
	}
}

func lockstep(t *testing.T, k *apacheCoordinator, seed uint64, steps int) {
	d := &driver{random: rand.New(rand.NewPCG(seed, 3)), epochs: map[string]int32{}, owned: map[string][]kafka.TopicIDPartition{}, ids: map[string]string{},
		leads: map[string][]kmsg.JoinGroupResponseMember{}, asked: map[Token]func(kmsg.Response){}}
	interval := []int32{0, 1000}[d.random.IntN(2)]
	d.mixed, d.assignor = d.random.IntN(2) == 0, d.of(assignor.Names()...)
	d.migration = Migration(d.random.IntN(6))
	if d.migration > MigrateDisabled {
		d.migration = MigrateBothWays
	}
	d.world = newWorld(t, func(o *Options) {
		o.ConsumerAssignmentIntervalMs, o.ConsumerMaxSize, o.GroupInitialRebalanceDelayMs, o.ConsumerMigration = interval, 4, 0, d.migration
	})
	d.topics, d.lives = topicSet{"t": 3, "u": 2, "v": 4}, map[string]byte{}
	d.do(func(out *Out) { d.g.MetadataChanged(d.nowMs, d.view(), TopicsChange{Created: true}, out) })
	d.twin.topics = d.view()
	k.begin(t, d.world, "group.consumer.max.size=4", "group.initial.rebalance.delay.ms=0", fmt.Sprintf("group.consumer.assignment.interval.ms=%d", interval),
		"group.consumer.migration.policy="+[]string{"bidirectional", "upgrade", "downgrade", "disabled"}[d.migration])
	for range steps {
		d.step()
		if d.downgraded() {
			return // a hash table of Kafka's decides who leads it, and timers of what it was go on to run
		}
	}
}

// driver is members that know no rules.
type driver struct {
	*world
	random    *rand.Rand
	mixed     bool
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

// downgraded says whether the group has just gone back to the classic protocol with its members.
func (d *driver) downgraded() bool {
	c, classic := d.g.groups["g"].(*classicGroup)
	was := d.consumer
	_, d.consumer = d.g.groups["g"].(*consumerGroup)
	return was && classic && !c.empty()
}

func (d *driver) chance(percent int) bool { return d.random.IntN(100) < percent }

func (d *driver) of(list ...string) string { return list[d.random.IntN(len(list))] }

func (d *driver) step() {
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
		if _, ok := topics[name]; !ok {
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
