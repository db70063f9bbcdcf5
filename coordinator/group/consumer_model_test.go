// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"gregor/base/kafka"
)

// TestConsumerModel: members of the new protocol, and in half of the runs some
// of the classic one, join, leave, crash, restart, change what they read, lose
// answers and commit, while topics come and grow and the coordinator moves.
// Whatever happens:
//
//	no partition has two owners, neither in the coordinator nor among clients that it has not put out
//	once nothing changes any more, all have what they shall within two heartbeats
//	a committed offset is the one that was committed last
//	the log gives the same state again (held by world)
func TestConsumerModel(t *testing.T) {
	histories(t, func(t *rapid.T, seed uint64, steps int) {
		m := newConsumerModel(t, seed)
		for range steps {
			m.step()
		}
		m.settle()
	})
}

const (
	consumerBeatMs    = 5_000
	consumerSessionMs = 45_000
)

type consumerModel struct {
	*world
	random   *rand.Rand
	clients  []*consumerClient
	offsets  map[string]int64
	next     int64
	mixed    bool
	interval int32
	calm     bool // no more crashes, delays, lost answers
	asked    map[Token]func(kmsg.Response)
}

// consumerClient behaves as a consumer does.
type consumerClient struct {
	name     string
	instance *string
	classic  bool
	topics   []string
	regex    *string
	alive    bool
	id       string
	epoch    int32
	owned    map[string]bool
	// target is what the coordinator said last; nil: nothing new.
	target  map[string]bool
	tellAll bool  // a reply was lost
	beatMs  int64 // when it sends its next heartbeat
	slowMs  int64 // until when it does not give up what it has to
	joined  bool  // of a classic member: it has its assignment
	// watched are the topics of the group as a classic member that leads it saw them; nil: it leads none.
	watched map[string]int32
	// unread is the generation in which a static member of a classic group came back. What it reads by then
	// counts from the next one on, as in Kafka.
	unread int32
	busy   bool
	life   int
	lives  int
}

func newConsumerModel(t *rapid.T, seed uint64) *consumerModel {
	m := &consumerModel{random: rand.New(rand.NewPCG(seed, 2)), offsets: map[string]int64{}, asked: map[Token]func(kmsg.Response){}}
	m.mixed = m.chance(50)
	if m.chance(50) {
		m.interval = 1000
	}
	policy := MigrateBothWays
	if m.chance(30) {
		policy = MigrateUpgrade
	}
	m.world = newWorld(t, func(o *Options) {
		o.ConsumerAssignmentIntervalMs, o.ConsumerMaxSize, o.GroupInitialRebalanceDelayMs, o.ConsumerMigration = m.interval, 7, 0, policy
	})
	m.compacts = true
	m.slow = func() bool { return !m.calm && m.chance(80) } // what matches regexes takes its time
	m.setTopics(topicSet{"t": 3, "u": 2, "v": 4}, nil)
	return m
}

func (m *consumerModel) chance(percent int) bool { return m.random.IntN(100) < percent }

func (m *consumerModel) living() []*consumerClient {
	return slices.DeleteFunc(slices.Clone(m.clients), func(c *consumerClient) bool { return !c.alive })
}

func (m *consumerModel) step() {
	living := m.living()
	var c *consumerClient
	if len(living) != 0 {
		c = living[m.random.IntN(len(living))]
	}
	switch n := m.random.IntN(100); {
	case n < 12 && len(living) < 9:
		m.start()
	case n < 56:
		m.pass(int64(m.random.IntN(7_000)))
	case n < 58:
		m.pass(int64(m.random.IntN(60_000)))
	case n < 61:
		m.reloadConsumers()
	case n < 64:
		m.changeTopics()
	case n < 68:
		m.nonsense()
	case c == nil:
	case n < 73:
		m.leave(c)
	case n < 77:
		c.alive = false // a crash
	case n < 82:
		m.restart(c)
	case n < 85:
		c.slowMs = m.nowMs + int64(m.random.IntN(80_000))
	case n < 92:
		m.resubscribe(c)
	default:
		m.commitOne(c)
	}
}

func (m *consumerModel) start() {
	c := &consumerClient{name: fmt.Sprintf("c%d", len(m.clients)), alive: true, owned: map[string]bool{}}
	if m.chance(30) {
		name := "i" + c.name
		c.instance = &name
	}
	c.classic = m.mixed && m.chance(40)
	m.clients = append(m.clients, c)
	m.newLife(c)
	m.resubscribe(c)
}

func (m *consumerModel) newLife(c *consumerClient) {
	c.life++
	c.lives++
	c.id, c.epoch, c.target, c.tellAll, c.joined, c.busy, c.beatMs = "", 0, nil, false, false, false, m.nowMs
	c.owned, c.watched = map[string]bool{}, nil
	if !c.classic {
		c.id = fmt.Sprintf("%s.%d", c.name, c.lives)
	}
}

func (m *consumerModel) resubscribe(c *consumerClient) {
	all := []string{"t", "u", "v", "w"}
	m.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	c.topics = all[:m.random.IntN(4)]
	none := ""
	c.regex = &none
	if !c.classic && !m.calm && m.chance(30) {
		regex := []string{"[tu]", "v|w", ".*"}[m.random.IntN(3)]
		c.regex = &regex
	}
	if c.classic && len(c.topics) == 0 {
		c.topics = []string{"t"}
	}
	c.tellAll, c.joined, c.beatMs = true, false, m.nowMs
}

// restart gives a process a new life; a static one may say that it goes.
func (m *consumerModel) restart(c *consumerClient) {
	if c.instance != nil && !c.classic && c.epoch > 0 && m.chance(70) {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", c.id, epochStaticLeave, c.instance
		m.send1(c, req, func(kmsg.Response) {})
	}
	if m.mixed && m.chance(40) {
		c.classic = !c.classic // a rolling bounce
		m.newLife(c)
		m.resubscribe(c)
		return
	}
	m.newLife(c)
}

func (m *consumerModel) leave(c *consumerClient) {
	c.alive = false
	if c.classic {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Version, req.Group, req.Members = 5, "g", []kmsg.LeaveGroupRequestMember{{MemberID: c.id, InstanceID: c.instance}}
		m.send1(c, req, func(kmsg.Response) {})
		return
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", c.id, epochLeave, c.instance
	m.send1(c, req, func(kmsg.Response) {})
}

func (m *consumerModel) changeTopics() {
	topics := maps.Clone(m.topics)
	name := []string{"t", "u", "v", "w"}[m.random.IntN(4)]
	if topics[name] < 6 {
		topics[name]++
	}
	m.setTopics(topics, nil)
	m.handleAll()
}

func (m *consumerModel) reloadConsumers() {
	m.reload()
	m.handleAll()
	m.checkOwners()
	m.checkCommitted()
}

// send1 sends a request; its reply counts unless the client has another life by then.
func (m *consumerModel) send1(c *consumerClient, req kmsg.Request, handle func(kmsg.Response)) {
	life := c.life
	m.asked[m.token+1] = func(resp kmsg.Response) {
		if c.life == life && c.alive {
			handle(resp)
		}
	}
	m.ask(func(to Token, out *Out) {
		m.world.send(Caller{ClientID: c.name, ClientHost: "/192.0.2.1"}, req, to, out)
	})
	m.handleAll()
}

func (m *consumerModel) handleAll() {
	replies := m.replies
	m.replies = nil
	for _, r := range replies {
		handle := m.asked[r.To]
		delete(m.asked, r.To)
		handle(r.Response)
	}
	m.checkOwners()
}

// pass lets time go by.
func (m *consumerModel) pass(ms int64) {
	for end := m.nowMs + ms; m.nowMs < end; {
		m.until(min(end, m.nowMs+100), m.handleAll)
		for _, c := range m.clients {
			if c.alive && !c.busy {
				m.act(c)
			}
		}
	}
}

func (m *consumerModel) act(c *consumerClient) {
	if c.target != nil && (m.calm || m.nowMs >= c.slowMs) {
		m.adopt(c)
	}
	if c.beatMs > m.nowMs {
		return
	}
	switch {
	case !c.classic:
		m.beat(c)
	case !c.joined || m.changed(c.watched):
		m.joinClassic(c)
	default:
		m.beatClassic(c)
	}
}

// adopt gives up what is not in the target, tells so at once, and then takes what is new.
func (m *consumerModel) adopt(c *consumerClient) {
	lost := false
	for tp := range c.owned {
		if !c.target[tp] {
			delete(c.owned, tp)
			lost = true
		}
	}
	for tp := range c.target {
		c.owned[tp] = true
	}
	c.target = nil
	if lost {
		c.beatMs = m.nowMs
	}
	c.tellAll = true
	m.checkOwners()
}

func (m *consumerModel) beat(c *consumerClient) {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", c.id, c.epoch, c.instance
	req.RebalanceTimeoutMillis = -1
	if c.tellAll || c.epoch == 0 {
		req.RebalanceTimeoutMillis = 60_000
		req.SubscribedTopicNames, req.SubscribedTopicRegex = append([]string{}, c.topics...), c.regex
		req.Topics = ownedRequest(c.owned)
	}
	c.beatMs = m.nowMs + consumerBeatMs
	if !m.calm && m.chance(10) {
		m.send1(c, req, func(kmsg.Response) { // the answer is lost
			if c.tellAll = true; req.Topics != nil {
				c.target = nil // it has said what it has, so it takes no more before it hears again
			}
		})
		return
	}
	m.send1(c, req, func(r kmsg.Response) {
		resp := r.(*kmsg.ConsumerGroupHeartbeatResponse)
		switch kafka.Code(resp.ErrorCode) {
		case kafka.None:
			c.epoch, c.tellAll = resp.MemberEpoch, false
			if resp.Assignment != nil {
				c.target = map[string]bool{}
				for _, t := range resp.Assignment.Topics {
					for _, p := range t.Partitions {
						c.target[fmt.Sprintf("%s-%d", strings.TrimRight(string(t.TopicID[:]), "\x00"), p)] = true
					}
				}
			}
		case kafka.FencedMemberEpoch, kafka.UnknownMemberID, kafka.GroupIDNotFound:
			c.epoch, c.owned, c.target, c.beatMs = 0, map[string]bool{}, nil, m.nowMs
		case kafka.UnreleasedInstanceID, kafka.NotCoordinator:
		case kafka.FencedInstanceID, kafka.GroupMaxSizeReached:
			c.alive = false
		default:
			m.t.Fatalf("%s got %s", c.name, show(resp))
		}
	})
}

func ownedRequest(owned map[string]bool) []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, tp := range sortedKeysOf(owned) {
		topic, p := topicPartition(tp)
		topics = append(topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: topicID(topic), Partitions: []int32{p}})
	}
	return topics
}

// joinClassic: an eager member, which gives everything up first.
func (m *consumerModel) joinClassic(c *consumerClient) {
	c.owned, c.busy = map[string]bool{}, true
	said := c.topics
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = 9, "g", c.id, c.instance, protocolTypeConsumer
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = modelSessionMs, modelRebalanceMs
	req.Protocols = protocols("range", subscription(c.topics...))
	if g, ok := m.g.groups["g"].(*classicGroup); ok && c.id == "" && c.instance != nil && g.static[*c.instance] != "" && g.state == stateStable {
		c.unread = g.generation
	}
	m.send1(c, req, func(r kmsg.Response) {
		resp := r.(*kmsg.JoinGroupResponse)
		if c.busy = false; m.classicError(c, kafka.Code(resp.ErrorCode), resp.MemberID) {
			return
		}
		c.id, c.epoch, c.watched = resp.MemberID, resp.Generation, nil
		if resp.LeaderID == c.id {
			c.watched = m.read(resp.Members)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Version, sync.Group, sync.MemberID, sync.InstanceID, sync.Generation = 5, "g", c.id, c.instance, c.epoch
		sync.ProtocolType, sync.Protocol = resp.ProtocolType, resp.Protocol
		if resp.LeaderID == c.id && !resp.SkipAssignment {
			sync.GroupAssignment = m.assignClassic(resp.Members)
		}
		c.busy = true
		m.send1(c, sync, func(r kmsg.Response) {
			resp := r.(*kmsg.SyncGroupResponse)
			if c.busy = false; m.classicError(c, kafka.Code(resp.ErrorCode), c.id) {
				return
			}
			assigned, _, err := parseAssignment(resp.MemberAssignment)
			if err != nil {
				m.t.Fatalf("assignment: %v", err)
			}
			c.owned = map[string]bool{}
			for _, t := range assigned {
				for _, p := range t.partitions {
					c.owned[fmt.Sprintf("%s-%d", t.topic, p)] = true
				}
			}
			c.joined, c.beatMs = slices.Equal(said, c.topics), m.nowMs+modelHeartbeatMs
		})
	})
}

// read are the topics that members read, as they are now.
func (m *consumerModel) read(members []kmsg.JoinGroupResponseMember) map[string]int32 {
	topics := map[string]int32{}
	for _, member := range members {
		_ = subscribedTopics(member.ProtocolMetadata, func(topic string) { topics[topic] = m.topics[topic] })
	}
	return topics
}

func (m *consumerModel) changed(watched map[string]int32) bool {
	for topic, partitions := range watched {
		if m.topics[topic] != partitions {
			return true
		}
	}
	return false
}

func (m *consumerModel) assignClassic(members []kmsg.JoinGroupResponseMember) (all []kmsg.SyncGroupRequestGroupAssignment) {
	assigned := map[string]*kmsg.ConsumerMemberAssignment{}
	readers := map[string][]string{}
	for _, member := range members {
		assigned[member.MemberID] = &kmsg.ConsumerMemberAssignment{}
		_ = subscribedTopics(member.ProtocolMetadata, func(topic string) { readers[topic] = append(readers[topic], member.MemberID) })
	}
	for _, topic := range sortedKeys(readers) {
		for p := range m.topics[topic] {
			a := assigned[readers[topic][int(p)%len(readers[topic])]]
			a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topic, Partitions: []int32{p}})
		}
	}
	for _, id := range sortedKeys(assigned) {
		all = append(all, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: merged(assigned[id]).AppendTo(nil)})
	}
	return all
}

// merged gives each topic one entry, as clients do.
func merged(a *kmsg.ConsumerMemberAssignment) *kmsg.ConsumerMemberAssignment {
	m := &kmsg.ConsumerMemberAssignment{}
	for _, t := range a.Topics {
		if n := len(m.Topics); n == 0 || m.Topics[n-1].Topic != t.Topic {
			m.Topics = append(m.Topics, t)
		} else {
			m.Topics[n-1].Partitions = append(m.Topics[n-1].Partitions, t.Partitions...)
		}
	}
	return m
}

func (m *consumerModel) beatClassic(c *consumerClient) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 4, "g", c.id, c.instance, c.epoch
	c.beatMs = m.nowMs + modelHeartbeatMs
	m.send1(c, req, func(r kmsg.Response) {
		m.classicError(c, kafka.Code(r.(*kmsg.HeartbeatResponse).ErrorCode), c.id)
	})
}

func (m *consumerModel) classicError(c *consumerClient, code kafka.Code, id string) bool {
	switch code {
	case kafka.None:
		return false
	case kafka.MemberIDRequired:
		c.id = id
	case kafka.UnknownMemberID, kafka.IllegalGeneration:
		c.id, c.owned = "", map[string]bool{}
	case kafka.RebalanceInProgress, kafka.NotCoordinator:
	case kafka.FencedInstanceID, kafka.GroupMaxSizeReached:
		c.alive = false
	default:
		m.t.Fatalf("%s got %s", c.name, code)
	}
	c.joined, c.beatMs = false, m.nowMs+100
	return true
}

// checkOwners: no partition is held by two members, nor used by two clients that are still members.
func (m *consumerModel) checkOwners() {
	g, ok := m.g.groups["g"].(*consumerGroup)
	if !ok {
		return
	}
	holder := map[kafka.TopicIDPartition]string{}
	for id, member := range g.members {
		for tp := range member.holds() {
			if other, twice := holder[tp]; twice {
				m.t.Fatalf("%v is held by %s and %s\n%s", tp, other, id, m.consumerState(g))
			}
			holder[tp] = id
		}
	}
	user := map[string]*consumerClient{}
	for _, c := range m.clients {
		member := g.members[c.id]
		if !c.alive || member == nil || c.epoch != member.epoch && c.epoch != member.previousEpoch {
			continue
		}
		for tp := range c.owned {
			if other := user[tp]; other != nil {
				m.t.Fatalf("%s is used by %s and %s\n%s", tp, other.name, c.name, m.consumerState(g))
			}
			user[tp] = c
		}
	}
}

func (m *consumerModel) commitOne(c *consumerClient) {
	if len(c.owned) == 0 || c.id == "" || c.epoch == 0 {
		return
	}
	tp := sortedKeysOf(c.owned)[m.random.IntN(len(c.owned))]
	topic, p := topicPartition(tp)
	m.next++
	offset := m.next
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 9, "g", c.id, c.instance, c.epoch
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: p, Offset: offset}}}}
	m.send1(c, req, func(r kmsg.Response) {
		code := kafka.Code(r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
		if code == kafka.None {
			m.offsets[tp] = offset
		}
		// One that holds a partition at the coordinator commits it, at whatever epoch it got it.
		if g, ok := m.g.groups["g"].(*consumerGroup); ok && !c.classic && code != kafka.None {
			member := g.members[c.id]
			if member == nil || c.epoch > member.epoch {
				return
			}
			since, has := member.assigned.epochOf(topicID(topic), kafka.PartitionID(p))
			if has && since <= c.epoch {
				m.t.Fatalf("%s has %s since %d and may not commit at %d: %s", c.name, tp, since, c.epoch, code)
			}
		}
	})
	m.checkCommitted()
}

func (m *consumerModel) checkCommitted() {
	have := map[string]int64{}
	if o := m.g.offsets["g"]; o != nil {
		for topic, partitions := range o.committed {
			for p, c := range partitions {
				have[fmt.Sprintf("%s-%d", topic, p)] = int64(c.offset)
			}
		}
	}
	if !maps.Equal(have, m.offsets) {
		m.t.Fatalf("offsets are %v, committed were %v", have, m.offsets)
	}
}

// nonsense is what must change nothing.
func (m *consumerModel) nonsense() {
	before := durable(m.g, m.g)
	nobody := &consumerClient{name: "x", alive: true}
	refused := func(req kmsg.Request) {
		m.send1(nobody, req, func(resp kmsg.Response) {
			if !strings.Contains(show(resp), "ErrorCode=") {
				m.t.Fatalf("%s was no error", show(resp))
			}
		})
	}
	for _, epoch := range []int32{1, 1 << 30, -1, -2, -7} {
		beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		beat.Version, beat.Group, beat.MemberID, beat.MemberEpoch = 1, "g", "nobody", epoch
		refused(beat)
		for _, c := range m.living() {
			if !c.classic && epoch == 1<<30 {
				wrong := *beat
				wrong.MemberID, wrong.InstanceID = c.id, c.instance
				refused(&wrong)
			}
		}
	}
	join := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	join.Version, join.Group, join.MemberID, join.RebalanceTimeoutMillis = 1, "g", "nobody", 1000
	join.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, regex := range []string{"(", "a)(b", "[z-a]", "x{1001}", `(?=a)`, strings.Repeat("a", 5000)} {
		join.SubscribedTopicRegex = &regex
		refused(join)
	}
	if after := durable(m.g, m.g); !maps.Equal(before, after) {
		m.t.Fatalf("requests of nobody changed something")
	}
}

// settle lets everyone come to rest, has one more thing change, and looks how
// long it takes.
func (m *consumerModel) settle() {
	m.calm = true
	m.pass(modelSettleMs)
	m.mustBeSettled("after all")
	living := m.living()
	if len(living) == 0 {
		return
	}
	c := living[m.random.IntN(len(living))]
	m.resubscribe(c)
	beats := int64(2)
	if _, ok := m.g.groups["g"].(*consumerGroup); !ok {
		beats = modelSettleMs / consumerBeatMs
	}
	m.pass(beats*consumerBeatMs + 500) // clients take a moment to do what they hear
	m.mustBeSettled("after a change")
}

func (m *consumerModel) mustBeSettled(when string) {
	g, consumer := m.g.groups["g"].(*consumerGroup)
	if old, ok := m.g.groups["g"].(*classicGroup); ok && slices.ContainsFunc(m.living(), func(c *consumerClient) bool { return c.unread == old.generation }) {
		return
	}
	wanted, used := map[string]bool{}, map[string]bool{}
	for _, c := range m.living() {
		if consumer {
			member := g.members[c.id]
			if member == nil || c.epoch != member.epoch {
				m.t.Fatalf("%s: %s at %d is not where it should be\n%s", when, c.id, c.epoch, m.consumerState(g))
			}
		}
		topics := slices.Clone(c.topics)
		if *c.regex != "" {
			for topic := range m.topics {
				if re, err := compileRegex(*c.regex, 4096); err == nil && re.MatchString(topic) {
					topics = append(topics, topic)
				}
			}
		}
		for _, topic := range topics {
			for p := range m.topics[topic] {
				wanted[fmt.Sprintf("%s-%d", topic, p)] = true
			}
		}
		maps.Copy(used, c.owned)
	}
	group := m.g.groups["g"]
	if group == nil && len(m.living()) == 0 {
		return
	}
	if state := group.stateName(); len(m.living()) != 0 && state != "Stable" || group.size() != len(m.living()) {
		m.t.Fatalf("%s: %s with %d clients\n%s", when, state, len(m.living()), m.state("g"))
	}
	if !maps.Equal(wanted, used) {
		m.t.Fatalf("%s: used are %v, not %v\n%s", when, sortedKeysOf(used), sortedKeysOf(wanted), m.state("g"))
	}
}
