// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/groups"
)

// members are the consumers of a script, by client id.
type members map[string]*kgo.Client

type memberKey struct{}

// joinGroup is `member NAME KIND GROUP TOPIC [PARTITIONS]`: a consumer with
// this client id joins, and the script goes on when it has as many partitions.
// It commits nothing.
func joinGroup(ts *testscript.TestScript, _ bool, args []string) {
	name, kind, group, topic := args[0], args[1], args[2], args[3]
	wanted := 1
	if len(args) > 4 {
		var err error
		wanted, err = strconv.Atoi(args[4])
		ts.Check(err)
	}
	opts := []kgo.Opt{kgo.SeedBrokers(ts.Getenv("GREGOR_BOOTSTRAP_SERVER")), kgo.ClientID(name), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(), kgo.HeartbeatInterval(100 * time.Millisecond)}
	if kind == groups.Consumer {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	client, err := kgo.NewClient(opts...)
	ts.Check(err)
	all := ts.Value(memberKey{}).(members)
	all[name] = client
	ts.Defer(client.Close)
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	for {
		list, err := groups.Describe(ctx, client, group)
		ts.Check(err)
		has := 0
		if g := list[0]; g.Err == nil && g.State == groups.Stable {
			if at := slices.IndexFunc(g.Members, func(m groups.Member) bool { return m.ClientID == name }); at >= 0 {
				has = g.Members[at].Assigned.Count()
			}
		}
		if has == wanted {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("member %s has %d partitions, want %d", name, has, wanted)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// leaveGroup is `leave NAME`.
func leaveGroup(ts *testscript.TestScript, _ bool, args []string) {
	ts.Value(memberKey{}).(members)[args[0]].Close()
}

// commitOffset is `commit GROUP TOPIC PARTITION OFFSET [METADATA]`, as a client
// without members does.
func commitOffset(ts *testscript.TestScript, _ bool, args []string) {
	partition, err := strconv.ParseInt(args[2], 10, 32)
	ts.Check(err)
	at, err := strconv.ParseInt(args[3], 10, 64)
	ts.Check(err)
	o := kadm.Offset{Topic: args[1], Partition: int32(partition), At: at, LeaderEpoch: 0}
	if len(args) > 4 {
		o.Metadata = args[4]
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(ts.Getenv("GREGOR_BOOTSTRAP_SERVER")))
	ts.Check(err)
	defer client.Close()
	offsets := kadm.Offsets{}
	offsets.Add(o)
	ctx, cancel := context.WithTimeout(context.Background(), scriptTimeout)
	defer cancel()
	ts.Check(kadm.NewClient(client).CommitAllOffsets(ctx, args[0], offsets))
}
