// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// TestModel: whatever is asked, in whatever order, the records replay, and the
// metadata stays sound.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{world: newWorld(nil), t: t, incarnation: map[int32]byte{}}
		m.env.Random = rand.NewChaCha8([32]byte{byte(rapid.IntRange(0, 255).Draw(t, "seed"))})
		m.step(Activate(m.img, &m.env))
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			m.act()
		}
	})
}

type model struct {
	*world
	t           *rapid.T
	incarnation map[int32]byte
	seen        func([]metarec.Record) // may be nil
}

// step replays an outcome and checks what it made of the metadata.
func (m *model) step(out Outcome) {
	before := m.img
	first := m.env.NextOffset
	d := image.NewDelta(m.img)
	for i, rec := range out.Records {
		if err := d.Replay(rec); err != nil {
			m.t.Fatalf("%s: %v", show(rec), err)
		}
		if r, ok := rec.(*metarec.RegisterBroker); ok && r.Fenced && before.Broker(r.BrokerID) != nil && before.Broker(r.BrokerID).IncarnationID != r.IncarnationID {
			if r.BrokerEpoch != kafka.BrokerEpoch(first)+kafka.BrokerEpoch(i) {
				m.t.Fatalf("%s at offset %d", show(rec), int(first)+i)
			}
		}
	}
	m.img = d.Apply(m.img.Offset()+kafka.Offset(len(out.Records)), 1)
	m.env.NextOffset = m.img.Offset() + 1
	m.checkImage()
	m.checkEpochs(before)
	if m.seen != nil {
		m.seen(out.Records)
	}
}

func (m *model) checkImage() {
	elr := view{m.img, &m.env}.elrEnabled()
	for t := range m.img.Topics() {
		for id, p := range t.Partitions() {
			if why := m.unsound(p, elr); why != "" {
				m.t.Fatalf("%s-%d: %s: %+v elr %v\n%s", t.Name, id, why, *p, p.ELR(), m.show())
			}
		}
	}
}

func (m *model) unsound(p *image.Partition, elr bool) string {
	active := func(id kafka.NodeID) bool { b := m.img.Broker(id); return b != nil && b.Active() }
	sorted := slices.Sorted(slices.Values(p.ISR))
	switch {
	case len(slices.Compact(sorted)) != len(p.ISR):
		return "doubles in the ISR"
	case !containsAll(p.Replicas, p.ISR):
		// The ELR may still name a replica that a reassignment has removed, as
		// in Kafka; who leads is chosen from the replicas.
		return "an ISR beyond the replicas"
	case slices.ContainsFunc(p.ISR, func(id kafka.NodeID) bool { return slices.Contains(p.ELR(), id) }):
		return "in the ISR and in the ELR"
	case len(p.Directories) != len(p.Replicas):
		return "directories that are not beside the replicas"
	case p.Leader != kafka.NoNode && !p.InSync(p.Leader):
		return "a leader that is not in sync"
	case p.Leader != kafka.NoNode && !active(p.Leader):
		return "a leader that is not active"
	case len(p.ISR) == 0 && !elr:
		return "an empty ISR"
	case (p.Leader != kafka.NoNode || len(p.ISR) > 1) && slices.ContainsFunc(p.ISR, func(id kafka.NodeID) bool { return !active(id) }):
		return "an ISR with a broker that is not active"
	case p.Leader == kafka.NoNode && slices.ContainsFunc(p.ISR, active):
		return "no leader though one in sync is active"
	}
	return ""
}

// checkEpochs: a partition's epochs never fall, a change of anything raises its
// partition epoch, and a change of the leader its leader epoch.
func (m *model) checkEpochs(before *image.Image) {
	for t := range before.Topics() {
		for id, p := range t.Partitions() {
			q := m.img.Partition(kafka.TopicIDPartition{TopicID: t.ID, Partition: id})
			if q == nil || p == q {
				continue
			}
			same := p.Leader == q.Leader && slices.Equal(p.ISR, q.ISR) && slices.Equal(p.ELR(), q.ELR()) && slices.Equal(p.Replicas, q.Replicas)
			if q.LeaderEpoch < p.LeaderEpoch || q.PartitionEpoch < p.PartitionEpoch ||
				p.Leader != q.Leader && q.LeaderEpoch == p.LeaderEpoch || !same && q.PartitionEpoch == p.PartitionEpoch {
				m.t.Fatalf("%s-%d: %+v became %+v", t.Name, id, *p, *q)
			}
		}
	}
}

func (m *model) ask(req kmsg.Request) kmsg.Response {
	out, err := Handle(m.img, &m.env, req)
	if err != nil {
		m.t.Fatal(err)
	}
	m.step(out)
	return out.Response
}

func (m *model) act() {
	broker := rapid.Int32Range(1, 4).Draw(m.t, "broker")
	switch rapid.IntRange(0, 12).Draw(m.t, "act") {
	case 0, 1:
		m.register(broker)
	case 2, 3, 4:
		m.heartbeat(broker)
	case 5, 6:
		m.createTopic()
	case 7, 8:
		m.alterPartition()
	case 9:
		m.env.Now = m.env.Now.Add(time.Duration(rapid.IntRange(1, 6).Draw(m.t, "seconds")) * time.Second)
		for {
			out, more := Sweep(m.img, &m.env)
			if !more {
				break
			}
			m.step(out)
		}
	case 10:
		m.step(BalanceLeaders(m.img, &m.env, 10))
	case 11:
		m.rare(broker)
	case 12:
		m.elect()
	}
}

func (m *model) register(broker int32) {
	if rapid.Bool().Draw(m.t, "new incarnation") {
		m.incarnation[broker]++
	}
	req := registration(broker, m.incarnation[broker]+1)
	if b := m.img.Broker(kafka.NodeID(broker)); b != nil && rapid.Bool().Draw(m.t, "clean") {
		req.PreviousBrokerEpoch = int64(b.BrokerEpoch)
	}
	f := kmsg.NewBrokerRegistrationRequestFeature()
	f.Name, f.MaxSupportedVersion = FeatureELR, 1
	req.Features = append(req.Features, f)
	m.ask(req)
}

func (m *model) heartbeat(broker int32) {
	req := m.beat(broker)
	switch rapid.IntRange(0, 6).Draw(m.t, "want") {
	case 0:
		req.WantFence = true
	case 1:
		req.WantShutdown = true
	case 2:
		req.CurrentMetadataOffset = int64(rapid.IntRange(0, int(m.img.Offset())).Draw(m.t, "offset"))
	}
	m.ask(req)
}

func (m *model) createTopic() {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(7)
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic = rapid.SampledFrom([]string{"a", "b.c", "b_c", "d"}).Draw(m.t, "name")
	t.NumPartitions, t.ReplicationFactor = rapid.Int32Range(1, 4).Draw(m.t, "partitions"), rapid.Int16Range(1, 4).Draw(m.t, "factor")
	c := kmsg.NewCreateTopicsRequestTopicConfig()
	yes, two := rapid.SampledFrom([]string{"true", "false"}).Draw(m.t, "unclean"), "2"
	c.Name, c.Value = keyUncleanElection, &yes
	t.Configs = append(t.Configs, c)
	c.Name, c.Value = keyMinISR, &two
	t.Configs = append(t.Configs, c)
	req.Topics = append(req.Topics, t)
	m.ask(req)
}

func (m *model) anyPartition() (*image.Topic, kafka.PartitionID, *image.Partition) {
	topics := slices.Collect(m.img.Topics())
	if len(topics) == 0 {
		return nil, 0, nil
	}
	t := rapid.SampledFrom(topics).Draw(m.t, "topic")
	id := kafka.PartitionID(rapid.IntRange(0, t.PartitionCount()-1).Draw(m.t, "partition"))
	return t, id, t.Partition(id)
}

func (m *model) alterPartition() {
	t, id, p := m.anyPartition()
	if p == nil || p.Leader == kafka.NoNode {
		return
	}
	req := kmsg.NewPtrAlterPartitionRequest()
	req.SetVersion(3)
	req.BrokerID, req.BrokerEpoch = int32(p.Leader), int64(m.img.Broker(p.Leader).BrokerEpoch)
	rt, rp := kmsg.NewAlterPartitionRequestTopic(), kmsg.NewAlterPartitionRequestTopicPartition()
	rt.TopicID = t.ID
	rp.Partition, rp.LeaderEpoch, rp.PartitionEpoch = int32(id), int32(p.LeaderEpoch), int32(p.PartitionEpoch)
	for _, r := range p.Replicas {
		if r == p.Leader || rapid.Bool().Draw(m.t, "in sync") {
			s := kmsg.NewAlterPartitionRequestTopicPartitionNewEpochISR()
			s.BrokerID = int32(r)
			if b := m.img.Broker(r); b != nil && rapid.Bool().Draw(m.t, "with epoch") {
				s.BrokerEpoch = int64(b.BrokerEpoch)
			}
			rp.NewEpochISR = append(rp.NewEpochISR, s)
		}
	}
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	m.ask(req)
}

func (m *model) elect() {
	req := kmsg.NewPtrElectLeadersRequest()
	req.SetVersion(2)
	req.ElectionType = rapid.Int8Range(0, 1).Draw(m.t, "type")
	req.Topics = nil
	m.ask(req)
}

func (m *model) rare(broker int32) {
	switch rapid.IntRange(0, 6).Draw(m.t, "rare") {
	case 0:
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = broker
		m.ask(req)
	case 1:
		if t, _, p := m.anyPartition(); p != nil {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.SetVersion(6)
			rt := kmsg.NewDeleteTopicsRequestTopic()
			rt.TopicID = t.ID
			req.Topics = append(req.Topics, rt)
			m.ask(req)
		}
	case 2: // another controller becomes active
		m.env.Sessions = NewSessions(9*time.Second, m.img, m.env.Now)
		m.step(Activate(m.img, &m.env))
	case 3:
		if b := m.img.Broker(kafka.NodeID(broker)); b != nil {
			m.env.Sessions.Drop(b.BrokerID, b.BrokerEpoch)
		}
	case 4: // eligible leader replicas, as a log from elsewhere may have them
		m.step(Outcome{Records: []metarec.Record{&metarec.FeatureLevel{Name: FeatureELR, Level: 1}}})
	case 5, 6:
		m.reassign(kafka.NodeID(broker))
	}
}

// reassign starts moving a partition to another broker, as a log from elsewhere
// may have it.
func (m *model) reassign(to kafka.NodeID) {
	t, id, p := m.anyPartition()
	if p == nil || p.Reassigning() || p.HasReplica(to) || m.img.Broker(to) == nil {
		return
	}
	rec := metarec.NewPartitionChange()
	rec.TopicID, rec.PartitionID = t.ID, id
	rec.AddingReplicas = []kafka.NodeID{to}
	rec.RemovingReplicas = []kafka.NodeID{rapid.SampledFrom(p.Replicas).Draw(m.t, "from")}
	rec.Replicas = append(slices.Clone(p.Replicas), to)
	rec.Directories = append(slices.Clone(p.Directories), uuid(byte(to)))
	m.step(Outcome{Records: []metarec.Record{rec}})
}

func TestOtherRequestsAreRefused(t *testing.T) {
	w := newWorld(t)
	if _, err := Handle(w.img, &w.env, kmsg.NewPtrMetadataRequest()); !errors.Is(err, kafka.UnsupportedVersion) {
		t.Errorf("Metadata at the controller: %v", err)
	}
}

// TestSameInputSameOutput: a decision depends on nothing but its arguments.
func TestSameInputSameOutput(t *testing.T) {
	var first string
	for range 20 {
		w := newWorld(t)
		w.run("activate")
		w.run("brokers 1/a 2/b 3/a 4")
		got := w.run(`CreateTopics v7 {"Topics":[{"Topic":"t","NumPartitions":9,"ReplicationFactor":3,"Configs":[{"Name":"b","Value":"1"},{"Name":"a","Value":"2"}]}]}`)
		if first == "" {
			first = got
		}
		if got != first {
			t.Fatalf("%s\nand then\n%s", first, got)
		}
	}
}

// TestSoundnessIsChecked: the model's rules catch what they are for.
func TestSoundnessIsChecked(t *testing.T) {
	m := &model{world: newWorld(t)}
	m.run("activate")
	m.run("brokers 1 2")
	one, two := []kafka.NodeID{1}, []kafka.NodeID{1, 2}
	dirs := make([]kafka.DirectoryID, 2)
	for i, p := range []image.Partition{
		{Replicas: two, Directories: dirs, ISR: one, Leader: 2},
		{Replicas: two, Directories: dirs, ISR: []kafka.NodeID{3}, Leader: kafka.NoNode},
		{Replicas: two, Directories: dirs, ISR: []kafka.NodeID{1, 1}, Leader: 1},
		{Replicas: two, Directories: dirs, Leader: kafka.NoNode},
		{Replicas: two, Directories: dirs, ISR: one, Leader: kafka.NoNode},
		{Replicas: two, Directories: dirs[:1], ISR: one, Leader: 1},
	} {
		if m.unsound(&p, false) == "" {
			t.Errorf("case %d is taken as sound", i)
		}
	}
	if why := m.unsound(&image.Partition{Replicas: two, Directories: dirs, ISR: two, Leader: 1}, false); why != "" {
		t.Error(fmt.Sprint("a sound one: ", why))
	}
}
