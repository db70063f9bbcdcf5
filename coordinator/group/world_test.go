// SPDX-License-Identifier: Apache-2.0

package group

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// topicSet is a view of the metadata.
type topicSet map[string]int32

// topicID makes an id of a name, so that a topic of the same name but of another life can be told by its suffix.
func topicID(name string) (id kafka.TopicID) {
	copy(id[:], name)
	return id
}

func (s topicSet) Topic(name string) (kafka.TopicID, int32, bool) {
	n, ok := s[name]
	if !ok {
		return kafka.TopicID{}, 0, false
	}
	return topicID(name), n, true
}

func (s topicSet) TopicName(id kafka.TopicID) (string, bool) {
	name := strings.TrimRight(string(id[:]), "\x00")
	_, ok := s[name]
	return name, ok
}

func (s topicSet) Racks(string, kafka.PartitionID) []string { return nil }
func (s topicSet) Names() iter.Seq[string]                  { return maps.Keys(s) }
func (s topicSet) Version() int64                           { return 1 }

// topicView is one version of the metadata.
type topicView struct {
	topicSet
	version int64
	lives   map[string]byte
}

func (v topicView) Version() int64 { return v.version }

// Topic has the number of the topic's life in the last byte but one of the id:
// in a hash table of Java's such ids are in their order.
func (v topicView) Topic(name string) (kafka.TopicID, int32, bool) {
	id, n, ok := v.topicSet.Topic(name)
	if ok {
		id[14] = v.lives[name]
	}
	return id, n, ok
}

// Racks are those of one topic, in no order; the others have none.
func (v topicView) Racks(name string, p kafka.PartitionID) []string {
	if v.lives == nil || name != "u" {
		return nil
	}
	return []string{fmt.Sprintf("r%d", p%2), "é", "a"}
}

func (v topicView) TopicName(id kafka.TopicID) (string, bool) {
	life := id[14]
	id[14] = 0
	name, ok := v.topicSet.TopicName(id)
	return name, ok && v.lives[name] == life
}

type logged struct {
	rec    grouprec.Record
	from   Origin
	marker bool
	commit bool
}

// fataler is a test or a property.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// world is a coordinator partition, its log, and a twin that only replays.
// After each event the twin must hold the same durable state, and every token
// must have been answered at most once.
type world struct {
	t       fataler
	options Options
	g, twin *Groups
	nowMs   int64
	log     []logged
	out     Out
	topics  topicSet
	version int64 // of topics
	// lives counts how often a topic has been deleted, if it is not nil.
	lives    map[string]byte
	token    Token
	waiting  map[Token]bool
	replies  []Reply // of the last event
	records  []grouprec.Record
	memberNo uint64
	events   int
	shown    []shownReply
	beside   beside
	// compacts has what compaction would leave of the log looked at too.
	compacts bool
	// matching is under way beside the lane, until time passes; with slow it
	// stays so for a while longer.
	matching []*Matching
	slow     func() bool
}

// beside is another coordinator that gets the same events; gave and compare hold
// what comes of them against each other.
type beside interface {
	sent(w *world, to Token, by Caller, req kmsg.Request)
	passed(w *world, ms int64)
	topics(w *world)
	reloaded(w *world)
	gave(w *world)
	compare()
}

// shownReply is a reply as it was when it was given.
type shownReply struct {
	resp kmsg.Response
	text string
}

const startMs = 1_000_000

func newWorld(t fataler, change func(*Options)) *world {
	w := &world{t: t, nowMs: startMs, topics: topicSet{"t": 3, "u": 2}, version: 1, waiting: map[Token]bool{}}
	w.options = Options{Topics: w.view(), GroupInitialRebalanceDelayMs: 3000}
	w.options.RandomUUID = func() (u [16]byte) {
		w.memberNo++
		binary.BigEndian.PutUint64(u[8:], w.memberNo)
		return u
	}
	if change != nil {
		change(&w.options)
	}
	w.g, w.twin = New(w.options), New(w.options)
	w.do(func(out *Out) { w.g.Loaded(w.nowMs, out) })
	return w
}

func (w *world) view() Topics { return topicView{w.topics, w.version, maps.Clone(w.lives)} }

// do runs an event and appends what it gives.
func (w *world) do(event func(out *Out)) {
	w.t.Helper()
	w.out.Reset()
	event(&w.out)
	w.records, w.replies = slices.Clone(w.out.Records), slices.Clone(w.out.Replies)
	bytes := 0
	for _, rec := range w.records {
		from := Origin{Offset: kafka.Offset(len(w.log)), TimestampMs: w.nowMs, ProducerID: -1}
		if in := w.out.Transaction; in != nil {
			from.Transactional, from.ProducerID, from.ProducerEpoch = true, in.ProducerID, in.ProducerEpoch
		}
		bytes += sizeOf(rec)
		w.append(logged{rec: rec, from: from})
	}
	if limit := int(w.g.options.RecordsBytesMax); bytes > limit {
		w.t.Fatalf("an event gave %d bytes of records, of %d", bytes, limit)
	}
	for _, r := range w.replies {
		if !w.waiting[r.To] {
			w.t.Fatalf("token %d, which does not wait, got %s", r.To, show(r.Response))
		}
		delete(w.waiting, r.To)
		r.Response.AppendTo(nil)
	}
	w.matching = append(w.matching, w.out.Matching...)
	if w.events++; len(w.records) != 0 || w.events%64 == 0 {
		w.compare()
	}
	if w.compacts && w.events%128 == 0 {
		w.compareCompacted()
	}
	if w.beside != nil {
		w.beside.gave(w)
	}
}

// same has the coordinator beside compared, if there is one.
func (w *world) same() {
	w.t.Helper()
	if w.beside != nil {
		w.beside.compare()
	}
}

func (w *world) append(l logged) {
	w.t.Helper()
	w.log = append(w.log, l)
	var err error
	if l.marker {
		err = w.twin.ReplayMarker(l.from.ProducerID, l.from.ProducerEpoch, l.commit)
	} else {
		err = w.twin.Replay(l.rec, l.from)
	}
	if err != nil {
		w.t.Fatalf("replay: %v", err)
	}
}

func (w *world) marker(id kafka.ProducerID, commit bool) {
	w.t.Helper()
	if err := w.g.ReplayMarker(id, 0, commit); err != nil {
		w.t.Fatalf("marker: %v", err)
	}
	w.append(logged{marker: true, commit: commit, from: Origin{Offset: kafka.Offset(len(w.log)), ProducerID: id}})
	w.compare()
}

// ask sends a request and gives its token; its reply, if it came, is in replies.
func (w *world) ask(event func(to Token, out *Out)) Token {
	w.t.Helper()
	w.token++
	to := w.token
	w.waiting[to] = true
	w.do(func(out *Out) { event(to, out) })
	w.same()
	return to
}

// answer is the reply to a request that does not wait.
func answer[R kmsg.Response](w *world, event func(to Token, out *Out)) R {
	w.t.Helper()
	to := w.ask(event)
	for _, r := range w.replies {
		if r.To == to {
			return r.Response.(R)
		}
	}
	w.t.Fatalf("no answer at once")
	panic("unreachable")
}

// until lets the time pass; each gets called after each event.
func (w *world) until(ms int64, each func()) {
	w.t.Helper()
	if w.beside != nil {
		w.beside.passed(w, ms)
	}
	w.matched(each)
	for rounds := 0; ; rounds++ {
		due, ok := w.g.NextDueMs()
		if !ok || due > ms {
			break
		}
		if rounds == 1_000_000 {
			w.t.Fatalf("timers never come to rest")
		}
		w.nowMs = max(w.nowMs, due)
		w.do(func(out *Out) { w.g.Tick(w.nowMs, out) })
		if each != nil {
			each()
		}
	}
	w.nowMs = ms
	w.same()
}

// matched ends what is under way beside the lane.
func (w *world) matched(each func()) {
	w.t.Helper()
	under := w.matching
	w.matching = nil
	for _, m := range under {
		if w.slow != nil && w.slow() {
			w.matching = append(w.matching, m)
			continue
		}
		m.Run(context.Background())
		w.do(func(out *Out) { w.g.Matched(w.nowMs, m, out) })
		if each != nil {
			each()
		}
	}
}

// reload is a failover: whoever waits is told so, and the log is read anew.
func (w *world) reload() {
	w.t.Helper()
	w.out.Reset()
	w.g.Abandon(&w.out)
	w.replies, w.records = slices.Clone(w.out.Replies), nil
	for _, r := range w.replies {
		if !w.waiting[r.To] {
			w.t.Fatalf("token %d answered twice", r.To)
		}
		delete(w.waiting, r.To)
	}
	if len(w.waiting) != 0 {
		w.t.Fatalf("%d requests have no answer", len(w.waiting))
	}
	if w.beside != nil {
		w.beside.reloaded(w)
		w.beside.gave(w)
	}
	w.options.Topics = w.view()
	w.g = New(w.options)
	for _, l := range w.log {
		if l.marker {
			_ = w.g.ReplayMarker(l.from.ProducerID, l.from.ProducerEpoch, l.commit)
		} else if err := w.g.Replay(l.rec, l.from); err != nil {
			w.t.Fatalf("replay: %v", err)
		}
	}
	replies := w.replies
	w.do(func(out *Out) { w.g.Loaded(w.nowMs, out) })
	w.replies = append(replies, w.replies...)
	w.same()
}

// compare holds the durable state against the twin's.
func (w *world) compare() {
	w.t.Helper()
	log, live := durable(w.twin, w.g), durable(w.g, w.g)
	if !maps.Equal(log, live) {
		w.t.Fatalf("what the log says (-) is not what the coordinator has (+)\n%s", cmp.Diff(log, live))
	}
}

// compareCompacted loads what is left of the log when it has been compacted and
// all tombstones have had their time: of each key the last record, if it has a value.
func (w *world) compareCompacted() {
	w.t.Helper()
	last := map[string]int{}
	for i, l := range w.log {
		last[string(l.rec.Key)] = i
	}
	g := New(w.options)
	for i, l := range w.log {
		if last[string(l.rec.Key)] != i || l.rec.Value == nil {
			continue
		}
		if err := g.Replay(l.rec, l.from); err != nil {
			w.t.Fatalf("replay: %v", err)
		}
	}
	log, live := durable(g, w.g), durable(w.g, w.g)
	if !maps.Equal(log, live) {
		w.t.Fatalf("what the compacted log says (-) is not what the coordinator has (+)\n%s", cmp.Diff(log, live))
	}
}

// durable is what the log must give again: the groups that there are, classic
// ones as they were when they last came to rest, and all offsets. A group that
// is in a rebalance in live is left out.
func durable(g, live *Groups) map[string]string {
	all := map[string]string{}
	for id := range g.groups {
		all["group "+id] = "exists"
		if l, ok := live.groups[id].(*classicGroup); ok && (l.state == stateStable || l.state == stateEmpty) {
			all["group "+id] = snapshot(g.groups[id].(*classicGroup))
		}
		if c, ok := g.groups[id].(*consumerGroup); ok {
			all["group "+id] = consumerSnapshot(c)
		}
	}
	for id, o := range g.offsets {
		for topic, partitions := range o.committed {
			for p, c := range partitions {
				all[fmt.Sprintf("offset %s %s-%d", id, topic, p)] = showCommit(c)
			}
		}
		for producer, offsets := range o.pending {
			for topic, partitions := range offsets {
				for p, c := range partitions {
					all[fmt.Sprintf("pending %s %s-%d of %d", id, topic, p, producer)] = showCommit(c)
				}
			}
		}
		for tp, n := range o.unstable {
			all[fmt.Sprintf("unstable %s %s", id, tp)] = fmt.Sprint(n)
		}
	}
	for id, groups := range g.producers {
		all[fmt.Sprintf("producer %d", id)] = fmt.Sprint(sortedKeys(groups))
	}
	return all
}

func showCommit(c committed) string {
	return fmt.Sprintf("%d epoch %d %q at %d expires %d of %s", c.offset, c.leaderEpoch, c.metadata, c.commitMs, c.expireMs, c.topicID)
}

func snapshot(c *classicGroup) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q generation %d protocol %q leader %s subscribed %v %v", c.state, c.protocolType, c.generation,
		deref(c.protocol), c.leaderName(), c.subscriptionKnown, sortedKeys(c.subscribed))
	for _, m := range c.members {
		fmt.Fprintf(&b, "\n %s instance %q client %s host %s assignment %q metadata %q session %d rebalance %d", m.id, deref(m.instance),
			m.clientID, m.clientHost, m.assignment, m.metadataOf(c.protocol), m.sessionTimeoutMs, m.rebalanceTimeoutMs)
	}
	return b.String()
}

// consumerSnapshot is all that the log has of a group, and what is counted from it.
func consumerSnapshot(c *consumerGroup) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s epoch %d hash %d assignment epoch %d at %d legacy %v\n", c.stateName(), c.epoch, c.metadataHash, c.assignmentEpoch, c.assignmentMs, c.legacyMetadata)
	fmt.Fprintf(&b, "names %v assignors %v regexes %v static %v classic %d %v\nheld %v\nresolved %v\ntargets %v\n",
		c.names, c.assignors, c.regexes, c.static, c.classicMembers, c.classicProtocols, c.partitionEpochs, c.resolved, c.targets)
	for _, id := range c.memberIDs() {
		m := c.members[id].memberData
		fmt.Fprintf(&b, "%s %q %q %s %s reads %v %q timeout %d assignor %q classic %v epoch %d after %d state %d has %v revoking %v\n", m.id, deref(m.instance), deref(m.rack),
			m.clientID, m.clientHost, m.names, deref(m.regex), m.rebalanceTimeoutMs, deref(m.assignor), m.classic, m.epoch, m.previousEpoch, m.state, m.assigned, m.revoking)
	}
	return b.String()
}

var randomPart = regexp.MustCompile(`-00000000-0000-4000-8000-0*([0-9a-f]+)`)

// short writes the random part of a member id as ~n; long undoes it.
func short(s string) string { return randomPart.ReplaceAllString(s, "~$1") }

var shortened = regexp.MustCompile(`~([0-9a-f]+)`)

func long(s string) string {
	return shortened.ReplaceAllStringFunc(s, func(n string) string {
		return fmt.Sprintf("-00000000-0000-4000-8000-%012s", n[1:])
	})
}

// subscription encodes the metadata of a consumer.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	return m.AppendTo(nil)
}

func protocols(names string, metadata []byte) []kmsg.JoinGroupRequestProtocol {
	var all []kmsg.JoinGroupRequestProtocol
	for _, name := range strings.Split(names, ",") {
		all = append(all, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: metadata})
	}
	return all
}

var _ fataler = testing.TB(nil)
