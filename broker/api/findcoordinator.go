// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
	"gregor/config"
	"gregor/coordinator/shard"
)

// FindCoordinator, versions 0 to 6. The coordinator of a group is the leader of
// the partition of __consumer_offsets that its id hashes to. The topic is
// created when the first client asks; until it has a leader the answer is
// COORDINATOR_NOT_AVAILABLE, and the client asks again. Transactions and share
// groups have no coordinator here: the answer for them stays that.

// Types of coordinators.
const (
	coordinatorGroup       = 0
	coordinatorTransaction = 1
	coordinatorShare       = 2
	shareFrom              = 6 // the first version that knows share coordinators
)

func (a *API) handleFindCoordinator(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewPtrFindCoordinatorResponse()
	img := a.image()
	if c.Version < 4 {
		found := a.coordinator(c, img, req.CoordinatorType, req.CoordinatorKey)
		text := coordinatorMessage(kafka.Code(found.ErrorCode))
		resp.ErrorCode, resp.ErrorMessage = found.ErrorCode, &text
		resp.NodeID, resp.Host, resp.Port = found.NodeID, found.Host, found.Port
		return a.answer(c, resp)
	}
	resp.Coordinators = make([]kmsg.FindCoordinatorResponseCoordinator, 0, len(req.CoordinatorKeys))
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, a.coordinator(c, img, req.CoordinatorType, key))
	}
	return a.answer(c, resp)
}

// coordinatorMessage is Kafka's text of a code.
func coordinatorMessage(code kafka.Code) string {
	switch code {
	case kafka.CoordinatorNotAvailable:
		return "The coordinator is not available."
	case kafka.InvalidRequest:
		return malformedText
	}
	return code.Error()
}

// coordinator finds one.
func (a *API) coordinator(c *call.Call, img *image.Image, kind int8, key string) kmsg.FindCoordinatorResponseCoordinator {
	r := kmsg.NewFindCoordinatorResponseCoordinator()
	r.Key, r.NodeID, r.Port, r.ErrorMessage = key, int32(kafka.NoNode), -1, kmsg.StringPtr("")
	switch kind {
	case coordinatorGroup:
	case coordinatorTransaction:
		r.ErrorCode = int16(kafka.CoordinatorNotAvailable)
		return r
	case coordinatorShare:
		r.ErrorCode = int16(kafka.CoordinatorNotAvailable)
		if c.Version < shareFrom || !isShareKey(key) {
			r.ErrorCode = int16(kafka.InvalidRequest)
		}
		return r
	default:
		r.ErrorCode, r.ErrorMessage = int16(kafka.InvalidRequest), kmsg.StringPtr(coordinatorMessage(kafka.InvalidRequest))
		return r
	}
	topic := img.Topic(kafka.OffsetsTopic)
	if topic == nil {
		a.autoCreate(requester(c), []string{kafka.OffsetsTopic})
		r.ErrorCode = int16(kafka.CoordinatorNotAvailable)
		return r
	}
	v := view{img: img, listener: c.Conn.Listener.Name}
	if p := topic.Partition(shard.PartitionOf(key, topic.PartitionCount())); p != nil {
		if host, port, ok := v.endpoint(p.Leader); ok {
			r.NodeID, r.Host, r.Port = int32(p.Leader), host, port
			return r
		}
	}
	r.ErrorCode = int16(kafka.CoordinatorNotAvailable)
	return r
}

// isShareKey reports whether a key names a share group's partition,
// group:topic id:partition. The group may hold colons, the id its padding.
func isShareKey(key string) bool {
	at := strings.LastIndexByte(key, ':')
	if at < 0 {
		return false
	}
	group, partition := key[:at], key[at+1:]
	if at = strings.LastIndexByte(group, ':'); at < 0 {
		return false
	}
	group, topic := group[:at], group[at+1:]
	id, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(topic, "="))
	if err != nil || len(id) != len(kafka.TopicID{}) || len(topic) > 24 {
		return false
	}
	_, err = strconv.ParseInt(partition, 10, 32)
	return err == nil && strings.TrimSpace(group) != ""
}

// offsetsTopic fills in what __consumer_offsets is created with.
func (a *API) offsetsTopic(t *kmsg.CreateTopicsRequestTopic) {
	c, img := a.d.Config, a.image()
	controllers := 0
	for range img.Controllers() {
		controllers++
	}
	t.NumPartitions = c.Int(config.OffsetsTopicNumPartitions)
	t.ReplicationFactor = c.InternalReplicationFactor(config.OffsetsTopicReplicationFactor, img.BrokerCount(), controllers)
	for _, set := range [][2]string{
		{"cleanup.policy", "compact"},
		{"compression.type", "producer"},
		{"segment.bytes", strconv.Itoa(int(c.Int(config.OffsetsTopicSegmentBytes)))},
	} {
		conf := kmsg.NewCreateTopicsRequestTopicConfig()
		conf.Name, conf.Value = set[0], kmsg.StringPtr(set[1])
		t.Configs = append(t.Configs, conf)
	}
}
