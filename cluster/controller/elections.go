// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// liveness says which brokers a series of changes treats otherwise than the
// image: one that is about to go, one that is about to come, one whose last stop
// was unclean. NoNode where there is none.
type liveness struct{ gone, back, unclean kafka.NodeID }

// moved gives the changes of the partitions when brokers come or go: who goes
// leaves the ISR, and leaders are elected where needed.
func (v view) moved(recs []metarec.Record, pick func(*image.Partition) bool, l liveness) []metarec.Record {
	var of *image.Topic
	var how election
	for r := range v.partitions(pick) {
		if r.topic != of { // its configs are looked up once
			of, how = r.topic, v.electionFor(r.topic.Name)
		}
		c := v.newChange(r.topic, r.id, r.part)
		c.how, c.unclean = how, l.unclean
		c.isr = without(r.part.ISR, l.gone, l.unclean)
		c.acceptable = func(n kafka.NodeID) bool {
			switch n {
			case l.gone, l.unclean:
				return false
			case l.back:
				b := v.img.Broker(n)
				return b != nil && b.HasDirectory(r.part.DirectoryOf(n))
			}
			return v.mayLead(r.part, n)
		}
		recs = appendRecord(recs, c.record())
	}
	return recs
}

// fence gives the records that take a broker out of the cluster's work. The
// fencing stands last, so that a controller that fails in between does all of it
// again.
func (v view) fence(recs []metarec.Record, b *image.Broker) []metarec.Record {
	id := b.BrokerID
	recs = v.moved(recs, func(p *image.Partition) bool { return p.InSync(id) }, liveness{id, kafka.NoNode, kafka.NoNode})
	return append(recs, &metarec.BrokerRegistrationChange{BrokerID: id, BrokerEpoch: b.BrokerEpoch, Fenced: 1})
}

// unfence lets a broker back in, which leads again what nobody leads.
func (v view) unfence(recs []metarec.Record, b *image.Broker) []metarec.Record {
	recs = append(recs, &metarec.BrokerRegistrationChange{BrokerID: b.BrokerID, BrokerEpoch: b.BrokerEpoch, Fenced: -1})
	leaderless := func(p *image.Partition) bool { return p.Leader == kafka.NoNode && p.HasReplica(b.BrokerID) }
	return v.moved(recs, leaderless, liveness{kafka.NoNode, b.BrokerID, kafka.NoNode})
}

// Sweep fences one broker whose session has run out; more is false if there is
// none. The caller replays the records and calls again.
func Sweep(img *image.Image, env *Env) (out Outcome, more bool) {
	for {
		id, ok := env.Sessions.stale(env.Now)
		if !ok {
			return Outcome{}, false
		}
		if out := Fence(img, env, id); len(out.Records) != 0 {
			return out, true
		}
	}
}

// Fence fences a broker at once: leaderships and places in ISRs go to others. It
// gives no records if the broker is fenced or unknown.
func Fence(img *image.Image, env *Env, id kafka.NodeID) Outcome {
	env.Sessions.fence(id)
	b := img.Broker(id)
	if b == nil || b.Fenced {
		return Outcome{}
	}
	return Outcome{Records: view{img, env}.fence(nil, b)}
}

// BalanceLeaders gives leadership back to preferred replicas where they can have
// it (auto.leader.rebalance.enable), for at most limit partitions.
func BalanceLeaders(img *image.Image, env *Env, limit int) Outcome {
	v := view{img, env}
	away := func(p *image.Partition) bool { return len(p.Replicas) != 0 && p.Leader != p.Replicas[0] }
	var out Outcome
	for r := range v.partitions(away) {
		if len(out.Records) >= limit {
			break
		}
		c := v.newChange(r.topic, r.id, r.part)
		c.how = electPreferred
		out.Records = appendRecord(out.Records, c.record())
	}
	return out
}

// Election types of ElectLeaders.
const (
	electionTypePreferred int8 = 0
	electionTypeUnclean   int8 = 1
)

// electLeaders: ElectLeaders v0–2. Without a list of partitions all are meant,
// and those that need no election are left out of the response.
func electLeaders(img *image.Image, env *Env, req *kmsg.ElectLeadersRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	out := Outcome{Response: resp}
	if req.ElectionType != electionTypePreferred && req.ElectionType != electionTypeUnclean {
		resp.ErrorCode = int16(kafka.InvalidRequest)
		return out
	}
	v := view{img, env}
	add := func(topic string, ids []kafka.PartitionID, skipNotNeeded bool) {
		rt := kmsg.NewElectLeadersResponseTopic()
		rt.Topic = topic
		for _, id := range ids {
			rec, why := v.electOne(topic, id, req.ElectionType)
			out.Records = appendRecord(out.Records, rec)
			if skipNotNeeded && why != nil && why.code == kafka.ElectionNotNeeded {
				continue
			}
			rp := kmsg.NewElectLeadersResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = int32(id), why.wire(), why.message()
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if req.Topics == nil {
		for t := range img.Topics() {
			var ids []kafka.PartitionID
			for id := range t.Partitions() {
				ids = append(ids, id)
			}
			add(t.Name, ids, true)
		}
	}
	for _, t := range req.Topics {
		ids := make([]kafka.PartitionID, len(t.Partitions))
		for i, id := range t.Partitions {
			ids[i] = kafka.PartitionID(id)
		}
		slices.Sort(ids)
		add(t.Topic, slices.Compact(ids), false)
	}
	if len(out.Records) > env.Config.RecordsMax {
		resp.ErrorCode, resp.Topics, out.Records = int16(kafka.PolicyViolation), nil, nil
	}
	return out
}

func (v view) electOne(topic string, id kafka.PartitionID, typ int8) (*metarec.PartitionChange, *refusal) {
	t := v.img.Topic(topic)
	if t == nil {
		return nil, refuse(kafka.UnknownTopicOrPartition, "No such topic as %s", topic)
	}
	p := t.Partition(id)
	if p == nil {
		return nil, refuse(kafka.UnknownTopicOrPartition, "No such partition as %s-%d", topic, id)
	}
	if typ == electionTypePreferred && p.Leader == p.Replicas[0] || typ == electionTypeUnclean && p.Leader != kafka.NoNode {
		return nil, refuse(kafka.ElectionNotNeeded, "Leader election not needed for topic partition.")
	}
	c := v.newChange(t, id, p)
	c.how = electPreferred
	if typ == electionTypeUnclean {
		c.how = electUnclean
	}
	rec := c.record()
	switch {
	case rec != nil:
		return rec, nil
	case typ == electionTypePreferred:
		return nil, refuse(kafka.PreferredLeaderNotAvailable, "The preferred leader was not available.")
	}
	return nil, refuse(kafka.EligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
}
