// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// reassignment is one AlterPartitionReassignments request (v0–1, KIP-455) under
// way. Each partition stands for itself.
//
//	the replicas there are    ─► nothing to do
//	fewer, or another order   ─► one record, which is all of the reassignment
//	replicas on other brokers ─► refused: nobody would copy them
//	null, to cancel           ─► one record, back to where it came from
//
// Invariant: no record of it leaves a reassignment under way. A broker registers
// only with the controller of its own node, so other brokers, and reassignments
// that began, are in the image only where the log is of another cluster; they
// do not come back, and a move to them would never end. Kafka takes such a
// request, and waits.
type reassignment struct {
	view
	mayResize bool // AllowReplicationFactorChange
	recs      []metarec.Record
	// changed are partitions that got a record, as they will be: one that is
	// named again is judged by that.
	changed map[kafka.TopicIDPartition]*image.Partition
}

func alterReassignments(img *image.Image, env *Env, req *kmsg.AlterPartitionAssignmentsRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	if len(req.Topics) == 0 { // Kafka answers with defaults, whatever was allowed
		resp.ErrorMessage = new(string)
		return Outcome{Response: resp}
	}
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	r := reassignment{view: view{img, env}, mayResize: req.AllowReplicationFactorChange, changed: map[kafka.TopicIDPartition]*image.Partition{}}
	for i := range req.Topics {
		ask := &req.Topics[i]
		rt := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		rt.Topic = ask.Topic
		rt.Partitions = make([]kmsg.AlterPartitionAssignmentsResponseTopicPartition, 0, len(ask.Partitions))
		for j := range ask.Partitions {
			why := r.reassign(ask.Topic, &ask.Partitions[j])
			rp := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = ask.Partitions[j].Partition, why.wire(), why.message()
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return Outcome{Records: r.recs, Atomic: true, Response: resp}
}

func (r *reassignment) reassign(topic string, ask *kmsg.AlterPartitionAssignmentsRequestTopicPartition) *refusal {
	t := r.img.Topic(topic)
	if t == nil {
		return refuse(kafka.UnknownTopicOrPartition, "Unable to find a topic named %s.", topic)
	}
	tp := kafka.TopicIDPartition{TopicID: t.ID, Partition: kafka.PartitionID(ask.Partition)}
	p := r.changed[tp]
	if p == nil {
		p = t.Partition(tp.Partition)
	}
	if p == nil {
		return refuse(kafka.UnknownTopicOrPartition, "Unable to find partition %s:%d.", topic, ask.Partition)
	}
	c := r.newChange(t, tp.Partition, p)
	var why *refusal
	if ask.Replicas == nil {
		why = r.cancel(&c, topic)
	} else {
		why = r.place(&c, ask.Replicas)
	}
	if why != nil {
		return why
	}
	rec := c.record()
	switch {
	case len(c.adding) != 0 || len(c.removing) != 0:
		return refuse(kafka.InvalidReplicaAssignment,
			"The reassignment of %s:%d would need replicas to be copied between brokers, which is not supported yet.", topic, ask.Partition)
	case rec == nil:
		return nil
	case len(r.recs) == r.env.Config.RecordsMax:
		return refuse(kafka.PolicyViolation, "The request changes more than %d partitions.", r.env.Config.RecordsMax)
	}
	r.recs, r.changed[tp] = append(r.recs, rec), image.Changed(p, rec)
	return nil
}

// place plans the replicas that are asked for. Those that go stand last for as
// long as they are there.
func (r *reassignment) place(c *change, ids []int32) *refusal {
	target, why := r.checkAssignment(ids, 0)
	if why != nil {
		return why
	}
	has := c.part.Replicas
	before := len(has) // before the reassignment that is under way it will be as many
	if c.part.Reassigning() {
		before = len(without(has, c.removing...))
	}
	if !r.mayResize && len(target) != before {
		return refuse(kafka.InvalidReplicationFactor, "The replication factor is changed from %d to %d", before, len(target))
	}
	removing, adding := slices.Sorted(slices.Values(without(has, target...))), slices.Sorted(slices.Values(without(target, has...)))
	if len(removing) != 0 {
		c.removing = removing
	}
	if len(adding) != 0 {
		c.adding = adding
	}
	c.setReplicas(slices.Concat(target, removing))
	return nil
}

// cancel plans the way back. Who is in sync only because it was added is not any
// more, and where nobody else is, the first of the former replicas is taken if
// unclean elections are allowed.
func (r *reassignment) cancel(c *change, topic string) *refusal {
	if !c.part.Reassigning() {
		return &refusal{code: kafka.NoReassignmentInProgress}
	}
	c.how = r.electionFor(topic)
	replicas := without(c.replicas, c.adding...)
	c.isr = without(c.isr, c.adding...)
	if len(c.isr) == 0 {
		if len(replicas) == 0 {
			return refuse(kafka.InvalidReplicaAssignment, "Invalid replica assignment: addingReplicas contains all replicas.")
		}
		if c.how != electUnclean {
			return refuse(kafka.InvalidReplicaAssignment,
				"Unable to revert partition assignment for %s:%d because it would require an unclean leader election.", topic, c.id)
		}
		c.isr = replicas[:1]
	}
	c.removing, c.adding = nil, nil
	c.setReplicas(replicas)
	return nil
}

// listReassignments: ListPartitionReassignments v0. Partitions that are not
// reassigned, or not there, are left out, and topics without any too.
func listReassignments(img *image.Image, req *kmsg.ListPartitionReassignmentsRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	add := func(rt *kmsg.ListPartitionReassignmentsResponseTopic, id kafka.PartitionID, p *image.Partition) {
		if p == nil || !p.Reassigning() {
			return
		}
		rp := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
		rp.Partition, rp.Replicas = int32(id), wireIDs(p.Replicas)
		rp.AddingReplicas, rp.RemovingReplicas = wireIDs(p.AddingReplicas()), wireIDs(p.RemovingReplicas())
		rt.Partitions = append(rt.Partitions, rp)
	}
	finish := func(rt *kmsg.ListPartitionReassignmentsResponseTopic) {
		if len(rt.Partitions) > 0 {
			resp.Topics = append(resp.Topics, *rt)
		}
	}
	if req.Topics == nil {
		for t := range img.Topics() {
			rt := kmsg.NewListPartitionReassignmentsResponseTopic()
			rt.Topic = t.Name
			for id, p := range t.Partitions() {
				add(&rt, id, p)
			}
			finish(&rt)
		}
	}
	for i := range req.Topics {
		t := img.Topic(req.Topics[i].Topic)
		if t == nil {
			continue
		}
		rt := kmsg.NewListPartitionReassignmentsResponseTopic()
		rt.Topic = t.Name
		for _, id := range req.Topics[i].Partitions {
			add(&rt, kafka.PartitionID(id), t.Partition(kafka.PartitionID(id)))
		}
		finish(&rt)
	}
	return Outcome{Response: resp}
}

func wireIDs(ids []kafka.NodeID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
