// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// alterPartition: AlterPartition v2–3. Leaders ask for another ISR. A leader of
// former epochs is refused, and one of later epochs is told that this controller
// is not the active one any more.
func alterPartition(img *image.Image, env *Env, req *kmsg.AlterPartitionRequest) Outcome {
	v := view{img, env}
	resp := req.ResponseKind().(*kmsg.AlterPartitionResponse)
	leader := kafka.NodeID(req.BrokerID)
	if why := v.checkBrokerEpoch(leader, kafka.BrokerEpoch(req.BrokerEpoch)); why != nil {
		resp.ErrorCode = why.wire()
		return Outcome{Response: resp, Reason: why.text}
	}
	out := Outcome{Response: resp}
	done := map[kafka.TopicIDPartition]bool{}
	for i := range req.Topics {
		rt := kmsg.NewAlterPartitionResponseTopic()
		rt.TopidID = req.Topics[i].TopicID // kmsg spells it so
		t := img.TopicByID(req.Topics[i].TopicID)
		for j := range req.Topics[i].Partitions {
			ask := &req.Topics[i].Partitions[j]
			rp := kmsg.NewAlterPartitionResponseTopicPartition()
			rp.Partition = ask.Partition
			tp := kafka.TopicIDPartition{TopicID: req.Topics[i].TopicID, Partition: kafka.PartitionID(ask.Partition)}
			switch {
			case t == nil:
				rp.ErrorCode = int16(kafka.UnknownTopicID)
			case done[tp]: // the image does not hold the first one's change yet
				rp.ErrorCode = int16(kafka.InvalidRequest)
			default:
				done[tp] = true
				out.Records = appendRecord(out.Records, v.alterOne(t, leader, ask, req.GetVersion(), &rp))
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return out
}

func (v view) alterOne(
	t *image.Topic, leader kafka.NodeID, ask *kmsg.AlterPartitionRequestTopicPartition, version int16, rp *kmsg.AlterPartitionResponseTopicPartition,
) *metarec.PartitionChange {
	id := kafka.PartitionID(ask.Partition)
	p := t.Partition(id)
	isr := askedISR(ask, version)
	if code := v.judgeISR(p, leader, ask, isr); code != kafka.None {
		rp.ErrorCode = int16(code)
		return nil
	}
	c := v.newChange(t, id, p)
	c.how = v.electionFor(t.Name)
	c.isr = make([]kafka.NodeID, len(isr))
	for i := range isr {
		c.isr[i] = kafka.NodeID(isr[i].BrokerID)
	}
	c.recovery = ask.LeaderRecoveryState
	rec := c.record()
	if rec != nil {
		p = image.Changed(p, rec)
		if rec.Leader != image.NoLeaderChange && rec.Leader != leader {
			// The change completed a reassignment that the leader is not part of.
			rp.ErrorCode = int16(kafka.NewLeaderElected)
			return rec
		}
	}
	rp.LeaderID, rp.LeaderEpoch, rp.PartitionEpoch = int32(p.Leader), int32(p.LeaderEpoch), int32(p.PartitionEpoch)
	rp.LeaderRecoveryState = p.LeaderRecoveryState
	for _, n := range p.ISR {
		rp.ISR = append(rp.ISR, int32(n))
	}
	return rec
}

// askedISR is the ISR with broker epochs; before v3 there are none, which -1
// says.
func askedISR(ask *kmsg.AlterPartitionRequestTopicPartition, version int16) []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR {
	if version >= 3 {
		return ask.NewEpochISR
	}
	isr := make([]kmsg.AlterPartitionRequestTopicPartitionNewEpochISR, len(ask.NewISR))
	for i, id := range ask.NewISR {
		isr[i].BrokerID, isr[i].BrokerEpoch = id, -1
	}
	return isr
}

func (v view) judgeISR(
	p *image.Partition, leader kafka.NodeID, ask *kmsg.AlterPartitionRequestTopicPartition, isr []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR,
) kafka.Code {
	switch {
	case p == nil:
		return kafka.UnknownTopicOrPartition
	case ask.LeaderEpoch > int32(p.LeaderEpoch) || ask.PartitionEpoch > int32(p.PartitionEpoch):
		return kafka.NotController
	case ask.LeaderEpoch < int32(p.LeaderEpoch):
		return kafka.FencedLeaderEpoch
	case leader != p.Leader:
		return kafka.InvalidRequest
	case ask.PartitionEpoch < int32(p.PartitionEpoch):
		return kafka.InvalidUpdateVersion
	case ask.LeaderRecoveryState != image.Recovered && ask.LeaderRecoveryState != image.Recovering:
		return kafka.InvalidRequest
	case ask.LeaderRecoveryState == image.Recovering && (len(isr) > 1 || p.LeaderRecoveryState == image.Recovered):
		return kafka.InvalidRequest
	}
	var ids []kafka.NodeID
	for _, s := range isr {
		id := kafka.NodeID(s.BrokerID)
		if !p.HasReplica(id) || slices.Contains(ids, id) {
			return kafka.InvalidRequest
		}
		ids = append(ids, id)
	}
	if !slices.Contains(ids, leader) {
		return kafka.InvalidRequest
	}
	for _, s := range isr {
		b := v.img.Broker(kafka.NodeID(s.BrokerID))
		if b == nil || !b.Active() || s.BrokerEpoch != -1 && s.BrokerEpoch != int64(b.BrokerEpoch) {
			return kafka.IneligibleReplica
		}
	}
	return kafka.None
}
