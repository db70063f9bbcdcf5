// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a quorum of several looks like: times are told by the leader's clock, and
// what it does not know is a dash.
func TestQuorumTable(t *testing.T) {
	q := &quorumItem{Leader: 2, LeaderEpoch: 7, HighWatermark: 90}
	state := func(node int32, end, fetch, caughtUp int64) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
		return kmsg.DescribeQuorumResponseTopicPartitionReplicaState{ReplicaID: node, LogEndOffset: end, LastFetchTimestamp: fetch, LastCaughtUpTimestamp: caughtUp}
	}
	q.add("voter", []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{state(1, 95, 99_500, 98_000), state(2, 100, 100_000, 100_000), state(3, -1, -1, -1)})
	q.add("observer", []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{state(9, 100, 100_100, 100_100)})
	q.lags()
	var b bytes.Buffer
	if err := printQuorum(&b, "table", q); err != nil {
		t.Fatal(err)
	}
	const want = `leader 2   epoch 7   high watermark 90

NODE   ROLE       DIRECTORY                LOG-END   LAG   LAST-FETCH   CAUGHT-UP   LISTENERS
1      voter      AAAAAAAAAAAAAAAAAAAAAA   95        5     500ms        2s
2      leader     AAAAAAAAAAAAAAAAAAAAAA   100       0     0s           0s
3      voter      AAAAAAAAAAAAAAAAAAAAAA   -         -     -            -
9      observer   AAAAAAAAAAAAAAAAAAAAAA   100       0     0s           0s
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// Partitions are counted for who leads and who holds them; what is not well is
// counted too.
func TestClusterCounts(t *testing.T) {
	rack := "east"
	item := &clusterItem{ID: "AAAAAAAAAAAAAAAAAAAAAA", Brokers: []brokerItem{{ID: 1, Host: "a", Port: 1}, {ID: 2, Host: "::1", Port: 2, Rack: &rack, Fenced: true}}}
	item.count(kadm.TopicDetails{
		"t": {Partitions: kadm.PartitionDetails{
			0: {Leader: 1, Replicas: []int32{1, 2}, ISR: []int32{1}},
			1: {Leader: -1, Replicas: []int32{2}, ISR: []int32{2}},
		}},
		"u": {Partitions: kadm.PartitionDetails{0: {Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}}},
	})
	var b bytes.Buffer
	if err := printCluster(&b, "table", item); err != nil {
		t.Fatal(err)
	}
	const want = `id AAAAAAAAAAAAAAAAAAAAAA   2 topics   3 partitions   1 without a leader   1 under-replicated

BROKER   ADDRESS   RACK   STATE    LEADS   REPLICAS
1        a:1       -      up       2       2
2        [::1]:2   east   fenced   0       2
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
