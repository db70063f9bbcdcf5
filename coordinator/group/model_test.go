// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"gregor/base/kafka"
)

// modelSteps is how many steps all runs of the model make together.
func modelSteps(t *testing.T) int {
	text := os.Getenv("MODEL_STEPS")
	if text == "" {
		return 10_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("MODEL_STEPS: %v", err)
	}
	return n
}

// histories runs a model from many seeds.
func histories(t *testing.T, history func(t *rapid.T, seed uint64, steps int)) {
	const runs = 100 // of rapid
	steps := max(modelSteps(t)/runs, 1)
	rapid.Check(t, func(t *rapid.T) { history(t, rapid.Uint64().Draw(t, "seed"), steps) })
}

// TestModel: clients join, leave, crash, restart and change their minds, commit,
// and the coordinator moves. Whatever happens:
//
//	no partition has two owners within a generation
//	once nothing changes any more, all are soon stable and every partition has its owner
//	a committed offset is the one that was committed last
//	the log gives the same state again (held by world)
//	every request is answered, once
func TestModel(t *testing.T) {
	histories(t, func(t *rapid.T, seed uint64, steps int) {
		m := newModel(t, seed)
		for range steps {
			m.step()
		}
		m.settle()
	})
}

// Times of the clients, in milliseconds.
const (
	modelSessionMs   = 10_000
	modelRebalanceMs = 20_000
	modelHeartbeatMs = 3_000
	// modelSettleMs bounds the time to come to rest: an initial delay with its extensions, a session, a rebalance with
	// members that are gone, those that do not sync, and the rebalance after that.
	modelSettleMs = 180_000
	// modelSlowMs is the longest time for which a client sends heartbeats and does nothing else.
	modelSlowMs = 40_000
)

type model struct {
	*world
	random  *rand.Rand
	clients []*modelClient
	// owners are by group and generation, then by partition.
	owners map[string]map[string]*modelClient
	// offsets are what was committed, pending what a producer's transaction holds.
	offsets map[string]int64
	pending map[kafka.ProducerID]map[string]int64
	asked   map[Token]func(kmsg.Response)
	groups  []string
	next    int64 // offset to commit
}

// modelClient behaves as a consumer does.
type modelClient struct {
	group, name string
	instance    *string
	eager       bool
	topics      []string
	alive       bool
	memberID    string
	generation  int32
	stable      bool
	busy        bool // waits for a reply
	wantsJoin   bool
	owned       []string
	beatMs      int64
	slowMs      int64  // until when it is slow
	later       func() // what a slow client has yet to do: its SyncGroup
	sent        []string
	// life tells replies to a former self.
	life int
}

func newModel(t *rapid.T, seed uint64) *model {
	m := &model{
		random: rand.New(rand.NewPCG(seed, 1)), owners: map[string]map[string]*modelClient{}, offsets: map[string]int64{},
		pending: map[kafka.ProducerID]map[string]int64{}, asked: map[Token]func(kmsg.Response){}, groups: []string{"g", "h"},
	}
	m.world = newWorld(t, func(o *Options) { o.GroupMaxSize = 6 })
	m.topics["v"] = 4
	return m
}

func (m *model) chance(percent int) bool { return m.random.IntN(100) < percent }

func pick[T any](m *model, from []T) T { return from[m.random.IntN(len(from))] }

func (m *model) living() []*modelClient {
	return slices.DeleteFunc(slices.Clone(m.clients), func(c *modelClient) bool { return !c.alive })
}

// step is one change, or time that passes.
func (m *model) step() {
	living := m.living()
	switch n := m.random.IntN(100); {
	case n < 12 && len(living) < 8:
		m.start()
	case n < 55:
		m.pass(int64(m.random.IntN(4_000)))
	case n < 58:
		m.reloadAll()
	case n < 64:
		m.nonsense()
	case n < 67:
		m.endTransaction()
	case len(living) == 0:
	case n < 72:
		m.leave(pick(m, living))
	case n < 77:
		pick(m, living).alive = false // a crash
	case n < 80:
		m.restart(pick(m, living))
	case n < 82:
		pick(m, living).slowMs = m.nowMs + int64(m.random.IntN(modelSlowMs))
	case n < 88:
		c := pick(m, living)
		c.topics = m.someTopics()
		c.wantsJoin = true
	default:
		m.commit(pick(m, living))
	}
}

func (m *model) someTopics() []string {
	all := []string{"t", "u", "v"}
	m.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+m.random.IntN(3)]
}

func (m *model) start() {
	c := &modelClient{group: pick(m, m.groups), name: fmt.Sprintf("c%d", len(m.clients)), alive: true, wantsJoin: true, eager: m.chance(50), topics: m.someTopics()}
	if m.chance(30) {
		name := "i" + c.name
		c.instance = &name
	}
	m.clients = append(m.clients, c)
}

// restart gives a process a new life: a static member comes back under its
// name, a dynamic one as someone new.
func (m *model) restart(c *modelClient) {
	c.life++
	c.memberID, c.stable, c.busy, c.wantsJoin, c.owned, c.later = "", false, false, true, nil, nil
}

func (m *model) leave(c *modelClient) {
	c.alive = false
	if c.memberID == "" {
		return
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, c.group
	req.Members = []kmsg.LeaveGroupRequestMember{{MemberID: c.memberID, InstanceID: c.instance}}
	m.request(c, req, func(kmsg.Response) {})
}

// request sends one and has its reply handled whenever it comes, unless the
// client has begun another life.
func (m *model) request(c *modelClient, req kmsg.Request, handle func(kmsg.Response)) {
	life := c.life
	m.asked[m.token+1] = func(resp kmsg.Response) {
		if c.life == life {
			handle(resp)
		}
	}
	m.ask(func(to Token, out *Out) { m.send(Caller{ClientID: c.name, ClientHost: "/192.0.2.1"}, req, to, out) })
	m.handle()
}

// handle gives the clients the replies of the last event, and watches records.
func (m *model) handle() {
	for _, rec := range m.records {
		if rec.Value == nil && strings.HasPrefix(showRecord(m.t, rec), "GroupMetadata") {
			m.owners = map[string]map[string]*modelClient{} // generations begin anew
		}
	}
	m.records = nil
	replies := m.replies
	m.replies = nil
	for _, r := range replies {
		handle := m.asked[r.To]
		delete(m.asked, r.To)
		handle(r.Response)
	}
}

// pass lets time go by: timers, and clients that do what they have to.
func (m *model) pass(ms int64) {
	for end := m.nowMs + ms; m.nowMs < end; {
		m.until(min(end, m.nowMs+500), m.handle)
		m.checkPace()
		for _, c := range m.clients {
			if c.alive && !c.busy && m.chance(80) {
				m.act(c)
			}
		}
	}
}

// checkPace: however slow its members are, a rebalance takes no longer than
// their timeout. Only one in which nobody is left to lead waits on.
func (m *model) checkPace() {
	for _, id := range m.groups {
		c, ok := m.g.groups[id].(*classicGroup)
		if !ok || c.state == stateEmpty || c.state == stateStable || c.state == statePreparingRebalance && c.awaitingJoin == 0 {
			continue
		}
		if m.nowMs-c.stateSinceMs > 2*modelRebalanceMs {
			m.t.Fatalf("group %s is %s for %d ms", id, c.state, m.nowMs-c.stateSinceMs)
		}
	}
}

func (m *model) act(c *modelClient) {
	slow := m.nowMs < c.slowMs
	switch {
	case c.wantsJoin && !slow:
		m.join(c)
	case c.later != nil && !slow:
		later := c.later
		c.later = nil
		later()
	case (c.stable || slow && c.memberID != "") && c.beatMs <= m.nowMs:
		m.beat(c)
	}
}

func (m *model) join(c *modelClient) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.ProtocolType = 9, c.group, c.memberID, c.instance, protocolTypeConsumer
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = modelSessionMs, modelRebalanceMs
	c.busy, c.stable, c.wantsJoin, c.later = true, false, false, nil
	if c.instance == nil || c.memberID != "" || c.sent == nil {
		c.sent = c.topics
	} else if !slices.Equal(c.sent, c.topics) {
		// A static member that comes back is not rebalanced, whatever it reads now: it has to ask again as the member it is.
		c.wantsJoin = true
	}
	req.Protocols = protocols("range,cooperative-sticky", subscription(c.sent...))
	if c.eager {
		c.owned = nil
	}
	m.request(c, req, func(resp kmsg.Response) { m.joined(c, resp.(*kmsg.JoinGroupResponse)) })
}

func (m *model) joined(c *modelClient, resp *kmsg.JoinGroupResponse) {
	c.busy = false
	if !c.alive {
		return
	}
	if m.again(c, kafka.Code(resp.ErrorCode), resp.MemberID) {
		return
	}
	c.memberID, c.generation = resp.MemberID, resp.Generation
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 5, c.group, c.memberID, c.instance, c.generation
	req.ProtocolType, req.Protocol = resp.ProtocolType, resp.Protocol
	if resp.LeaderID == c.memberID && !resp.SkipAssignment {
		req.GroupAssignment = m.assign(resp.Members)
	}
	c.later = func() {
		c.busy = true
		m.request(c, req, func(resp kmsg.Response) { m.synced(c, resp.(*kmsg.SyncGroupResponse)) })
	}
	if m.nowMs >= c.slowMs {
		later := c.later
		c.later = nil
		later()
	}
}

// assign deals the partitions out to those who want them.
func (m *model) assign(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	wanted := map[string][]string{}
	for _, member := range members {
		err := subscribedTopics(member.ProtocolMetadata, func(topic string) { wanted[topic] = append(wanted[topic], member.MemberID) })
		if err != nil {
			m.t.Fatalf("metadata of %s: %v", member.MemberID, err)
		}
	}
	given := map[string][]string{}
	for _, topic := range sortedKeys(wanted) {
		for p := range m.topics[topic] {
			to := wanted[topic][int(p)%len(wanted[topic])]
			given[to] = append(given[to], fmt.Sprintf("%s-%d", topic, p))
		}
	}
	var all []kmsg.SyncGroupRequestGroupAssignment
	for _, id := range sortedKeys(given) {
		all = append(all, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(strings.Join(given[id], ","))})
	}
	return all
}

func (m *model) synced(c *modelClient, resp *kmsg.SyncGroupResponse) {
	c.busy = false
	if !c.alive || m.again(c, kafka.Code(resp.ErrorCode), c.memberID) {
		return
	}
	c.owned = nil
	if len(resp.MemberAssignment) != 0 {
		c.owned = strings.Split(string(resp.MemberAssignment), ",")
	}
	c.stable, c.beatMs = true, m.nowMs+modelHeartbeatMs
	generation := fmt.Sprintf("%s %d", c.group, c.generation)
	if m.owners[generation] == nil {
		m.owners[generation] = map[string]*modelClient{}
	}
	for _, tp := range c.owned {
		if other := m.owners[generation][tp]; other != nil && other != c {
			m.t.Fatalf("%s has two owners in generation %s: %s and %s", tp, generation, other.name, c.name)
		}
		m.owners[generation][tp] = c
	}
}

func (m *model) beat(c *modelClient) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 4, c.group, c.memberID, c.instance, c.generation
	c.beatMs = m.nowMs + modelHeartbeatMs
	m.request(c, req, func(resp kmsg.Response) { m.again(c, kafka.Code(resp.(*kmsg.HeartbeatResponse).ErrorCode), c.memberID) })
}

// again does what a client does about an error; false if there is none.
func (m *model) again(c *modelClient, code kafka.Code, memberID string) bool {
	switch code {
	case kafka.None:
		return false
	case kafka.MemberIDRequired:
		c.memberID = memberID
	case kafka.UnknownMemberID, kafka.FencedInstanceID, kafka.IllegalGeneration:
		c.memberID, c.owned = "", nil
	case kafka.RebalanceInProgress, kafka.NotCoordinator:
	case kafka.GroupMaxSizeReached:
		c.alive = false
	default:
		m.t.Fatalf("%s got %s", c.name, code)
	}
	c.wantsJoin, c.stable, c.later = true, false, nil
	return true
}

// commit commits one partition of a client, or of a producer's transaction.
func (m *model) commit(c *modelClient) {
	if len(c.owned) == 0 || c.memberID == "" {
		return
	}
	tp := pick(m, c.owned)
	topic, p := topicPartition(tp)
	m.next++
	offset, key := m.next, c.group+" "+tp
	if m.chance(30) {
		pid := kafka.ProducerID(m.random.IntN(3))
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation, req.ProducerID = 5, c.group, c.memberID, c.instance, c.generation, int64(pid)
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: p, Offset: offset}}}}
		m.request(c, req, func(resp kmsg.Response) {
			if resp.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode == 0 {
				if m.pending[pid] == nil {
					m.pending[pid] = map[string]int64{}
				}
				m.pending[pid][key] = offset
			}
		})
		m.checkOffsets()
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 9, c.group, c.memberID, c.instance, c.generation
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: p, Offset: offset}}}}
	m.request(c, req, func(resp kmsg.Response) {
		if resp.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode == 0 {
			m.offsets[key] = offset
		}
	})
	m.checkOffsets()
}

// endTransaction commits or aborts one. Offsets that were committed after it
// wrote its own are higher here, and stay.
func (m *model) endTransaction() {
	pid, commit := kafka.ProducerID(m.random.IntN(3)), m.chance(60)
	m.marker(pid, commit)
	if commit {
		for key, offset := range m.pending[pid] {
			m.offsets[key] = max(m.offsets[key], offset)
		}
	}
	delete(m.pending, pid)
	m.checkOffsets()
}

func (m *model) checkOffsets() {
	have := map[string]int64{}
	for id, o := range m.g.offsets {
		for topic, partitions := range o.committed {
			for p, c := range partitions {
				have[fmt.Sprintf("%s %s-%d", id, topic, p)] = int64(c.offset)
			}
		}
	}
	if !maps.Equal(have, m.offsets) {
		m.t.Fatalf("offsets are %v, committed were %v", have, m.offsets)
	}
}

func (m *model) reloadAll() {
	m.reload()
	m.handle()
	m.checkOffsets()
}

// nonsense is what must change nothing: requests of nobody, of another
// generation, without sense.
func (m *model) nonsense() {
	before := durable(m.g, m.g)
	nobody := &modelClient{name: "x"}
	group := pick(m, m.groups)
	generation := int32(m.random.IntN(5))
	beat := kmsg.NewPtrHeartbeatRequest()
	beat.Group, beat.MemberID, beat.Generation = group, "nobody", generation
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = group, "nobody", generation
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.MemberID, join.SessionTimeoutMillis, join.ProtocolType = 9, group, "nobody", modelSessionMs, protocolTypeConsumer
	join.Protocols = protocols("range", []byte{0, 1, 0xff})
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.Members = 5, group, []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Version, commit.Group, commit.MemberID, commit.Generation = 9, group, "nobody", generation
	commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 1 << 40}}}}
	for _, req := range []kmsg.Request{beat, sync, join, leave, commit} {
		m.request(nobody, req, func(resp kmsg.Response) {
			if strings.Contains(show(resp), "ErrorCode=") == false {
				m.t.Fatalf("%s was no error", show(resp))
			}
		})
	}
	if after := durable(m.g, m.g); !maps.Equal(before, after) {
		m.t.Fatalf("requests of nobody changed something")
	}
}

// settle lets everything come to rest, and looks whether it is at rest.
func (m *model) settle() {
	m.pass(modelSettleMs)
	if len(m.waiting) != 0 {
		m.t.Fatalf("%d requests wait for ever", len(m.waiting))
	}
	for _, id := range m.groups {
		var members []*modelClient
		for _, c := range m.clients {
			if c.alive && c.group == id {
				members = append(members, c)
			}
		}
		if len(members) != 0 {
			m.settled(id, members)
		}
	}
}

func (m *model) settled(id string, members []*modelClient) {
	c := m.g.groups[id].(*classicGroup)
	if c.state != stateStable || len(c.members) != len(members) {
		m.t.Fatalf("group %s is %s with %d members of %d", id, c.state, len(c.members), len(members))
	}
	wanted, owned := map[string]bool{}, map[string]bool{}
	for _, member := range members {
		if !member.stable || member.generation != c.generation {
			m.t.Fatalf("%s is at generation %d, stable %v; the group is at %d", member.name, member.generation, member.stable, c.generation)
		}
		for _, topic := range member.topics {
			for p := range m.topics[topic] {
				wanted[fmt.Sprintf("%s-%d", topic, p)] = true
			}
		}
		for _, tp := range member.owned {
			owned[tp] = true
		}
	}
	if !maps.Equal(wanted, owned) {
		m.t.Fatalf("group %s owns %v, not %v", id, sortedKeysOf(owned), sortedKeysOf(wanted))
	}
}

func sortedKeysOf(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }
