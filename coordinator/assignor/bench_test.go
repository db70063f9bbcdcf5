// SPDX-License-Identifier: Apache-2.0

package assignor

import (
	"fmt"
	"testing"

	"gregor/base/kafka"
)

// BenchmarkAssign is 1,000 members and 1,000 partitions of 10 topics: all anew,
// and one member more.
func BenchmarkAssign(b *testing.B) {
	for _, name := range Names() {
		for _, same := range []bool{true, false} {
			for _, anew := range []bool{true, false} {
				kind := map[bool]string{true: "homogeneous", false: "heterogeneous"}[same]
				b.Run(fmt.Sprintf("%s/%s/anew=%v", name, kind, anew), func(b *testing.B) {
					g := benchGroup(same)
					if assign := ByName(name); !anew {
						for i, a := range assign(Group{Members: g.Members[:999], Homogeneous: same, PartitionCount: g.PartitionCount}) {
							g.Members[i].Assigned = a
						}
					}
					for b.Loop() {
						ByName(name)(g)
					}
				})
			}
		}
	}
}

func benchGroup(same bool) Group {
	g := Group{Homogeneous: same, PartitionCount: func(kafka.TopicID) int32 { return 100 }}
	for i := range 1000 {
		m := Member{ID: fmt.Sprintf("member-%04d", i)}
		for t := range 10 {
			if same || (i+t)%3 != 0 {
				m.Topics = append(m.Topics, topicID(t+1))
			}
		}
		g.Members = append(g.Members, m)
	}
	return g
}
