// SPDX-License-Identifier: Apache-2.0

package group

import (
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// commitOf is who commits offsets.
type commitOf struct {
	memberID      string
	instance      *string
	generation    int32 // or member epoch
	transactional bool
	version       int16
}

// partitionVerdict judges a commit by partition (KIP-1251: by the epoch at which
// the member was assigned it). An error is that of the whole request.
type partitionVerdict func(topic string, id kafka.TopicID, p kafka.PartitionID) error

// OffsetCommit, v2-10. Topics that do not exist are refused first; if none is
// left, the group is not looked at.
//
//	v2-4  the request's retention, if it has one, goes before the broker's
//	v9    a group that does not exist is GROUP_ID_NOT_FOUND
//	v10   topic ids
func (g *Groups) OffsetCommit(nowMs int64, _ Caller, req *kmsg.OffsetCommitRequest, to Token, out *Out) {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = req.Version
	var accepted []commit
	for _, t := range req.Topics {
		asked := commit{at: [2]int{len(resp.Topics), 0}}
		asked.topic, asked.id, asked.code = g.resolve(t.Topic, t.TopicID, req.Version >= 10)
		answer := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for i, p := range t.Partitions {
			asked.at[1] = i
			code := g.accept(&accepted, asked, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata)
			answer.Partitions = append(answer.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		if len(t.Partitions) != 0 {
			resp.Topics = append(resp.Topics, answer)
		}
	}
	who := commitOf{memberID: req.MemberID, instance: req.InstanceID, generation: req.Generation, version: req.Version}
	if code := g.validateCommit(req.Group, who, accepted); code != kafka.None {
		for _, c := range accepted {
			resp.Topics[c.at[0]].Partitions[c.at[1]].ErrorCode = int16(code)
		}
		accepted = nil
	} else if len(accepted) != 0 {
		g.keepAliveByCommit(nowMs, req)
	}
	expireMs := int64(-1)
	if req.Version <= 4 && req.RetentionTimeMillis != -1 {
		expireMs = nowMs + req.RetentionTimeMillis
	}
	for _, c := range accepted {
		g.emitCommit(req.Group, c, nowMs, expireMs, nil, out)
	}
	out.reply(to, resp)
}

// TxnOffsetCommit, v0-6: offsets that count when the producer's transaction
// commits. That the transaction goes on is verified where they are appended.
func (g *Groups) TxnOffsetCommit(nowMs int64, _ Caller, req *kmsg.TxnOffsetCommitRequest, to Token, out *Out) {
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	resp.Version = req.Version
	var accepted []commit
	for _, t := range req.Topics {
		asked := commit{at: [2]int{len(resp.Topics), 0}}
		asked.topic, asked.id, asked.code = g.resolve(t.Topic, t.TopicID, req.Version >= 6)
		answer := kmsg.TxnOffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for i, p := range t.Partitions {
			asked.at[1] = i
			code := g.accept(&accepted, asked, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata)
			answer.Partitions = append(answer.Partitions, kmsg.TxnOffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
		}
		resp.Topics = append(resp.Topics, answer)
	}
	who := commitOf{memberID: req.MemberID, instance: req.InstanceID, generation: req.Generation, transactional: true, version: req.Version}
	if req.Version < 3 {
		who.generation = -1
	}
	code := g.validateCommit(req.Group, who, accepted)
	if len(accepted) != 0 && req.Group == "" {
		code = kafka.InvalidGroupID
	}
	if code != kafka.None {
		for _, c := range accepted {
			resp.Topics[c.at[0]].Partitions[c.at[1]].ErrorCode = int16(code)
		}
		accepted = nil
	}
	in := &Transaction{ProducerID: kafka.ProducerID(req.ProducerID), ProducerEpoch: kafka.ProducerEpoch(req.ProducerEpoch)}
	for _, c := range accepted {
		if g.emitCommit(req.Group, c, nowMs, -1, in, out) {
			out.Transaction = in
		}
	}
	out.reply(to, resp)
}

// commit is one partition of a commit, and where its answer stands.
type commit struct {
	at          [2]int
	topic       string
	id          kafka.TopicID
	partition   kafka.PartitionID
	code        kafka.Code // None or OFFSET_METADATA_TOO_LARGE
	offset      kafka.Offset
	leaderEpoch kafka.LeaderEpoch
	metadata    string
}

// resolve finds a topic by what the request has of it. A name without a topic
// has no error yet: its partitions have.
func (g *Groups) resolve(name string, id [16]byte, byID bool) (string, kafka.TopicID, kafka.Code) {
	if byID {
		found, ok := g.topics.TopicName(id)
		if !ok {
			return "", id, kafka.UnknownTopicID
		}
		return found, id, kafka.None
	}
	found, _, _ := g.topics.Topic(name)
	return name, found, kafka.None
}

// accept judges one partition of a commit, of whose topic c tells what is known,
// and adds it to those that the group is asked about. One whose metadata is too
// long is among them: if the group refuses, that is its answer.
func (g *Groups) accept(accepted *[]commit, c commit, partition int32, offset int64, leaderEpoch int32, metadata *string) kafka.Code {
	switch {
	case c.code != kafka.None:
		return c.code
	case !g.partitionExists(c.topic, partition):
		return kafka.UnknownTopicOrPartition
	}
	c.partition, c.offset, c.leaderEpoch = kafka.PartitionID(partition), kafka.Offset(offset), kafka.LeaderEpoch(leaderEpoch)
	if c.metadata = deref(metadata); longerThan(c.metadata, int(g.options.OffsetMetadataMaxBytes)) {
		c.code = kafka.OffsetMetadataTooLarge
	}
	*accepted = append(*accepted, c)
	return c.code
}

func (g *Groups) partitionExists(topic string, p int32) bool {
	_, partitions, ok := g.topics.Topic(topic)
	return ok && p >= 0 && p < partitions
}

// longerThan compares a length in UTF-16 units, which is what Java counts.
func longerThan(s string, units int) bool {
	if len(s) <= units {
		return false
	}
	n := 0
	for _, r := range s {
		if n++; r > 0xffff && r <= utf8.MaxRune {
			n++
		}
	}
	return n > units
}

// validateCommit judges a commit as a whole.
func (g *Groups) validateCommit(id string, who commitOf, accepted []commit) kafka.Code {
	if len(accepted) == 0 {
		return kafka.None
	}
	code := g.mayCommit(g.groups[id], who, accepted)
	if code == kafka.None && !g.commitFits(id, accepted) {
		return kafka.InvalidCommitOffsetSize // Kafka finds out when it appends, and gives no reason (UNKNOWN_SERVER_ERROR)
	}
	return code
}

// mayCommit asks the group. One that does not exist is founded by a commit
// without a generation.
func (g *Groups) mayCommit(found group, who commitOf, accepted []commit) kafka.Code {
	if found == nil {
		switch notFoundFrom := int16(9); {
		case who.generation < 0:
			return kafka.None
		case who.transactional && who.version < 6 || !who.transactional && who.version < notFoundFrom:
			return kafka.IllegalGeneration
		default:
			return kafka.GroupIDNotFound
		}
	}
	verdict, err := found.validateCommit(who)
	for _, c := range accepted {
		if err != nil || verdict == nil {
			break
		}
		if c.code == kafka.None {
			err = verdict(c.topic, c.id, c.partition)
		}
	}
	return commitCode(err, who)
}

// commitFits says whether a commit fits into one batch.
func (g *Groups) commitFits(group string, accepted []commit) bool {
	const fixed = 96 // more than the numbers and lengths of a key and a value take
	bytes := 0
	for _, c := range accepted {
		if c.code != kafka.None {
			continue
		}
		bytes += fixed + len(group) + len(c.topic) + len(c.metadata)
	}
	return bytes <= int(g.options.RecordsBytesMax)
}

// commitCode gives the code of an error; transactional producers know of member
// epochs only since v6.
func commitCode(err error, who commitOf) kafka.Code {
	if err == nil {
		return kafka.None
	}
	code, ok := kafka.CodeOf(err)
	if !ok {
		return kafka.UnknownServerError
	}
	if code == kafka.StaleMemberEpoch && who.transactional && who.version < 6 {
		return kafka.IllegalGeneration
	}
	return code
}

// emitCommit writes a partition's commit down; false if it is refused.
func (g *Groups) emitCommit(group string, c commit, nowMs, expireMs int64, in *Transaction, out *Out) bool {
	if c.code != kafka.None {
		return false
	}
	v := grouprec.NewOffsetCommitValue()
	v.Offset, v.LeaderEpoch, v.Metadata, v.TopicID = c.offset, c.leaderEpoch, c.metadata, c.id
	v.CommitTimestamp, v.ExpireTimestamp = nowMs, expireMs
	g.emitOffset(grouprec.OffsetCommitKey{Group: group, Topic: c.topic, Partition: c.partition}, v, in, out)
	return true
}

// keepAliveByCommit: a member of a classic group that commits is alive.
func (g *Groups) keepAliveByCommit(nowMs int64, req *kmsg.OffsetCommitRequest) {
	c, ok := g.groups[req.Group].(*classicGroup)
	if !ok || c.state != stateStable && c.state != statePreparingRebalance {
		return
	}
	if m := c.byID[req.MemberID]; m != nil {
		g.keepAlive(m, nowMs)
	}
}

// validateCommit: a member commits in its generation, but not between its end
// and the next assignment; who is no member only while the group is empty.
func (c *classicGroup) validateCommit(who commitOf) (partitionVerdict, error) {
	if who.generation < 0 && c.state == stateEmpty {
		return nil, nil
	}
	if who.generation >= 0 || who.memberID != "" || who.instance != nil {
		if code := c.validateMember(who.memberID, who.instance); code != kafka.None {
			return nil, code
		}
		if who.generation != c.generation {
			return nil, kafka.IllegalGeneration
		}
	} else if !who.transactional {
		return nil, kafka.UnknownMemberID
	}
	if !who.transactional && c.state == stateCompletingRebalance {
		return nil, kafka.RebalanceInProgress
	}
	return nil, nil
}
