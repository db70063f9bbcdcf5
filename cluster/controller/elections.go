// SPDX-License-Identifier: Apache-2.0

package controller

import (
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
		if out := fence(img, env, id); len(out.Records) != 0 {
			return out, true
		}
	}
}

// fence fences a broker at once: leaderships and places in ISRs go to others. It
// gives no records if the broker is fenced or unknown.
func fence(img *image.Image, env *Env, id kafka.NodeID) Outcome {
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
	b := ballot{view: view{img, env}, typ: req.ElectionType, resp: req.ResponseKind().(*kmsg.ElectLeadersResponse), done: map[kafka.TopicIDPartition]*refusal{}}
	if b.typ != electionTypePreferred && b.typ != electionTypeUnclean {
		return b.refuseType(req)
	}
	if req.Topics == nil {
		b.all()
	}
	for i := range req.Topics {
		b.some(&req.Topics[i])
	}
	if len(b.recs) > env.Config.RecordsMax {
		b.resp.ErrorCode, b.resp.Topics, b.recs = int16(kafka.PolicyViolation), nil, nil
	}
	return Outcome{Records: b.recs, Response: b.resp}
}

// ballot is one ElectLeaders request under way.
type ballot struct {
	view
	typ  int8
	resp *kmsg.ElectLeadersResponse
	recs []metarec.Record
	done map[kafka.TopicIDPartition]*refusal // of partitions that may be named again
}

// refuseType answers for each partition that is named, as Kafka does: a request
// that names none is not refused.
func (b *ballot) refuseType(req *kmsg.ElectLeadersRequest) Outcome {
	why := refuse(kafka.InvalidRequest, "Unknown election type %d", b.typ)
	if req.Topics == nil || len(req.Topics) > 0 {
		b.resp.ErrorCode = why.wire()
	}
	for i := range req.Topics {
		rt := kmsg.NewElectLeadersResponseTopic()
		rt.Topic = req.Topics[i].Topic
		for _, id := range req.Topics[i].Partitions {
			rt.Partitions = append(rt.Partitions, elected(kafka.PartitionID(id), why))
		}
		b.resp.Topics = append(b.resp.Topics, rt)
	}
	return Outcome{Response: b.resp, Reason: why.text}
}

func elected(id kafka.PartitionID, why *refusal) kmsg.ElectLeadersResponseTopicPartition {
	rp := kmsg.NewElectLeadersResponseTopicPartition()
	rp.Partition, rp.ErrorCode, rp.ErrorMessage = int32(id), why.wire(), why.message()
	return rp
}

func (b *ballot) all() {
	for t := range b.img.Topics() {
		rt := kmsg.NewElectLeadersResponseTopic()
		rt.Topic = t.Name
		for id := range t.Partitions() {
			rec, why := b.electOne(t.Name, id, b.typ)
			b.recs = appendRecord(b.recs, rec)
			if why == nil || why.code != kafka.ElectionNotNeeded {
				rt.Partitions = append(rt.Partitions, elected(id, why))
			}
		}
		b.resp.Topics = append(b.resp.Topics, rt)
	}
}

func (b *ballot) some(ask *kmsg.ElectLeadersRequestTopic) {
	rt := kmsg.NewElectLeadersResponseTopic()
	rt.Topic = ask.Topic
	tp := kafka.TopicIDPartition{}
	if t := b.img.Topic(ask.Topic); t != nil {
		tp.TopicID = t.ID
	}
	for _, n := range ask.Partitions {
		tp.Partition = kafka.PartitionID(n)
		why, again := b.done[tp]
		if !again || tp.TopicID.IsZero() { // the image does not hold the first one's change yet
			var rec *metarec.PartitionChange
			rec, why = b.electOne(ask.Topic, tp.Partition, b.typ)
			b.recs = appendRecord(b.recs, rec)
			b.done[tp] = why
		}
		rt.Partitions = append(rt.Partitions, elected(tp.Partition, why))
	}
	b.resp.Topics = append(b.resp.Topics, rt)
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
