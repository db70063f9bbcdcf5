// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
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
