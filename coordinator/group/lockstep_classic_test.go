// SPDX-License-Identifier: Apache-2.0

//go:build parity

package group

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClassicLockstep: random requests of four members of a classic group, two
// of them static, that know few rules, at all versions, while time passes and the
// coordinator moves. Apache Kafka's coordinator gives the same records and the
// same answers at each step. A run ends where a hash table of Kafka's chooses
// another leader.
func TestClassicLockstep(t *testing.T) {
	k := startApacheCoordinator(t)
	steps := max(modelSteps(t)/50, 1)
	first, runs := lockstepSeeds()
	compared := 0
	for run := range runs {
		seed := first + uint64(run)
		if !t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { compared += classicLockstep(t, k, seed, steps) }) {
			return
		}
	}
	t.Logf("%d steps of %d were compared", compared, runs*steps)
}

func classicLockstep(t *testing.T, k *apacheCoordinator, seed uint64, steps int) (compared int) {
	d := &classicDriver{random: rand.New(rand.NewPCG(seed, 11)), asked: map[Token]func(kmsg.Response){}}
	delay := []int32{0, 3000}[d.random.IntN(2)]
	d.world = newWorld(t, func(o *Options) { o.GroupInitialRebalanceDelayMs = delay })
	k.begin(t, d.world, fmt.Sprint("group.initial.rebalance.delay.ms=", delay))
	b := &classicBeside{apacheCoordinator: k}
	d.beside = b
	for i, name := range []string{"a", "b", "c", "d"} {
		m := &classicClient{name: name}
		if i >= 2 {
			m.instance = kmsg.StringPtr("i-" + name)
		}
		d.clients = append(d.clients, m)
	}
	for compared < steps && !b.otherLeader {
		d.step()
		compared++
	}
	return compared
}

// classicBeside compares as long as both have named the same leader.
type classicBeside struct {
	*apacheCoordinator
	otherLeader bool
}

var leaderNamed = regexp.MustCompile(`^= (#\d+) JoinGroup\{.*LeaderID=("[^"]*")`)

func (b *classicBeside) compare() {
	b.t.Helper()
	named := map[string]string{}
	for _, list := range [][]outcomeAt{b.theirs, b.ours} {
		for _, o := range list {
			for _, line := range o.lines {
				if f := leaderNamed.FindStringSubmatch(line); f != nil {
					b.otherLeader = b.otherLeader || named[f[1]] != "" && named[f[1]] != f[2]
					named[f[1]] = f[2]
				}
			}
		}
	}
	if b.otherLeader {
		b.theirs, b.ours = nil, nil
		return
	}
	b.apacheCoordinator.compare()
}

// classicClient is one member, with what it has been told.
type classicClient struct {
	name       string
	instance   *string
	id         string
	generation int32
	joins      bool // it waits
	syncs      bool
}

type classicDriver struct {
	*world
	random  *rand.Rand
	clients []*classicClient
	asked   map[Token]func(kmsg.Response)
}

func (d *classicDriver) chance(percent int) bool { return d.random.IntN(100) < percent }

func (d *classicDriver) step() {
	m := d.clients[d.random.IntN(len(d.clients))]
	switch n := d.random.IntN(100); {
	case n < 12:
		d.pass(int64(d.random.IntN(2_500)))
	case n < 17:
		d.pass(int64(d.random.IntN(15_000)))
	case n < 18:
		d.pass(int64(d.random.IntN(200_000)))
	case n < 20:
		d.reload()
		d.heard()
	case n < 45:
		d.join(m)
	case n < 70:
		d.sync(m)
	case n < 82:
		d.beat(m)
	case n < 87:
		d.leave(m)
	case n < 96:
		d.commit(m)
	case n < 98:
		d.tell(m, &kmsg.OffsetFetchRequest{Version: 9, Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0, 1}}}}}}, nil)
	default:
		d.tell(m, &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{"g"}}, nil)
	}
}

func (d *classicDriver) heard() {
	for _, r := range d.replies {
		if handle := d.asked[r.To]; handle != nil {
			handle(r.Response)
			delete(d.asked, r.To)
		}
	}
}

func (d *classicDriver) pass(ms int64) { d.until(d.nowMs+ms, d.heard) }

// tell sends a request a moment after whatever was before: of two timers that are
// due at once each coordinator has its own order.
func (d *classicDriver) tell(m *classicClient, req kmsg.Request, handle func(kmsg.Response)) {
	d.pass(1)
	if handle != nil {
		d.asked[d.token+1] = handle
	}
	d.ask(func(to Token, out *Out) { d.send(Caller{ClientID: m.name, ClientHost: "/192.0.2.1"}, req, to, out) })
	d.heard()
}

// memberOr is the member's id, or sometimes another one.
func (d *classicDriver) memberOr(m *classicClient) string {
	switch {
	case d.chance(3):
		return "nobody"
	case d.chance(3):
		return d.clients[d.random.IntN(len(d.clients))].id
	}
	return m.id
}

func (d *classicDriver) generationOr(m *classicClient) int32 {
	if d.chance(5) {
		return m.generation + int32(d.random.IntN(4)) - 2
	}
	return m.generation
}

func (d *classicDriver) join(m *classicClient) {
	c, _ := d.g.groups["g"].(*classicGroup)
	if m.joins || m.syncs {
		return // Kafka never answers a request that another one of its member comes behind
	}
	version := 1 + int16(d.random.IntN(9)) // what version 0 leaves out is filled in before the coordinator is asked
	req := joinRequest(version, "g", m.id)
	if m.instance != nil {
		req.Version = max(version, 5)
		if req.InstanceID = m.instance; d.chance(25) {
			req.MemberID = "" // it has restarted
		}
		if id, in := "", false; c != nil && req.MemberID == "" {
			if id, in = c.static[*m.instance]; in {
				if _, pending := c.pendingSync[id]; pending && c.state == stateStable {
					return // Kafka goes on to wait for the former one
				}
			}
		}
	} else if d.chance(10) {
		req.MemberID = "" // one that nobody hears of again
	} else if d.chance(4) {
		req.MemberID = "nobody"
	}
	if req.Version >= 5 && d.chance(10) && !d.underAnotherName(c, req) {
		return
	}
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000+1000*int32(d.random.IntN(20)), 5000+1000*int32(d.random.IntN(20))
	lists := [][]string{{"range"}, {"range"}, {"range", "sticky"}, {"range", "sticky"}, {"sticky"}}
	req.Protocols = nil
	topic := []string{"t", "u"}[d.random.IntN(8)/7]
	for _, name := range lists[d.random.IntN(len(lists))] {
		req.Protocols = append(req.Protocols, protocols(name, subscription(topic))...)
	}
	if d.chance(2) {
		req.ProtocolType = "connect"
	}
	lost := m.instance == nil && req.MemberID == "" && m.id != ""
	m.joins = true
	d.tell(m, req, func(resp kmsg.Response) {
		r := resp.(*kmsg.JoinGroupResponse)
		m.joins = false
		if !lost && r.MemberID != "" && r.MemberID != "nobody" {
			m.id = r.MemberID
		}
		if r.ErrorCode == 0 && !lost {
			m.generation = r.Generation
		} else if r.ErrorCode == 25 {
			m.id = ""
		}
	})
}

// underAnotherName has a client take an instance id that may be another's; false
// where Kafka answers nobody, or throws.
func (d *classicDriver) underAnotherName(c *classicGroup, req *kmsg.JoinGroupRequest) bool {
	req.InstanceID = kmsg.StringPtr([]string{"i-c", "i-d", "i-x"}[d.random.IntN(3)])
	if c == nil {
		return true
	}
	if c.pendingJoin[req.MemberID] != nil {
		return false
	}
	old := c.byID[c.static[*req.InstanceID]]
	if req.MemberID != "" || old == nil {
		return true
	}
	_, pending := c.pendingSync[old.id]
	return !old.join.on && !old.sync.on && !(pending && c.state == stateStable)
}

func (d *classicDriver) sync(m *classicClient) {
	if m.syncs || m.joins || m.id == "" {
		return
	}
	req := syncRequest("g", d.memberOr(m), d.generationOr(m))
	req.Version = int16(d.random.IntN(6))
	if req.MemberID != m.id {
		for _, other := range d.clients { // whose request would be superseded
			if other.id == req.MemberID && other.syncs {
				return
			}
		}
	}
	if req.Version >= 5 {
		req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr([]string{"range", "sticky"}[d.random.IntN(8)/7])
	}
	if req.Version >= 3 && d.chance(90) {
		req.InstanceID = m.instance
	}
	for _, other := range d.clients {
		if other.id != "" && d.chance(90) {
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: other.id, MemberAssignment: []byte("for " + other.name)})
		}
	}
	waits := m
	for _, other := range d.clients {
		if other.id == req.MemberID {
			waits = other
		}
	}
	waits.syncs = true
	d.tell(m, req, func(kmsg.Response) { waits.syncs = false })
}

func (d *classicDriver) beat(m *classicClient) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation = int16(d.random.IntN(5)), "g", d.memberOr(m), d.generationOr(m)
	if req.Version >= 3 && d.chance(90) {
		req.InstanceID = m.instance
	}
	d.tell(m, req, nil)
}

func (d *classicDriver) leave(m *classicClient) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 3+int16(d.random.IntN(3)), "g"
	for _, who := range append([]*classicClient{m}, d.clients[d.random.IntN(len(d.clients))]) {
		if who.syncs {
			return // Kafka never answers what it waits in
		}
		id := d.memberOr(who)
		for _, other := range d.clients {
			if other.id == id && other.syncs {
				return
			}
		}
		one := kmsg.LeaveGroupRequestMember{MemberID: id, InstanceID: who.instance}
		if who.instance != nil && d.chance(30) {
			one.MemberID = ""
		}
		if req.Members = append(req.Members, one); d.chance(60) {
			break
		}
	}
	d.tell(m, req, nil)
}

func (d *classicDriver) commit(m *classicClient) {
	req := commitRequest(2+int16(d.random.IntN(8)), "g", d.memberOr(m), d.generationOr(m), int64(d.random.IntN(100)), "")
	if d.chance(10) {
		req.MemberID, req.Generation = "", -1
	} else if req.Version >= 7 && d.chance(90) {
		req.InstanceID = m.instance
	}
	if req.RetentionTimeMillis = -1; d.chance(10) && req.Version <= 4 {
		req.RetentionTimeMillis = int64(d.random.IntN(1_000_000))
	}
	d.tell(m, req, nil)
}
