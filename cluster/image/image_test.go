// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// replay makes an image of records, failing the test if one does not fit.
func replay(t testing.TB, base *Image, recs ...metarec.Record) *Image {
	t.Helper()
	d := NewDelta(base)
	for _, r := range recs {
		if err := d.Replay(r); err != nil {
			t.Fatalf("%T: %v", r, err)
		}
	}
	return d.Apply(base.Offset()+kafka.Offset(len(recs)), 1)
}

// dump writes an image as its records, in the order of Records.
func dump(i *Image) string {
	var b strings.Builder
	for rec := range i.Records() {
		fmt.Fprintf(&b, "%x\n", metarec.Marshal(nil, rec, 33))
	}
	return b.String()
}

func topic(n byte, name string) *metarec.Topic {
	return &metarec.Topic{Name: name, TopicID: kafka.TopicID{n}}
}

func partition(n byte, id kafka.PartitionID, replicas ...kafka.NodeID) *metarec.Partition {
	return &metarec.Partition{
		TopicID: kafka.TopicID{n}, PartitionID: id, Replicas: replicas, ISR: replicas, Leader: replicas[0],
		Directories: make([]kafka.DirectoryID, len(replicas)),
	}
}

func changeOf(n byte, id kafka.PartitionID) *metarec.PartitionChange {
	c := metarec.NewPartitionChange()
	c.TopicID, c.PartitionID = kafka.TopicID{n}, id
	return c
}

func TestPartitionChange(t *testing.T) {
	img := replay(t, Empty(), topic(1, "a"), partition(1, 0, 1, 2, 3))
	isr := changeOf(1, 0)
	isr.ISR = []kafka.NodeID{1, 2}
	isr.ELR = []kafka.NodeID{3}
	lead := changeOf(1, 0)
	lead.Leader = 2
	none := changeOf(1, 0)
	none.Leader = kafka.NoNode
	again := replay(t, img, isr, lead, none)
	p := again.Topic("a").Partition(0)
	if p.Leader != kafka.NoNode || p.LeaderEpoch != 2 || p.PartitionEpoch != 3 || !slices.Equal(p.ISR, []kafka.NodeID{1, 2}) || !slices.Equal(p.ELR(), []kafka.NodeID{3}) {
		t.Errorf("after three changes: %+v", p)
	}
	if p := img.Topic("a").Partition(0); p.Leader != 1 || p.PartitionEpoch != 0 || len(p.ISR) != 3 {
		t.Errorf("the image before changed: %+v", p)
	}
	if cleared := replay(t, again, &metarec.ClearELR{TopicName: "a"}); len(cleared.Topic("a").Partition(0).ELR()) != 0 {
		t.Error("the ELR is still there")
	}
}

func TestDeltaTellsWhatChanged(t *testing.T) {
	value := "1"
	img := replay(t, Empty(),
		topic(1, "a"), partition(1, 0, 1), partition(1, 1, 1), topic(2, "b"), partition(2, 0, 1),
		&metarec.Config{ResourceType: 2, ResourceName: "b", Name: "k", Value: &value},
		&metarec.RegisterBroker{BrokerID: 1, BrokerEpoch: 5, Fenced: true})
	d := NewDelta(img)
	lead := changeOf(1, 1)
	lead.Leader = 1
	for _, r := range []metarec.Record{
		lead, &metarec.RemoveTopic{TopicID: kafka.TopicID{2}}, topic(3, "b"), partition(3, 0, 1), topic(4, "z"),
		&metarec.RemoveTopic{TopicID: kafka.TopicID{4}},
		&metarec.BrokerRegistrationChange{BrokerID: 1, BrokerEpoch: 5, Fenced: -1},
	} {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	next := d.Apply(20, 2)
	var got []string
	for c := range d.Topics() {
		line := fmt.Sprintf("%s %d %v>%v:", c.Name, c.ID[0], c.Before != nil, c.After != nil)
		for p := range c.Partitions() {
			line += fmt.Sprintf(" %d %v>%v", p.ID, p.Before != nil, p.After != nil)
		}
		got = append(got, line)
	}
	want := []string{"a 1 true>true: 1 true>true", "b 2 true>false: 0 true>false", "b 3 false>true: 0 false>true"}
	if !slices.Equal(got, want) {
		t.Errorf("topics:\n%q\nwant\n%q", got, want)
	}
	if res := slices.Collect(d.Configs()); !slices.Equal(res, []Resource{TopicResource("b")}) {
		t.Errorf("configs of %v", res)
	}
	if d.Changed() != KindTopics|KindConfigs|KindBrokers {
		t.Errorf("kinds %b", d.Changed())
	}
	if next.PartitionCount() != 3 || next.TopicCount() != 2 || next.Offset() != 20 || next.Epoch() != 2 || next.Configs(TopicResource("b")) != nil {
		t.Errorf("%d partitions of %d topics at %d", next.PartitionCount(), next.TopicCount(), next.Offset())
	}

	diff := Diff(img, next)
	var fromDiff []string
	for c := range diff.Topics() {
		fromDiff = append(fromDiff, fmt.Sprint(c.Name, c.ID[0], len(slices.Collect(c.Partitions()))))
	}
	if want := []string{"a1 1", "b2 1", "b3 1"}; !slices.Equal(fromDiff, want) {
		t.Errorf("the difference of the images: %q, want %q", fromDiff, want)
	}
}

// TestTransaction: records of a metadata transaction count when it ends, even if
// images are made in between, and never if it is aborted.
func TestTransaction(t *testing.T) {
	open := replay(t, Empty(), &metarec.BeginTransaction{}, topic(1, "a"))
	if !open.InTransaction() || open.Topic("a") != nil {
		t.Fatal("a topic of an open transaction counts")
	}
	more := replay(t, open, partition(1, 0, 1))
	if done := replay(t, more, &metarec.EndTransaction{}); done.InTransaction() || done.Topic("a").PartitionCount() != 1 {
		t.Error("the ended transaction is not there")
	}
	if gone := replay(t, more, &metarec.AbortTransaction{}); gone.InTransaction() || gone.Topic("a") != nil {
		t.Error("the aborted transaction is there")
	}
	if done := replay(t, open, &metarec.EndTransaction{}); done.Topic("a").PartitionCount() != 0 {
		t.Error("a record that another continuation added is there")
	}
}

func TestRecordsThatDoNotFit(t *testing.T) {
	img := replay(t, Empty(), topic(1, "a"), partition(1, 0, 1), &metarec.RegisterBroker{BrokerID: 1, BrokerEpoch: 5})
	for _, r := range []metarec.Record{
		topic(1, "b"), topic(2, "a"), partition(9, 0, 1), partition(1, -1, 1), changeOf(9, 0), changeOf(1, 7),
		&metarec.RemoveTopic{TopicID: kafka.TopicID{9}}, &metarec.ClearELR{TopicName: "nope"},
		&metarec.UnregisterBroker{BrokerID: 1, BrokerEpoch: 4}, &metarec.UnregisterBroker{BrokerID: 2},
		&metarec.BrokerRegistrationChange{BrokerID: 1, BrokerEpoch: 6}, &metarec.FenceBroker{BrokerID: 3},
		&metarec.EndTransaction{}, &metarec.AbortTransaction{},
		&metarec.Partition{TopicID: kafka.TopicID{1}, PartitionID: 1}, &metarec.PartitionChange{TopicID: kafka.TopicID{1}, Replicas: []kafka.NodeID{}},
	} {
		if err := NewDelta(img).Replay(r); !errors.Is(err, errInconsistent) {
			t.Errorf("%T %+v: %v", r, r, err)
		}
	}
}

// TestEveryKindIsKept: a checkpoint loses nothing, whichever feature it is of.
func TestEveryKindIsKept(t *testing.T) {
	value, user := "v", "u"
	elr := partition(1, 0, 1, 2)
	elr.ISR, elr.ELR, elr.LastKnownELR = []kafka.NodeID{}, []kafka.NodeID{2}, []kafka.NodeID{1}
	elr.RemovingReplicas, elr.AddingReplicas, elr.LeaderRecoveryState = []kafka.NodeID{1}, []kafka.NodeID{2}, 1
	img := replay(t, Empty(),
		&metarec.FeatureLevel{Name: FeatureMetadataVersion, Level: 33}, &metarec.FeatureLevel{Name: "group.version", Level: 1},
		&metarec.ZkMigration{State: 4},
		&metarec.RegisterBroker{BrokerID: 1, BrokerEpoch: 5, LogDirs: []kafka.DirectoryID{{9}}, CordonedLogDirs: []kafka.DirectoryID{}},
		&metarec.RegisterController{ControllerID: 7},
		topic(1, "a"), elr,
		&metarec.Config{ResourceType: 2, ResourceName: "a", Name: "k", Value: &value},
		&metarec.ClientQuota{Entity: []metarec.QuotaEntity{{Type: "user", Name: &user}, {Type: "client-id"}}, Key: "rate", Value: 1.5},
		&metarec.ProducerIDs{BrokerID: 1, BrokerEpoch: 5, NextProducerID: 1000},
		&metarec.AccessControlEntry{ID: kafka.UUID{3}, Principal: "User:x"},
		&metarec.UserScramCredential{Name: "u", Mechanism: 1, Salt: []byte{1}},
		&metarec.DelegationToken{TokenID: "t", Renewers: []string{"r"}},
	)
	if n := len(slices.Collect(img.Records())); n != 13 {
		t.Errorf("%d records, want 13", n)
	}
	again := replay(t, Empty(), slices.Collect(img.Records())...)
	if dump(again) != dump(img) {
		t.Errorf("got\n%swant\n%s", dump(again), dump(img))
	}
	if first := slices.Collect(img.Records())[0].(*metarec.FeatureLevel); first.Name != FeatureMetadataVersion {
		t.Errorf("%s comes first", first.Name)
	}
	gone := replay(t, again,
		&metarec.FeatureLevel{Name: "group.version"}, &metarec.UnregisterBroker{BrokerID: 1, BrokerEpoch: 5},
		&metarec.UnregisterController{ControllerID: 7}, &metarec.RemoveTopic{TopicID: kafka.TopicID{1}},
		&metarec.ClientQuota{Entity: []metarec.QuotaEntity{{Type: "client-id"}, {Type: "user", Name: &user}}, Key: "rate", Remove: true},
		&metarec.RemoveAccessControlEntry{ID: kafka.UUID{3}}, &metarec.RemoveUserScramCredential{Name: "u", Mechanism: 1},
		&metarec.RemoveDelegationToken{TokenID: "t"})
	if n := len(slices.Collect(gone.Records())); n != 3 { // metadata.version, migration state, producer ids
		t.Errorf("%d records are left:\n%s", n, dump(gone))
	}
}

// twin is an image in plain maps.
type twin struct {
	names   map[string]byte
	parts   map[byte]map[kafka.PartitionID]kafka.LeaderEpoch
	configs map[string]map[string]string
}

// TestImageTwin: random topics, partitions and configs agree with plain maps;
// images made before do not change; checkpoints give them again; the deltas'
// changes, applied to a copy, give the next image.
func TestImageTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tw := twin{map[string]byte{}, map[byte]map[kafka.PartitionID]kafka.LeaderEpoch{}, map[string]map[string]string{}}
		img, next := Empty(), byte(1)
		type past struct {
			img  *Image
			dump string
		}
		var pasts []past
		for range rapid.IntRange(1, 12).Draw(t, "deltas") {
			d := NewDelta(img)
			for range rapid.IntRange(1, 8).Draw(t, "records") {
				rec := tw.step(t, &next)
				if rec == nil {
					continue
				}
				if err := d.Replay(rec); err != nil {
					t.Fatalf("%+v: %v", rec, err)
				}
			}
			before := img
			img = d.Apply(before.Offset()+1, 1)
			pasts = append(pasts, past{img, dump(img)})
			checkChanges(t, before, img, d)
			checkChanges(t, before, img, Diff(before, img))
		}
		tw.check(t, img)
		for _, p := range pasts {
			if dump(p.img) != p.dump {
				t.Fatal("an image changed after it was made")
			}
		}
		d := NewDelta(Empty())
		for rec := range img.Records() {
			if err := d.Replay(rec); err != nil {
				t.Fatal(err)
			}
		}
		if dump(d.Apply(0, 0)) != dump(img) {
			t.Fatal("the checkpoint is of another image")
		}
	})
}

func (tw *twin) step(t *rapid.T, next *byte) metarec.Record {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "topic")
	n, there := tw.names[name]
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		if there {
			return nil
		}
		tw.names[name], tw.parts[*next] = *next, map[kafka.PartitionID]kafka.LeaderEpoch{}
		*next++
		return topic(tw.names[name], name)
	case 1:
		if !there {
			return nil
		}
		delete(tw.names, name)
		delete(tw.parts, n)
		delete(tw.configs, name)
		return &metarec.RemoveTopic{TopicID: kafka.TopicID{n}}
	case 2:
		value := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "value")
		rec := &metarec.Config{ResourceType: int8(ResourceTopic), ResourceName: name, Name: rapid.SampledFrom([]string{"k", "l"}).Draw(t, "key")}
		if value == "" {
			delete(tw.configs[name], rec.Name)
			return rec
		}
		if tw.configs[name] == nil {
			tw.configs[name] = map[string]string{}
		}
		rec.Value, tw.configs[name][rec.Name] = &value, value
		return rec
	default:
		if !there {
			return nil
		}
		id := rapid.SampledFrom([]kafka.PartitionID{0, 1, 2, 70, 5000}).Draw(t, "partition")
		if _, ok := tw.parts[n][id]; !ok {
			tw.parts[n][id] = 0
			return partition(n, id, 1, 2)
		}
		tw.parts[n][id]++
		c := changeOf(n, id)
		c.Leader = rapid.SampledFrom([]kafka.NodeID{1, 2, kafka.NoNode}).Draw(t, "leader")
		return c
	}
}

func (tw *twin) check(t *rapid.T, img *Image) {
	var names []string
	count := 0
	for top := range img.Topics() {
		names = append(names, top.Name)
		if img.TopicByID(top.ID) != top || img.Topic(top.Name) != top {
			t.Fatalf("topic %s is found as another", top.Name)
		}
		got := map[kafka.PartitionID]kafka.LeaderEpoch{}
		for id, p := range top.Partitions() {
			got[id] = p.LeaderEpoch
			count++
		}
		if !maps.Equal(got, tw.parts[tw.names[top.Name]]) {
			t.Fatalf("%s: %v, want %v", top.Name, got, tw.parts[tw.names[top.Name]])
		}
	}
	if want := slices.Sorted(maps.Keys(tw.names)); !slices.Equal(names, want) || count != img.PartitionCount() || len(names) != img.TopicCount() {
		t.Fatalf("%d partitions, topics %v, want %v", img.PartitionCount(), names, want)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if !maps.Equal(img.Configs(TopicResource(name)), tw.configs[name]) {
			t.Fatalf("configs of %s: %v, want %v", name, img.Configs(TopicResource(name)), tw.configs[name])
		}
	}
}

// checkChanges: exactly the partitions that differ are told.
func checkChanges(t *rapid.T, from, to *Image, d *Delta) {
	told := map[kafka.TopicIDPartition]bool{}
	for c := range d.Topics() {
		for p := range c.Partitions() {
			told[kafka.TopicIDPartition{TopicID: c.ID, Partition: p.ID}] = true
		}
	}
	for _, img := range []*Image{from, to} {
		for top := range img.Topics() {
			for id := range top.Partitions() {
				tp := kafka.TopicIDPartition{TopicID: top.ID, Partition: id}
				a, b := from.Partition(tp), to.Partition(tp)
				if changed := a == nil || b == nil || !a.equal(b); changed != told[tp] {
					t.Fatalf("%v: changed %v, told %v", tp, changed, told[tp])
				}
			}
		}
	}
}

// FuzzReplay: no records make a delta panic, whatever they claim; what is
// replayed has a checkpoint that replays to the same.
func FuzzReplay(f *testing.F) {
	value := "v"
	var seed []byte
	for _, rec := range []metarec.Record{
		topic(1, "a"), partition(1, 0, 1, 2), changeOf(1, 0), &metarec.RegisterBroker{BrokerID: 1}, &metarec.ClearELR{},
		&metarec.Config{ResourceType: 2, ResourceName: "a", Name: "k", Value: &value}, &metarec.BeginTransaction{}, &metarec.RemoveTopic{TopicID: kafka.TopicID{1}},
	} {
		b := metarec.Marshal(nil, rec, 33)
		seed = append(append(seed, byte(len(b))), b...)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDelta(Empty())
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			rec, err := metarec.Unmarshal(b[1 : 1+n])
			b = b[1+n:]
			if err == nil && d.Replay(rec) != nil {
				d = NewDelta(d.Apply(0, 0))
			}
		}
		img := d.Apply(0, 0)
		if got := replay(t, Empty(), slices.Collect(img.Records())...); dump(got) != dump(img) {
			t.Fatalf("%s\nand its checkpoint\n%s", dump(img), dump(got))
		}
	})
}

func BenchmarkMillionPartitions(b *testing.B) {
	load := func() *Image {
		d := NewDelta(Empty())
		for n := range 10_000 {
			id := kafka.TopicID{0, byte(n), byte(n >> 8)}
			_ = d.Replay(&metarec.Topic{Name: fmt.Sprintf("topic-%05d", n), TopicID: id})
			for p := range kafka.PartitionID(100) {
				_ = d.Replay(&metarec.Partition{
					TopicID: id, PartitionID: p, Replicas: []kafka.NodeID{1, 2, 3}, ISR: []kafka.NodeID{1, 2, 3}, Leader: 1,
					Directories: make([]kafka.DirectoryID, 3),
				})
			}
		}
		return d.Apply(1_010_000, 1)
	}
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			load()
		}
	})
	img := load()
	b.Run("one change", func(b *testing.B) {
		b.ReportAllocs()
		rec := metarec.NewPartitionChange()
		rec.TopicID, rec.PartitionID, rec.Leader = kafka.TopicID{0, 77, 3}, 50, 2
		for b.Loop() {
			d := NewDelta(img)
			if err := d.Replay(rec); err != nil {
				b.Fatal(err)
			}
			d.Apply(1_010_001, 1)
		}
	})
	b.Run("lookup by name", func(b *testing.B) {
		for b.Loop() {
			if img.Topic("topic-07777") == nil {
				b.Fatal("not found")
			}
		}
	})
	b.Run("walk", func(b *testing.B) {
		for b.Loop() {
			n := 0
			for t := range img.Topics() {
				for range t.Partitions() {
					n++
				}
			}
		}
	})
}
