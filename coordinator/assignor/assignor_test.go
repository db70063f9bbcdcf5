// SPDX-License-Identifier: Apache-2.0

package assignor

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
)

func topicID(n int) (id kafka.TopicID) {
	id[14], id[15] = byte(n>>8), byte(n)
	return id
}

func show(a Assignment) string {
	var all []string
	for _, t := range a {
		for _, p := range t.Partitions {
			all = append(all, fmt.Sprintf("%d-%d", int(t.ID[14])<<8|int(t.ID[15]), p))
		}
	}
	return fmt.Sprint(all)
}

func parse(t *testing.T, text string) Assignment {
	var a Assignment
	for _, word := range strings.Fields(strings.Trim(text, "[]")) {
		topic, partition, _ := strings.Cut(word, "-")
		n, err1 := strconv.Atoi(topic)
		p, err2 := strconv.Atoi(partition)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q", text)
		}
		if len(a) == 0 || a[len(a)-1].ID != topicID(n) {
			a = append(a, Topic{ID: topicID(n)})
		}
		a[len(a)-1].Partitions = append(a[len(a)-1].Partitions, kafka.PartitionID(p))
	}
	return a
}

// TestAsKafka: what Apache Kafka's assignors gave for members, topics and
// partitions in sorted order (testdata/Assign.java), these give.
func TestAsKafka(t *testing.T) {
	f, err := os.Open("testdata/kafka.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var g Group
	var assign Assignor
	var want []string
	counts := map[kafka.TopicID]int32{}
	groups := 0
	judge := func() {
		if len(g.Members) == 0 {
			return
		}
		groups++
		for i, a := range assign(g) {
			if got := show(a); got != want[i] {
				t.Fatalf("group %d: %s gets %s, Kafka gives %s\n%+v", groups, g.Members[i].ID, got, want[i], g)
			}
		}
	}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		words := strings.Fields(line)
		switch words[0] {
		case "group":
			judge()
			clear(counts)
			assign, want = ByName(words[1]), nil
			g = Group{Homogeneous: words[2] == "homogeneous", PartitionCount: func(id kafka.TopicID) int32 { return counts[id] }}
		case "topic":
			n, _ := strconv.Atoi(words[1])
			partitions, _ := strconv.Atoi(words[2])
			counts[topicID(n)] = int32(partitions)
		case "member":
			m := Member{ID: words[1]}
			if words[2] != "-" {
				m.InstanceID = &words[2]
			}
			for _, topic := range strings.Split(words[4], ",") {
				n, _ := strconv.Atoi(topic)
				m.Topics = append(m.Topics, topicID(n))
			}
			_, had, _ := strings.Cut(line, " had ")
			m.Assigned = parse(t, had)
			g.Members = append(g.Members, m)
		case "gets":
			_, got, _ := strings.Cut(line, words[1]+" ")
			want = append(want, got)
		}
	}
	judge()
	if groups < 500 {
		t.Errorf("only %d groups", groups)
	}
}

// twin is a group that changes.
type twin struct {
	t          *rapid.T
	partitions []int32
	members    []Member
	same       bool
}

func (w *twin) group() Group {
	return Group{Members: w.members, Homogeneous: w.same, PartitionCount: func(id kafka.TopicID) int32 { return w.partitions[id[15]-1] }}
}

func (w *twin) topics() []kafka.TopicID {
	var ids []kafka.TopicID
	for i := range w.partitions {
		if w.same || rapid.Bool().Draw(w.t, "reads") {
			ids = append(ids, topicID(i+1))
		}
	}
	return ids
}

// check holds what every assignor promises: each partition that someone reads
// has one owner, who reads it.
func (w *twin) check(result []Assignment) map[string]int {
	owner := map[string]int{}
	for i, a := range result {
		if !slices.IsSortedFunc(a, func(x, y Topic) int { return CompareTopics(x.ID, y.ID) }) {
			w.t.Fatalf("not in order: %v", a)
		}
		for _, topic := range a {
			if !slices.Contains(w.members[i].Topics, topic.ID) || !slices.IsSorted(topic.Partitions) || len(topic.Partitions) == 0 {
				w.t.Fatalf("member %d reads %v and gets %v", i, w.members[i].Topics, topic)
			}
			for _, p := range topic.Partitions {
				key := fmt.Sprint(topic.ID, p)
				if other, twice := owner[key]; twice {
					w.t.Fatalf("%s has two owners, %d and %d", key, other, i)
				}
				owner[key] = i
			}
		}
	}
	for i, partitions := range w.partitions {
		read := slices.ContainsFunc(w.members, func(m Member) bool { return slices.Contains(m.Topics, topicID(i+1)) })
		for p := range kafka.PartitionID(partitions) {
			if _, has := owner[fmt.Sprint(topicID(i+1), p)]; has != read {
				w.t.Fatalf("partition %d of topic %d: owned %v, read %v", p, i+1, has, read)
			}
		}
	}
	return owner
}

func size(a Assignment) (n int) {
	for _, t := range a {
		n += len(t.Partitions)
	}
	return n
}

// TestAssignors: completeness and one owner each, whatever the group was like
// before, even if a log shows two owners; and for uniform balance and stickiness.
func TestAssignors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &twin{t: t, same: rapid.Bool().Draw(t, "homogeneous")}
		for range rapid.IntRange(1, 5).Draw(t, "topics") {
			w.partitions = append(w.partitions, rapid.Int32Range(0, 12).Draw(t, "partitions"))
		}
		name := rapid.SampledFrom(Names()).Draw(t, "assignor")
		for range 6 {
			w.change()
			before := w.group()
			result := ByName(name)(before)
			w.check(result)
			if name == "uniform" && w.same {
				w.checkUniform(result)
			}
			for i := range w.members {
				w.members[i].Assigned = result[i]
			}
			if again := ByName(name)(w.group()); !slices.EqualFunc(result, again, Assignment.Equal) {
				t.Fatalf("nothing has changed, but the assignment: %v, %v", result, again)
			}
		}
	})
}

func (w *twin) change() {
	ids := rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 1, 7, rapid.ID).Draw(w.t, "members")
	slices.Sort(ids)
	had := map[string]Member{}
	for _, m := range w.members {
		had[m.ID] = m
	}
	w.members = nil
	for _, n := range ids {
		m := had[fmt.Sprint("m", n)]
		m.ID = fmt.Sprint("m", n)
		if m.Topics = w.topics(); n%3 == 0 {
			instance := fmt.Sprint("i", 9-n)
			m.InstanceID = &instance
		}
		if rapid.IntRange(0, 9).Draw(w.t, "mistake") == 0 {
			m.Assigned = Assignment{{ID: topicID(1), Partitions: []kafka.PartitionID{0, 1, 99}}, {ID: topicID(200), Partitions: []kafka.PartitionID{0}}}
		}
		w.members = append(w.members, m)
	}
}

// checkUniform: no two members are more than one apart, and nobody who had no
// more than the smallest share lost anything that nobody else had too.
func (w *twin) checkUniform(result []Assignment) {
	least, most := size(result[0]), size(result[0])
	had := map[string]int{}
	for i, a := range result {
		least, most = min(least, size(a)), max(most, size(a))
		for _, t := range w.members[i].Assigned {
			for _, p := range t.Partitions {
				had[fmt.Sprint(t.ID, p)]++
			}
		}
	}
	if most-least > 1 {
		w.t.Fatalf("from %d to %d", least, most)
	}
	for i, m := range w.members {
		if size(m.Assigned) > least {
			continue
		}
		for _, t := range m.Assigned {
			for _, p := range t.Partitions {
				exists := t.ID[15] <= byte(len(w.partitions)) && t.ID[14] == 0 && int32(p) < w.partitions[t.ID[15]-1]
				if exists && had[fmt.Sprint(t.ID, p)] == 1 && !slices.Contains(result[i].Partitions(t.ID), p) {
					w.t.Fatalf("%s lost %v-%d without need", m.ID, t.ID, p)
				}
			}
		}
	}
}

func TestNobodyAndNothing(t *testing.T) {
	for _, name := range Names() {
		if got := ByName(name)(Group{Homogeneous: true}); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
		g := Group{Members: []Member{{ID: "a"}}, Homogeneous: true, PartitionCount: func(kafka.TopicID) int32 { return 0 }}
		if got := ByName(name)(g); len(got) != 1 || len(got[0]) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if ByName("sticky") != nil {
		t.Error("there is no such assignor")
	}
}
