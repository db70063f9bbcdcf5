// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// assignDirectories: AssignReplicasToDirs v0 (KIP-858). A broker of several
// directories tells where it has put its replicas. One in a directory that is
// offline by now leaves the ISR in the same record.
func assignDirectories(img *image.Image, env *Env, req *kmsg.AssignReplicasToDirsRequest) Outcome {
	v := view{img, env}
	resp := req.ResponseKind().(*kmsg.AssignReplicasToDirsResponse)
	broker := kafka.NodeID(req.BrokerID)
	why := v.checkBrokerEpoch(broker, kafka.BrokerEpoch(req.BrokerEpoch))
	if why == nil && img.MetadataVersion() < metadataVersion37IV2 {
		why = refuse(kafka.UnsupportedVersion, "Directory assignment is not supported yet.")
	}
	if why != nil {
		resp.ErrorCode = why.wire()
		return Outcome{Response: resp, Reason: why.text}
	}
	out := Outcome{Response: resp}
	done := map[kafka.TopicIDPartition]bool{}
	for i := range req.Directories {
		rd := kmsg.NewAssignReplicasToDirsResponseDirectory()
		rd.ID = req.Directories[i].ID
		for j := range req.Directories[i].Topics {
			ask := &req.Directories[i].Topics[j]
			rt := kmsg.NewAssignReplicasToDirsResponseDirectoryTopic()
			rt.TopicID = ask.TopicID
			for _, p := range ask.Partitions {
				rp := kmsg.NewAssignReplicasToDirsResponseDirectoryTopicPartition()
				rp.Partition = p.Partition
				tp := kafka.TopicIDPartition{TopicID: ask.TopicID, Partition: kafka.PartitionID(p.Partition)}
				code := kafka.InvalidRequest // named twice: the image does not hold the first one's change yet
				if !done[tp] {
					var rec *metarec.PartitionChange
					rec, code = v.assignDirectory(broker, tp, rd.ID)
					out.Records = appendRecord(out.Records, rec)
				}
				done[tp] = true
				rp.ErrorCode = int16(code)
				rt.Partitions = append(rt.Partitions, rp)
			}
			rd.Topics = append(rd.Topics, rt)
		}
		resp.Directories = append(resp.Directories, rd)
	}
	return out
}

func (v view) assignDirectory(broker kafka.NodeID, tp kafka.TopicIDPartition, dir kafka.DirectoryID) (*metarec.PartitionChange, kafka.Code) {
	t := v.img.TopicByID(tp.TopicID)
	if t == nil {
		return nil, kafka.UnknownTopicID
	}
	p := t.Partition(tp.Partition)
	if p == nil {
		return nil, kafka.UnknownTopicOrPartition
	}
	at := slices.Index(p.Replicas, broker)
	if at < 0 {
		return nil, kafka.NotLeaderForPartition
	}
	c := v.newChange(t, tp.Partition, p)
	c.directories = slices.Clone(p.Directories)
	c.directories[at] = dir
	if b := v.img.Broker(broker); b.HasDirectory(dir) {
		// Of a replica whose directory was lost, and is found again, the new one
		// counts: who is alone in the ISR leads at once.
		c.acceptable = func(n kafka.NodeID) bool { return n == broker && b.Active() || n != broker && v.mayLead(p, n) }
	} else {
		c.how = v.electionFor(t.Name)
		c.isr = without(p.ISR, broker)
		c.acceptable = func(n kafka.NodeID) bool { return n != broker && v.mayLead(p, n) }
	}
	return c.record(), kafka.None
}
