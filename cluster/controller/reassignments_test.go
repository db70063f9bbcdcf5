// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// Only what is under way is listed; what is asked for and does not exist is no
// error.
func TestListPartitionReassignments(t *testing.T) {
	w := cluster(t, "1 2 3")
	w.run(`CreateTopics v7 {"Topics":[{"Topic":"a","NumPartitions":3,"ReplicationFactor":1},{"Topic":"b","NumPartitions":1,"ReplicationFactor":1}]}`)
	list := func(topics string) string {
		req := w.handle(w.request("ListPartitionReassignments v0 " + topics))
		var out []string
		for _, rt := range req.Response.(*kmsg.ListPartitionReassignmentsResponse).Topics {
			for _, p := range rt.Partitions {
				out = append(out, fmt.Sprintf("%s-%d %v+%v-%v", rt.Topic, p.Partition, p.Replicas, p.AddingReplicas, p.RemovingReplicas))
			}
		}
		return strings.Join(out, " ")
	}
	if got := list(`{"Topics":null}`); got != "" {
		t.Errorf("nothing is under way, but %s", got)
	}
	change := metarec.NewPartitionChange()
	change.TopicID, change.PartitionID = w.img.Topic("a").ID, 1
	change.Replicas, change.AddingReplicas = []kafka.NodeID{1, 2, 3}, []kafka.NodeID{2, 3}
	change.RemovingReplicas = []kafka.NodeID{1}
	w.commit(Outcome{Records: []metarec.Record{change}})
	const moving = "a-1 [1 2 3]+[2 3]-[1]"
	for topics, want := range map[string]string{
		`{"Topics":null}`: moving,
		`{"Topics":[]}`:   "",
		`{"Topics":[{"Topic":"a","Partitions":[0,1,9,-1]},{"Topic":"b","Partitions":[0]},{"Topic":"nope","Partitions":[0]}]}`: moving,
		`{"Topics":[{"Topic":"a","Partitions":[]}]}`: "",
	} {
		if got := list(topics); got != want {
			t.Errorf("%s: %q, want %q", topics, got, want)
		}
	}
}

// Reassignments that began elsewhere can be given up, and nothing else: whoever
// is added may not come.
func TestCancelReassignments(t *testing.T) {
	for _, c := range []struct {
		name                       string
		replicas, isr, add, remove []kafka.NodeID
		unclean                    bool
		ask                        string
		want                       string // the error, or the partition after it
	}{
		{"back", ids(1, 2), ids(1), ids(2), ids(1), false, "null", "[1] isr [1]"},
		{"the new one is in sync", ids(1, 2, 3), ids(1, 2), ids(2), ids(3), false, "null", "[1 3] isr [1]"},
		{"only the new one is in sync", ids(1, 2), ids(2), ids(2), ids(1), false, "null",
			"Unable to revert partition assignment for a:0 because it would require an unclean leader election."},
		{"only the new one is in sync, unclean", ids(1, 2), ids(2), ids(2), ids(1), true, "null", "[1] isr [1]"},
		{"all are new", ids(2), ids(2), ids(2), ids(1), true, "null", "Invalid replica assignment: addingReplicas contains all replicas."},
		{"once more", ids(1, 2), ids(1), ids(2), nil, false, "[1,2]", "need replicas to be copied"},
		{"forth", ids(1, 2), ids(1), ids(2), ids(1), false, "[2]", "need replicas to be copied"},
		{"as many as it will have", ids(1, 2), ids(1), ids(2), ids(1), false, "[1,2]", "The replication factor is changed from 1 to 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := cluster(t, "1 2 3")
			w.run(`CreateTopics v7 {"Topics":[{"Topic":"a","NumPartitions":1,"ReplicationFactor":1}]}`)
			if c.unclean {
				w.run(`IncrementalAlterConfigs v1 {"Resources":[{"ResourceType":"TOPIC","ResourceName":"a","Configs":[{"Name":"unclean.leader.election.enable","Value":"true"}]}]}`)
			}
			change := metarec.NewPartitionChange()
			change.TopicID, change.PartitionID = w.img.Topic("a").ID, 0
			change.Replicas, change.ISR, change.AddingReplicas, change.RemovingReplicas, change.Leader = c.replicas, c.isr, c.add, c.remove, c.isr[0]
			w.commit(Outcome{Records: []metarec.Record{change}})
			before := *w.img.Topic("a").Partition(0)
			out := w.handle(w.request(`AlterPartitionReassignments v1 {"AllowReplicationFactorChange":false,"Topics":[{"Topic":"a","Partitions":[{"Partition":0,"Replicas":` + c.ask + `}]}]}`))
			got := out.Response.(*kmsg.AlterPartitionAssignmentsResponse).Topics[0].Partitions[0]
			w.commit(out)
			p := w.img.Topic("a").Partition(0)
			if got.ErrorCode != 0 {
				if !strings.Contains(*got.ErrorMessage, c.want) || len(out.Records) != 0 || before.PartitionEpoch != p.PartitionEpoch {
					t.Errorf("%v %s, %d records", kafka.Code(got.ErrorCode), *got.ErrorMessage, len(out.Records))
				}
				return
			}
			if is := fmt.Sprintf("%v isr %v", p.Replicas, p.ISR); is != c.want || p.Reassigning() || p.Leader != 1 || len(p.Directories) != len(p.Replicas) {
				t.Errorf("%s, leader %d, adding %v, removing %v", is, p.Leader, p.AddingReplicas(), p.RemovingReplicas())
			}
		})
	}
}

func ids(of ...kafka.NodeID) []kafka.NodeID { return of }

// A request that would change more than a batch may hold does what fits, and
// says of what does not that it was not done.
func TestReassignmentsOfManyPartitions(t *testing.T) {
	w := cluster(t, "1 2")
	w.run(`CreateTopics v7 {"Topics":[{"Topic":"a","NumPartitions":4,"ReplicationFactor":2}]}`)
	w.env.Config.RecordsMax = 3
	out := w.handle(w.request(`AlterPartitionReassignments v1 {"Topics":[{"Topic":"a","Partitions":[{"Partition":0,"Replicas":[1]},{"Partition":1,"Replicas":[1]},
		{"Partition":2,"Replicas":[1]},{"Partition":3,"Replicas":[1]},{"Partition":0,"Replicas":[1]}]}]}`))
	w.commit(out)
	var codes []kafka.Code
	for _, p := range out.Response.(*kmsg.AlterPartitionAssignmentsResponse).Topics[0].Partitions {
		codes = append(codes, kafka.Code(p.ErrorCode))
	}
	if want := []kafka.Code{0, 0, 0, kafka.PolicyViolation, 0}; !slices.Equal(codes, want) || len(out.Records) != 3 || !out.Atomic {
		t.Errorf("%v, %d records", codes, len(out.Records))
	}
	for id, p := range w.img.Topic("a").Partitions() {
		if done := len(p.Replicas) == 1; done != (id < 3) {
			t.Errorf("partition %d has %v", id, p.Replicas)
		}
	}
}

// A partition that a request names twice is elected once.
func TestElectLeadersOnceAPartition(t *testing.T) {
	w := cluster(t, "1 2")
	w.run(`CreateTopics v7 {"Topics":[{"Topic":"a","NumPartitions":-1,"ReplicationFactor":-1,"ReplicaAssignment":[{"Partition":0,"Replicas":[1,2]}]}]}`)
	change := metarec.NewPartitionChange()
	change.TopicID, change.PartitionID, change.Leader = w.img.Topic("a").ID, 0, 2
	w.commit(Outcome{Records: []metarec.Record{change}})
	out := w.handle(w.request(`ElectLeaders v2 {"Topics":[{"Topic":"a","Partitions":[0,0]},{"Topic":"a","Partitions":[0]}]}`))
	if len(out.Records) != 1 {
		t.Errorf("%d records", len(out.Records))
	}
	for _, rt := range out.Response.(*kmsg.ElectLeadersResponse).Topics {
		for _, p := range rt.Partitions {
			if p.ErrorCode != 0 {
				t.Errorf("%v", kafka.Code(p.ErrorCode))
			}
		}
	}
}
