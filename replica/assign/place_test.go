// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/replica"
)

// reports are what the controller would be told.
type reports struct {
	mu sync.Mutex
	at map[kafka.PartitionID]kafka.DirectoryID
}

func listen(x *Executor) *reports {
	r := &reports{at: make(map[kafka.PartitionID]kafka.DirectoryID)}
	x.o.Assigned = func(tp kafka.TopicIDPartition, dir kafka.DirectoryID) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.at[tp.Partition] = dir
	}
	return r
}

func (r *reports) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for _, p := range slices.Sorted(maps.Keys(r.at)) {
		name := string('A' + rune(r.at[p][0]) - 1)
		if r.at[p] == kafka.DirectoryLost {
			name = "lost"
		}
		parts = append(parts, fmt.Sprintf("%d:%s", p, name))
	}
	return strings.Join(parts, " ")
}

// at names the directory of a partition's log: A, B or C, - for none that works.
func (x *Executor) at(id kafka.TopicID, partition kafka.PartitionID) string {
	p := x.o.Table.Get(id, partition)
	if p == nil || p.Status().Role == replica.Offline {
		return "-"
	}
	return string('A' + rune(p.Home()))
}

// Where a replica goes, and what the controller is told (KIP-858). Directories
// are A and B; each case is one partition, 0, of a topic that leads here.
func TestPlacement(t *testing.T) {
	a, b, gone := kafka.DirectoryID{1}, kafka.DirectoryID{2}, kafka.DirectoryID{9}
	id, other := kafka.TopicID{1}, kafka.TopicID{2}
	name := kafka.TopicPartition{Topic: "a"}
	for _, tc := range []struct {
		name    string
		image   kafka.DirectoryID
		homes   []Home
		broken  string // directories that do not work
		settled bool   // after the start
		notISR  bool
		want    string
		told    string
	}{
		{name: "new: the emptiest", want: "A", told: "0:A"},
		{name: "new: the emptiest works", broken: "A", settled: true, want: "B", told: "0:B"},
		{name: "new: another log is in A", homes: []Home{{0, other}}, want: "B", told: "0:B"},
		{name: "the image's", image: b, want: "B"},
		{name: "the image's, which does not work", image: b, broken: "B", want: "-"},
		{name: "found where the image says", image: b, homes: []Home{{1, id}}, want: "B"},
		{name: "found, and never assigned", homes: []Home{{1, id}}, want: "B", told: "0:B"},
		{name: "found elsewhere", image: a, homes: []Home{{1, id}}, want: "B", told: "0:B"},
		{name: "found, by a folder without an id", homes: []Home{{1, kafka.TopicID{}}}, want: "B", told: "0:B"},
		{name: "found, lost before", image: kafka.DirectoryLost, homes: []Home{{1, id}}, want: "B", told: "0:B"},
		{name: "of another topic in A, ours in B", homes: []Home{{0, other}, {1, id}}, want: "B", told: "0:B"},
		{name: "in a directory that is not here, while one does not work", image: gone, broken: "B", want: "-"},
		{name: "lost, while one does not work", image: kafka.DirectoryLost, broken: "B", settled: true, want: "-"},
		{name: "in a directory that was replaced", image: gone, want: "A", told: "0:A"},
		{name: "never assigned, and maybe written, while one does not work", broken: "B", want: "-", told: "0:lost"},
		{name: "never assigned, and behind, while one does not work", broken: "B", notISR: true, want: "A", told: "0:A"},
		{name: "nothing works", broken: "AB", settled: true, want: "-"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dirs := []*dir{newDir(1), newDir(2)}
				for i, d := range dirs {
					if strings.Contains(tc.broken, string('A'+rune(i))) {
						d.fail = errors.New("gone")
					}
				}
				x := executor(t, map[kafka.TopicPartition][]Home{name: tc.homes}, dirs...)
				told := listen(x)
				x.homes.settled = tc.settled
				p := partition(id, 0, self, self, 7).(*metarec.Partition)
				p.Directories[0] = tc.image
				if tc.notISR {
					p.ISR = []kafka.NodeID{7}
					p.Leader = 7
				}
				x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: id}, p)
				x.Wait()
				if got := x.at(id, 0); got != tc.want {
					t.Errorf("it is in %s, want %s", got, tc.want)
				}
				if s := x.o.Table.Get(id, 0).Status(); tc.want == "-" && !errors.Is(s.Err, kafka.KafkaStorageError) {
					t.Errorf("the answer is %v", s.Err)
				}
				if got := told.String(); got != tc.told {
					t.Errorf("the controller is told %q, want %q", got, tc.told)
				}
			})
		})
	}
}

// A directory that fails takes its own partitions with it, and no others; they
// stay offline whatever the image says. New ones go elsewhere.
func TestDirectoryFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newDir(1), newDir(2)
		x := executor(t, nil, one, two)
		a := kafka.TopicID{1}
		records := []metarec.Record{&metarec.Topic{Name: "a", TopicID: a}}
		for i := range kafka.PartitionID(10) {
			records = append(records, partition(a, i, 1, 1))
		}
		img := x.apply(t, image.Empty(), records...)
		x.Wait()
		x.homes.settled = true
		count := map[string]int{}
		for i := range kafka.PartitionID(10) {
			count[x.at(a, i)]++
		}
		if count["A"] != 5 || count["B"] != 5 {
			t.Fatalf("partitions by directory: %v", count)
		}
		two.fail = errors.New("gone")
		x.FailDir(1, two.fail)
		again := []metarec.Record{}
		for i := range kafka.PartitionID(10) { // another epoch, for all
			again = append(again, &metarec.PartitionChange{TopicID: a, PartitionID: i, Leader: self, LeaderRecoveryState: -1})
		}
		again = append(again, partition(a, 10, 1, 1))
		x.apply(t, img, again...)
		x.Wait()
		for i := range kafka.PartitionID(11) {
			p := x.o.Table.Get(a, i)
			want := replica.Leader
			if p.Home() == 1 {
				want = replica.Offline
			}
			if p.Status().Role != want {
				t.Errorf("partition %d in directory %d has role %d", i, p.Home(), p.Status().Role)
			}
		}
		if x.at(a, 10) != "A" {
			t.Errorf("the new partition is in %s", x.at(a, 10))
		}
	})
}

// A topic that is deleted while its directory is offline, and created again,
// begins in another one.
func TestTopicOfAFailedDirectoryIsCreatedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newDir(1), newDir(2)
		x := executor(t, nil, one, two)
		a, b := kafka.TopicID{1}, kafka.TopicID{2}
		img := x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: a}, partition(a, 0, 1, 1))
		x.Wait()
		x.homes.settled = true
		one.fail = errors.New("gone")
		x.FailDir(0, one.fail)
		x.apply(t, img, &metarec.RemoveTopic{TopicID: a}, &metarec.Topic{Name: "a", TopicID: b}, partition(b, 0, 1, 1))
		x.Wait()
		if x.at(b, 0) != "B" || x.o.Table.Get(a, 0) != nil {
			t.Errorf("it is in %s", x.at(b, 0))
		}
		if s := strings.Join(one.did, ","); strings.Contains(s, "delete") {
			t.Errorf("a failed directory was written: %s", s)
		}
	})
}

// A log of another topic that lies under a name is set aside where it is; the
// topic that has the name now is found where it is.
func TestStraysInTwoDirectories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, other := kafka.TopicID{1}, kafka.TopicID{2}
		tp := kafka.TopicPartition{Topic: "a"}
		x := executor(t, map[kafka.TopicPartition][]Home{tp: {{0, other}, {1, id}}}, newDir(1), newDir(2))
		x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: id}, partition(id, 0, 1, 1))
		x.Wait()
		x.homes.aside(tp, 0)
		if got := fmt.Sprint(x.homes.placed); x.at(id, 0) != "B" || got != "[0 1]" || len(x.homes.found) != 0 {
			t.Errorf("it is in %s, logs by directory %s, left over %v", x.at(id, 0), got, x.homes.found)
		}
	})
}
