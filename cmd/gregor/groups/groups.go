// SPDX-License-Identifier: Apache-2.0

// Package groups looks at consumer groups as an administrator does. It
// promises that groups of both protocols, and those that only hold offsets,
// come in one shape, sorted by name, and that a broker without the newer
// protocol is asked the older questions only.
package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kinds of groups, as brokers name them.
const (
	Classic  = "classic"
	Consumer = "consumer"
)

// consumerProtocol is the protocol type of consumers in classic groups.
const consumerProtocol = "consumer"

// States of groups, as brokers name them.
const (
	Empty       = "Empty"
	Dead        = "Dead"
	Stable      = "Stable"
	Preparing   = "PreparingRebalance"
	Completing  = "CompletingRebalance"
	Assigning   = "Assigning"
	Reconciling = "Reconciling"
)

// States lists them, in the order of a group's life.
var States = []string{Preparing, Completing, Assigning, Reconciling, Stable, Empty, Dead}

// Listed is one line of a list of groups.
type Listed struct {
	Name         string
	Kind         string // Classic or Consumer; "" where the broker does not tell
	State        string
	ProtocolType string // "consumer"; "" where only offsets were committed
	Coordinator  int32
}

// List asks all brokers for their groups, of some states and kinds or of all.
// Groups of other kinds than this package knows are left out.
func List(ctx context.Context, client *kgo.Client, states, kinds []string) ([]Listed, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter, req.TypesFilter = states, kinds
	var list []Listed
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, fmt.Errorf("list groups: %w", shard.Err)
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
			return nil, fmt.Errorf("list groups: %w", err)
		}
		for _, g := range resp.Groups {
			kind := strings.ToLower(g.GroupType)
			if kind == "" && resp.Version < 5 {
				kind = Classic
			}
			if kind != Classic && kind != Consumer {
				continue
			}
			list = append(list, Listed{g.Group, kind, g.GroupState, g.ProtocolType, shard.Meta.NodeID})
		}
	}
	slices.SortFunc(list, func(a, b Listed) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// Group is a group as its coordinator describes it.
type Group struct {
	Name         string
	Kind         string
	State        string
	ProtocolType string
	Assignor     string
	Epoch        int32 // of a consumer group; -1 otherwise
	TargetEpoch  int32 // of its assignment
	Coordinator  kadm.BrokerDetail
	Members      []Member
	// Err says why it is not described: kerr.GroupIDNotFound where there is no
	// such group.
	Err error
}

// Active reports whether it has members, so that its offsets are theirs.
func (g *Group) Active() bool { return len(g.Members) > 0 }

// Partitions are sets of partitions by topic, sorted.
type Partitions map[string][]int32

// Count is how many there are.
func (p Partitions) Count() (n int) {
	for _, list := range p {
		n += len(list)
	}
	return n
}

// Topics are the names, sorted.
func (p Partitions) Topics() []string { return slices.Sorted(maps.Keys(p)) }

// Member is one member of a group.
type Member struct {
	ID         string
	InstanceID string // of a static member
	Rack       string
	ClientID   string
	Host       string
	Kind       string // the protocol that the member itself speaks
	Epoch      int32  // of a member of a consumer group; -1 otherwise
	Topics     []string
	Regex      string
	Assigned   Partitions
	Target     Partitions // what it shall have; nil in classic groups
	// Foreign says that the assignment is not that of a consumer.
	Foreign bool
}

// Describe asks the coordinators. Each name has its group in the answer, by
// name; one that does not exist has its Err. A coordinator that is about to be
// there, as that of the first group of a cluster is, is waited for.
func Describe(ctx context.Context, client *kgo.Client, names ...string) ([]Group, error) {
	wait, cancel := context.WithTimeout(ctx, coordinatorWait)
	defer cancel()
	for {
		list, err := describe(ctx, client, names...)
		if !soon(err, list) {
			return list, err
		}
		select {
		case <-wait.Done():
			return list, err
		case <-time.After(coordinatorPause):
		}
	}
}

// ErrNoAnswer is of a group that no coordinator has told about.
var ErrNoAnswer = errors.New("its coordinator did not answer")

// How long a coordinator is waited for, and how often it is asked.
const (
	coordinatorWait  = 10 * time.Second
	coordinatorPause = 50 * time.Millisecond
)

// soon reports whether a coordinator is being chosen or loads its groups.
func soon(err error, list []Group) bool {
	passing := func(err error) bool {
		return errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress) || errors.Is(err, kerr.NotCoordinator)
	}
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) {
		return slices.ContainsFunc(shards.Errs, func(e kadm.ShardError) bool { return passing(e.Err) })
	}
	return passing(err) || slices.ContainsFunc(list, func(g Group) bool { return passing(g.Err) })
}

func describe(ctx context.Context, client *kgo.Client, names ...string) ([]Group, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) == 0 {
		return nil, nil
	}
	admin := kadm.NewClient(client)
	found := map[string]Group{}
	var classic []string
	described, err := admin.DescribeConsumerGroups(ctx, names...)
	switch {
	case unsupported(err):
		classic = names
	case err != nil:
		return nil, fmt.Errorf("describe groups: %w", err)
	}
	for _, g := range described {
		if errors.Is(g.Err, kerr.GroupIDNotFound) || unsupported(g.Err) {
			classic = append(classic, g.Group)
			continue
		}
		found[g.Group] = ofConsumer(&g)
	}
	if len(classic) > 0 {
		older, err := admin.DescribeGroups(ctx, classic...)
		if err != nil {
			return nil, fmt.Errorf("describe groups: %w", err)
		}
		for _, g := range older {
			found[g.Group] = ofClassic(&g)
		}
	}
	list := make([]Group, 0, len(names))
	for _, name := range names {
		g, ok := found[name]
		if !ok {
			g = Group{Name: name, Err: ErrNoAnswer}
		}
		list = append(list, g)
	}
	return list, nil
}

// unsupported finds the answers of brokers without the newer protocol.
func unsupported(err error) bool {
	if err == nil {
		return false
	}
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) {
		for _, e := range shards.Errs {
			if !unsupported(e.Err) {
				return false
			}
		}
		return len(shards.Errs) > 0
	}
	return errors.Is(err, kerr.UnsupportedVersion) || strings.Contains(err.Error(), "broker is too old") || strings.Contains(err.Error(), "request key is unknown")
}

func ofConsumer(d *kadm.DescribedConsumerGroup) Group {
	g := Group{Name: d.Group, Kind: Consumer, State: d.State, ProtocolType: consumerProtocol, Assignor: d.AssignorName, Epoch: d.Epoch,
		TargetEpoch: d.AssignmentEpoch, Coordinator: d.Coordinator, Err: d.Err}
	for _, m := range d.Members {
		kind := ""
		switch m.MemberType {
		case 0:
			kind = Classic
		case 1:
			kind = Consumer
		}
		topics := slices.Clone(m.SubscribedTopics)
		slices.Sort(topics)
		g.Members = append(g.Members, Member{ID: m.MemberID, InstanceID: text(m.InstanceID), Rack: text(m.RackID), ClientID: m.ClientID, Host: m.ClientHost, Kind: kind,
			Epoch: m.MemberEpoch, Topics: topics, Regex: text(m.SubscribedTopicRegex), Assigned: sets(m.Assignment), Target: sets(m.TargetAssignment)})
	}
	return g
}

func ofClassic(d *kadm.DescribedGroup) Group {
	g := Group{Name: d.Group, Kind: Classic, State: d.State, ProtocolType: d.ProtocolType, Assignor: d.Protocol, Epoch: -1, TargetEpoch: -1, Coordinator: d.Coordinator, Err: d.Err}
	if g.Err == nil && g.State == Dead {
		g.Err = kerr.GroupIDNotFound // how brokers said it before
	}
	for _, m := range d.Members {
		member := Member{ID: m.MemberID, InstanceID: text(m.InstanceID), ClientID: m.ClientID, Host: m.ClientHost, Kind: Classic, Epoch: -1, Assigned: Partitions{}}
		if join, ok := m.Join.AsConsumer(); ok {
			member.Topics = slices.Sorted(slices.Values(join.Topics))
		}
		assigned, ok := m.Assigned.AsConsumer()
		member.Foreign = !ok
		if ok {
			for _, t := range assigned.Topics {
				member.Assigned[t.Topic] = slices.Sorted(slices.Values(t.Partitions))
			}
		}
		g.Members = append(g.Members, member)
	}
	return g
}

func sets(s kadm.TopicsSet) Partitions {
	p := Partitions{}
	for topic, ids := range s {
		p[topic] = slices.Sorted(maps.Keys(ids))
	}
	return p
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
