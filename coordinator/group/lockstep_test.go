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
	// parted says that gregor did on purpose what Kafka does not; nothing is compared any more.
	parted bool
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
	k.t, k.theirs, k.ours, k.history, k.parted = t, nil, nil, nil, false
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
	if k.parted = k.parted || onPurpose(theirs, ours); k.parted {
		return
	}
	if !slices.Equal(theirs, ours) {
		k.t.Fatalf("Kafka gives (-), gregor (+)\n%s\nafter\n%s", gocmp.Diff(theirs, ours), strings.Join(k.history[max(0, len(k.history)-50):], "\n"))
	}
}

// onPurpose knows two differences. A classic group that is not whole is assigned
// anew when it moves to the new protocol: gregor raises its epoch once more. And
// members of the classic protocol that are left alone in a group of the new one
// are told to join when a target is due.
func onPurpose(theirs, ours []string) bool {
	epochs := func(list []string) (n int, moves bool) {
		for _, line := range list {
			if strings.Contains(line, " + ConsumerGroupMetadata{") {
				n++
			}
			moves = moves || strings.HasSuffix(line, ` + GroupMetadata{Group="g"} deleted`)
		}
		return n, moves
	}
	const told = "{ErrorCode=REBALANCE_IN_PROGRESS}"
	if n, moves := epochs(ours); moves {
		before, moved := epochs(theirs)
		return moved && n == before+1
	}
	if len(ours) == 0 || len(ours) != len(theirs) {
		return false
	}
	last := len(ours) - 1
	return slices.Equal(ours[:last], theirs[:last]) && strings.HasSuffix(ours[last], " Heartbeat"+told) && strings.TrimSuffix(ours[last], told)+"{}" == theirs[last]
}

// typeLost says whether Kafka's next target is made by what it knew of the group
// when that had regexes: it forgets the last one without another look at whether
// all members read the same.
func (d *driver) typeLost() bool {
	c, ok := d.g.groups["g"].(*consumerGroup)
	if !ok || c.assignmentEpoch == c.epoch || len(c.regexes) != 0 || len(c.members) < 2 || !homogeneous(c.names, c.regexes, len(c.members)) {
		return false
	}
	for _, l := range slices.Backward(d.log) {
		switch typ, _ := grouprec.TypeOf(l.rec.Key); {
		case typ == grouprec.TypeConsumerGroupMemberMetadata:
			return false
		case typ == grouprec.TypeConsumerGroupRegularExpression:
			return true
		}
	}
	return false
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
	case *kmsg.OffsetFetchResponse:
		for _, g := range r.Groups {
			slices.SortFunc(g.Topics, func(a, b kmsg.OffsetFetchResponseGroupTopic) int { return cmp.Compare(a.Topic, b.Topic) })
			for _, t := range g.Topics {
				slices.SortFunc(t.Partitions, func(a, b kmsg.OffsetFetchResponseGroupTopicPartition) int {
					return cmp.Compare(a.Partition, b.Partition)
				})
			}
		}
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
	first, runs := lockstepSeeds()
	compared := 0
	for run := range runs {
		seed := first + uint64(run)
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { compared += lockstep(t, k, seed, steps) })
		if !ok {
			return
		}
	}
	t.Logf("%d steps of %d were compared", compared, runs*steps)
}

// lockstepSeeds are those of the histories that are played: always the same ones,
// so that a change alone decides whether they end well, or the one of
// LOCKSTEP_SEED, or with MODEL_STEPS others each time.
func lockstepSeeds() (first uint64, runs int) {
	if text := os.Getenv("LOCKSTEP_SEED"); text != "" {
		first, _ = strconv.ParseUint(text, 10, 64)
		return first, 1
	}
	if os.Getenv("MODEL_STEPS") != "" {
		return uint64(rand.Uint32()), 100
	}
	return 1, 100
}

func lockstep(t *testing.T, k *apacheCoordinator, seed uint64, steps int) (compared int) {
	d := newDriver(t, seed)
	k.begin(t, d.world, "group.consumer.max.size=4", "group.initial.rebalance.delay.ms=0", fmt.Sprintf("group.consumer.assignment.interval.ms=%d", d.options.ConsumerAssignmentIntervalMs),
		"group.consumer.migration.policy="+[]string{"bidirectional", "upgrade", "downgrade", "disabled"}[d.migration])
	for range steps {
		d.step()
		if compared++; d.downgraded() || k.parted || d.typeLost() {
			return compared // a hash table of Kafka's decides who leads it, and timers of what it was go on to run
		}
	}
	return compared
}
