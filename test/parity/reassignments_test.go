// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// reassignments asks for other replicas, which one broker cannot have, and what
// is under way.
func (l *list) reassignments() {
	type topic = kmsg.AlterPartitionAssignmentsRequestTopic
	type at = kmsg.AlterPartitionAssignmentsRequestTopicPartition
	alter := func(name string, topics ...topic) {
		l.t.Helper()
		for _, resize := range []bool{true, false} {
			l.each(keyAlterPartitionReassignments, fmt.Sprintf("AlterPartitionReassignments/%s, resize %t", name, resize), func(*site, int16) kmsg.Request {
				return &kmsg.AlterPartitionAssignmentsRequest{TimeoutMillis: aMinute, AllowReplicationFactorChange: resize, Topics: topics}
			})
		}
	}
	l.topic("stays", 3)
	for i, replicas := range [][]int32{
		nil, {}, {1}, {2}, {0}, {-1}, {math.MinInt32}, {math.MaxInt32}, {1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 1, 2}, {-1, 1}, {1, 2, 3}, {3, 2, 1}, slices.Repeat([]int32{1}, 1000), slices.Repeat([]int32{1, 2, -3}, 1000),
	} {
		for _, partition := range []int32{0, 3} {
			alter(fmt.Sprintf("%d of partition %d", i, partition), topic{Topic: "stays", Partitions: []at{{Partition: partition, Replicas: replicas}}})
		}
		alter(fmt.Sprintf("%d of an unknown topic", i), topic{Topic: "unknown", Partitions: []at{{Replicas: replicas}}})
	}
	here, nowhere := []int32{1}, []int32{7}
	alter("nothing")
	alter("no partitions", topic{Topic: "stays"}, topic{Topic: "unknown"}, topic{})
	alter("other partitions", topic{Topic: "stays", Partitions: []at{{Partition: -1, Replicas: here}, {Partition: math.MaxInt32, Replicas: here}, {Partition: math.MinInt32}}})
	alter("other topics", topic{Topic: "bad name", Partitions: []at{{Replicas: here}}}, topic{Partitions: []at{{Replicas: here}}}, topic{Topic: "..", Partitions: []at{{}}})
	alter("all kinds", topic{Topic: "stays", Partitions: []at{{Partition: 2, Replicas: here}, {Partition: 0}, {Partition: 1, Replicas: nowhere}, {Partition: 9, Replicas: here}}},
		topic{Topic: "unknown", Partitions: []at{{Replicas: here}, {}}}, topic{Topic: "admin", Partitions: []at{{Partition: 1, Replicas: here}}})
	alter("a partition twice", topic{Topic: "stays", Partitions: []at{{Replicas: here}, {Replicas: here}, {Replicas: nowhere}, {}, {Replicas: []int32{}}}})
	alter("a topic twice", topic{Topic: "stays", Partitions: []at{{Replicas: here}}}, topic{Topic: "stays", Partitions: []at{{Replicas: nowhere}}}, topic{Topic: "stays", Partitions: []at{{Replicas: here}}})
	alter("an internal topic", topic{Topic: "__cluster_metadata", Partitions: []at{{Replicas: here}}})
	many := topic{Topic: "stays"}
	for i := range int32(12_000) { // more than Kafka's controller takes changes
		many.Partitions = append(many.Partitions, at{Partition: i % 4, Replicas: here})
	}
	alter("many", many)

	type moving = kmsg.ListPartitionReassignmentsRequestTopic
	for i, topics := range [][]moving{nil, {}, {{Topic: "meta", Partitions: []int32{0}}}, {{Topic: "unknown", Partitions: []int32{0}}}, {{Topic: "stays", Partitions: []int32{0, 0, 1, 2, 9}}, {Topic: "stays"}}} {
		l.each(keyListPartitionReassignments, fmt.Sprintf("ListPartitionReassignments/%d", i), func(*site, int16) kmsg.Request {
			return &kmsg.ListPartitionReassignmentsRequest{TimeoutMillis: aMinute, Topics: topics}
		})
	}
	l.each(keyMetadata, "AlterPartitionReassignments/Metadata", func(*site, int16) kmsg.Request {
		return metadata(0, false, kmsg.StringPtr("stays"))
	})
}
