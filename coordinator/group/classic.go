// SPDX-License-Identifier: Apache-2.0

package group

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// classicState is where a classic group stands in its rebalance.
type classicState uint8

// Kafka's states, by Kafka's names. A group that is deleted is not kept as Dead:
// it is gone, and Dead is only what DescribeGroups calls an unknown group.
const (
	stateEmpty classicState = iota
	statePreparingRebalance
	stateCompletingRebalance
	stateStable
)

var classicStateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}

func (s classicState) String() string { return classicStateNames[s] }

// protocolTypeConsumer is the protocol type whose metadata the coordinator reads.
const protocolTypeConsumer = "consumer"

// classicGroup is a group of the classic protocol.
//
//	Empty ─► PreparingRebalance ─► CompletingRebalance ─► Stable
//	  ▲        │   ▲                 │      ▲               │
//	  └────────┘   └─────────────────┘      └─ a rebalance ─┘
//
// Preparing collects JoinGroups until all known members have sent one or the
// rebalance timeout is over; then the generation begins, its protocol is
// chosen and each waiting member gets its answer, the leader's with all
// metadata. Completing waits for the leader's SyncGroup, which carries the
// assignment and makes the group Stable.
//
// Invariant: awaitingJoin is the number of members that wait in a JoinGroup.
// Invariant: supported counts, for each protocol, the members that know it.
type classicGroup struct {
	id                string
	state, previous   classicState
	stateSinceMs      int64 // -1: not known
	protocolType      string
	protocol          *string
	generation        int32
	leader            *string
	members           []*classicMember // in the order in which they came
	byID              map[string]*classicMember
	static            map[string]string // instance id to member id
	supported         map[string]int
	pendingJoin       map[string]*pendingMember
	pendingSync       map[string]struct{}
	awaitingJoin      int
	newMemberAdded    bool
	initial           *initialRebalance // while the initial delay runs
	subscribed        map[string]struct{}
	subscriptionKnown bool
	leaderless        bool // its last record names no leader
	joinTimer         timer
	syncTimer         timer
	syncGeneration    int32
}

// initialRebalance is the delay in which an empty group waits for more members.
// A member that comes within it prolongs it, up to the rebalance timeout.
type initialRebalance struct{ delayMs, remainingMs int32 }

// classicMember is a member of a classic group.
type classicMember struct {
	group              *classicGroup
	id                 string
	instance           *string
	clientID           string
	clientHost         string
	rebalanceTimeoutMs int32
	sessionTimeoutMs   int32
	protocolType       string
	protocols          []kmsg.JoinGroupRequestProtocol
	assignment         []byte
	// isNew holds until the first rebalance that the member is part of is over: until then its session
	// is NewMemberJoinTimeoutMs, and waiting in a JoinGroup does not keep it alive.
	isNew   bool
	join    waiting
	sync    waiting
	session timer
}

// waiting is a request whose reply is yet to come.
type waiting struct {
	to      Token
	version int16
	on      bool
}

// pendingMember was given a member id (MEMBER_ID_REQUIRED) and has not come back with it.
type pendingMember struct {
	group *classicGroup
	id    string
	timer timer
}

func newClassicGroup(id string, nowMs int64) *classicGroup {
	return &classicGroup{
		id: id, stateSinceMs: nowMs,
		byID: map[string]*classicMember{}, static: map[string]string{}, supported: map[string]int{},
		pendingJoin: map[string]*pendingMember{}, pendingSync: map[string]struct{}{},
	}
}

func (c *classicGroup) kind() Kind               { return Classic }
func (c *classicGroup) stateName() string        { return c.state.String() }
func (c *classicGroup) protocolTypeName() string { return c.protocolType }
func (c *classicGroup) empty() bool              { return c.state == stateEmpty }

func (c *classicGroup) transition(to classicState, nowMs int64) {
	c.previous, c.state, c.stateSinceMs = c.state, to, nowMs
}

func (c *classicGroup) canRebalance() bool { return c.state != statePreparingRebalance }

func (c *classicGroup) isLeader(memberID string) bool {
	return c.leader != nil && *c.leader == memberID
}

func (c *classicGroup) leaderName() string { return deref(c.leader) }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (c *classicGroup) usesConsumerProtocol() bool { return c.protocolType == protocolTypeConsumer }

// supports says whether a member with these protocols could join: an empty
// group takes any, another one needs a protocol that all its members know.
func (c *classicGroup) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if c.state == stateEmpty {
		return protocolType != "" && len(protocols) != 0
	}
	return c.protocolType == protocolType && slices.ContainsFunc(protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		return c.supported[p.Name] == len(c.members)
	})
}

// add takes a member in; it may be waiting in its JoinGroup.
func (c *classicGroup) add(m *classicMember) {
	m.group = c
	if m.instance != nil {
		c.static[*m.instance] = m.id
	}
	if len(c.members) == 0 {
		c.protocolType = m.protocolType
	}
	if c.leader == nil {
		c.leader = &m.id
	}
	c.members = append(c.members, m)
	c.byID[m.id] = m
	c.count(m.protocols, 1)
	if m.join.on {
		c.awaitingJoin++
	}
}

func (c *classicGroup) count(protocols []kmsg.JoinGroupRequestProtocol, by int) {
	for _, p := range protocols {
		if c.supported[p.Name] += by; c.supported[p.Name] == 0 {
			delete(c.supported, p.Name)
		}
	}
}

// remove takes a member or a pending one out and stops its timer. Kafka leaves
// a SyncGroup of such a member without an answer; here it gets one.
func (c *classicGroup) remove(g *Groups, id string, out *Out) {
	if m := c.byID[id]; m != nil {
		c.answerSync(m, syncError(m.sync.version, kafka.UnknownMemberID), out)
		c.drop(g, m)
		if c.isLeader(id) {
			c.leader = nil
			if len(c.members) != 0 {
				c.leader = &c.members[0].id
			}
		}
	}
	c.removePending(g, id)
	delete(c.pendingSync, id)
}

// drop undoes add, but for the leader.
func (c *classicGroup) drop(g *Groups, m *classicMember) {
	g.timers.cancel(&m.session)
	delete(c.byID, m.id)
	c.members = slices.DeleteFunc(c.members, func(other *classicMember) bool { return other == m })
	c.count(m.protocols, -1)
	if m.join.on {
		c.awaitingJoin--
	}
	if m.instance != nil && c.static[*m.instance] == m.id {
		delete(c.static, *m.instance)
	}
}

func (c *classicGroup) removePending(g *Groups, id string) {
	if p := c.pendingJoin[id]; p != nil {
		g.timers.cancel(&p.timer)
		delete(c.pendingJoin, id)
	}
}

// update takes over what a known member says in a JoinGroup, and lets it wait there.
func (c *classicGroup) update(m *classicMember, req *kmsg.JoinGroupRequest, to Token, out *Out) {
	c.count(m.protocols, -1)
	m.protocols = keptProtocols(req.Protocols)
	c.count(m.protocols, 1)
	m.rebalanceTimeoutMs, m.sessionTimeoutMs = rebalanceTimeoutOf(req), req.SessionTimeoutMillis
	c.awaitJoin(m, waiting{to: to, version: req.Version, on: true}, out)
}

// awaitJoin lets a member wait. A request that it waited in before is
// superseded, and must not stay without an answer.
func (c *classicGroup) awaitJoin(m *classicMember, w waiting, out *Out) {
	if m.join.on {
		out.reply(m.join.to, joinError(m.join.version, m.id, kafka.RebalanceInProgress))
	} else {
		c.awaitingJoin++
	}
	m.join = w
}

func (c *classicGroup) answerJoin(m *classicMember, resp *kmsg.JoinGroupResponse, out *Out) bool {
	if !m.join.on {
		return false
	}
	out.reply(m.join.to, resp)
	m.join = waiting{}
	c.awaitingJoin--
	return true
}

func (c *classicGroup) answerSync(m *classicMember, resp *kmsg.SyncGroupResponse, out *Out) bool {
	if !m.sync.on {
		return false
	}
	out.reply(m.sync.to, resp)
	m.sync = waiting{}
	return true
}

func (c *classicGroup) allJoined() bool {
	return len(c.members) == c.awaitingJoin && len(c.pendingJoin) == 0
}

// rebalanceTimeoutMs is the longest of all members'.
func (c *classicGroup) rebalanceTimeoutMs() int32 {
	var longest int32
	for _, m := range c.members {
		longest = max(longest, m.rebalanceTimeoutMs)
	}
	return longest
}

// selectProtocol takes the vote among the protocols that all members know. Of
// two with as many votes it takes that which the member that came first puts
// first; Kafka leaves this to a hash map.
func (c *classicGroup) selectProtocol() string {
	votes := map[string]int{}
	for _, m := range c.members {
		for _, p := range m.protocols {
			if c.supported[p.Name] == len(c.members) {
				votes[p.Name]++
				break
			}
		}
	}
	best := ""
	for _, p := range c.members[0].protocols {
		if votes[p.Name] > votes[best] {
			best = p.Name
		}
	}
	return best
}

// metadataOf is what a member said under the group's protocol.
func (m *classicMember) metadataOf(protocol *string) []byte {
	for _, p := range m.protocols {
		if protocol != nil && p.Name == *protocol {
			return p.Metadata
		}
	}
	return nil
}

// matches says whether a member's protocols are still the same, in the same order.
func (m *classicMember) matches(protocols []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b kmsg.JoinGroupRequestProtocol) bool {
		return a.Name == b.Name && slices.Equal(a.Metadata, b.Metadata)
	})
}

// readSubscriptions finds out what the group's members read. It stays unknown
// if one of them said something that is no subscription.
func (c *classicGroup) readSubscriptions() {
	c.subscribed, c.subscriptionKnown = nil, false
	if !c.usesConsumerProtocol() || len(c.members) != 0 && c.protocol == nil {
		return
	}
	topics := map[string]struct{}{}
	for _, m := range c.members {
		err := subscribedTopics(m.metadataOf(c.protocol), func(topic string) { topics[topic] = struct{}{} })
		if err != nil {
			return
		}
	}
	c.subscribed, c.subscriptionKnown = topics, true
}

// subscribes says whether the group reads a topic. Of members whose metadata
// nobody can read it is assumed that they do.
func (c *classicGroup) subscribes(topic string) bool {
	if !c.subscriptionKnown {
		return c.usesConsumerProtocol()
	}
	_, ok := c.subscribed[topic]
	return ok
}

// validateMember judges a request of a member by its ids.
func (c *classicGroup) validateMember(memberID string, instance *string) kafka.Code {
	if instance != nil {
		current, ok := c.static[*instance]
		if !ok {
			return kafka.UnknownMemberID
		}
		if current != memberID {
			return kafka.FencedInstanceID
		}
	}
	if c.byID[memberID] == nil {
		return kafka.UnknownMemberID
	}
	return kafka.None
}

func (c *classicGroup) abandon(g *Groups, code kafka.Code, out *Out) {
	for _, m := range c.members {
		g.timers.cancel(&m.session)
		c.answerJoin(m, joinError(m.join.version, m.id, code), out)
		c.answerSync(m, syncError(m.sync.version, code), out)
	}
	for _, p := range c.pendingJoin {
		g.timers.cancel(&p.timer)
	}
	clear(c.pendingJoin)
	g.timers.cancel(&c.joinTimer)
	g.timers.cancel(&c.syncTimer)
}

// keepAlive starts a member's session anew.
func (g *Groups) keepAlive(m *classicMember, nowMs int64) {
	g.timers.set(&m.session, m, nowMs+int64(m.sessionTimeoutMs))
	g.timers.look(nowMs + nearMs)
}

// memberID makes one up, as Kafka does: the client's or the instance's name and a random UUID.
func (g *Groups) memberID(clientID string, instance *string) string {
	u := g.options.RandomUUID()
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	if instance != nil {
		clientID = *instance
	}
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", clientID, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
