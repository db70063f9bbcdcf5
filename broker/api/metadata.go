// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
	"gregor/config"
)

// Metadata, versions 0 to 13. Version 0 asks for all topics with an empty
// list, later ones with a null list. Only brokers that have the listener the
// client came in on are told. Topics that do not exist are created when broker
// and client both want it; the first answer still says that there is none, and
// the client asks again.

// Operations that Kafka names for topics and for the cluster, as bits.
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
)

func (a *API) handleMetadata(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.MetadataRequest)
	resp := kmsg.NewPtrMetadataResponse()
	if !validTopicNames(req, resp) {
		return a.answer(c, resp)
	}
	img := a.image()
	v := view{img: img, listener: c.Conn.Listener.Name, version: c.Version}
	resp.Brokers = v.brokers()
	resp.ClusterID = kmsg.StringPtr(a.d.ClusterID)
	resp.ControllerID = int32(v.anyBroker(a.d.NodeID))
	if req.IncludeClusterAuthorizedOperations && c.Version >= 8 && c.Version <= 10 {
		resp.AuthorizedOperations = clusterOperations
	}
	everything := req.Topics == nil || c.Version == 0 && len(req.Topics) == 0
	if everything {
		for t := range img.Topics() {
			resp.Topics = append(resp.Topics, v.topic(t))
		}
	} else {
		a.namedTopics(c, req, &v, resp)
	}
	if req.IncludeTopicAuthorizedOperations {
		for i := range resp.Topics {
			if resp.Topics[i].ErrorCode != int16(kafka.UnknownTopicID) {
				resp.Topics[i].AuthorizedOperations = topicOperations
			}
		}
	}
	return a.answer(c, resp)
}

// validTopicNames refuses ids and null names before version 12, which had them
// in the schema but not in the broker.
func validTopicNames(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse) bool {
	if req.Version >= 12 {
		return true
	}
	ok := true
	for i := range req.Topics {
		if req.Topics[i].Topic == nil || req.Topics[i].TopicID != [16]byte{} {
			ok = false
		}
	}
	if ok {
		return true
	}
	for i := range req.Topics {
		t := kmsg.NewMetadataResponseTopic()
		name := ""
		if req.Topics[i].Topic != nil {
			name = *req.Topics[i].Topic
		}
		t.ErrorCode, t.Topic, t.TopicID = int16(kafka.InvalidRequest), &name, req.Topics[i].TopicID
		resp.Topics = append(resp.Topics, t)
	}
	resp.ControllerID = int32(kafka.NoNode)
	return false
}

// namedTopics answers for the topics that the request names: by id, if any has
// one, else by name.
func (a *API) namedTopics(c *call.Call, req *kmsg.MetadataRequest, v *view, resp *kmsg.MetadataResponse) {
	byID := false
	for i := range req.Topics {
		byID = byID || req.Topics[i].TopicID != [16]byte{}
	}
	mayCreate := a.d.Config.Bool(config.AutoCreateTopicsEnable) && (req.AllowAutoTopicCreation || c.Version < 4)
	seen := make(map[string]bool, len(req.Topics))
	var missing []string
	for i := range req.Topics {
		asked := &req.Topics[i]
		if byID {
			id := kafka.TopicID(asked.TopicID)
			if id.IsZero() || seen[string(id[:])] {
				continue
			}
			seen[string(id[:])] = true
			if t := v.img.TopicByID(id); t != nil {
				resp.Topics = append(resp.Topics, v.topic(t))
			} else {
				resp.Topics = append(resp.Topics, failedTopic(nil, id, kafka.UnknownTopicID))
			}
			continue
		}
		if asked.Topic == nil || seen[*asked.Topic] {
			continue
		}
		name := *asked.Topic
		seen[name] = true
		switch t := v.img.Topic(name); {
		case t != nil:
			resp.Topics = append(resp.Topics, v.topic(t))
		case !validTopicName(name):
			resp.Topics = append(resp.Topics, failedTopic(&name, kafka.TopicID{}, kafka.InvalidTopicException))
		default:
			missing = append(missing, name)
			resp.Topics = append(resp.Topics, failedTopic(&name, kafka.TopicID{}, kafka.UnknownTopicOrPartition))
		}
	}
	if mayCreate && len(missing) > 0 {
		a.autoCreate(requester(c), missing)
	}
}

func failedTopic(name *string, id kafka.TopicID, code kafka.Code) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode = name, id, int16(code)
	t.IsInternal = name != nil && isInternal(*name)
	return t
}

// view is the metadata as one client sees it.
type view struct {
	img      *image.Image
	listener string
	version  int16
}

// endpoint is where the client reaches a broker; ok is false for brokers that
// are fenced or lack the client's listener.
func (v *view) endpoint(id kafka.NodeID) (host string, port int32, ok bool) {
	b := v.img.Broker(id)
	if b == nil || b.Fenced {
		return "", 0, false
	}
	e, ok := b.Endpoint(v.listener)
	return e.Host, int32(e.Port), ok
}

func (v *view) brokers() []kmsg.MetadataResponseBroker {
	var list []kmsg.MetadataResponseBroker
	for b := range v.img.Brokers() {
		host, port, ok := v.endpoint(b.BrokerID)
		if !ok {
			continue
		}
		r := kmsg.NewMetadataResponseBroker()
		r.NodeID, r.Host, r.Port, r.Rack = int32(b.BrokerID), host, port, b.Rack
		list = append(list, r)
	}
	return list
}

// anyBroker is what clients are told to be the controller: any live broker, as
// each passes on what only the controller can do.
func (v *view) anyBroker(self kafka.NodeID) kafka.NodeID {
	if _, _, ok := v.endpoint(self); ok {
		return self
	}
	for b := range v.img.Brokers() {
		if _, _, ok := v.endpoint(b.BrokerID); ok {
			return b.BrokerID
		}
	}
	return kafka.NoNode
}

func (v *view) topic(t *image.Topic) kmsg.MetadataResponseTopic {
	r := kmsg.NewMetadataResponseTopic()
	name := t.Name
	r.Topic, r.TopicID, r.IsInternal = &name, t.ID, isInternal(name)
	r.Partitions = make([]kmsg.MetadataResponseTopicPartition, 0, t.PartitionCount())
	for id, p := range t.Partitions() {
		r.Partitions = append(r.Partitions, v.partition(id, p))
	}
	return r
}

func (v *view) partition(id kafka.PartitionID, p *image.Partition) kmsg.MetadataResponseTopicPartition {
	r := kmsg.NewMetadataResponseTopicPartition()
	r.Partition, r.LeaderEpoch, r.Leader = int32(id), int32(p.LeaderEpoch), int32(p.Leader)
	for _, n := range p.Replicas {
		if !v.online(n, p) {
			r.OfflineReplicas = append(r.OfflineReplicas, int32(n))
		}
	}
	// Clients of version 0 are told of live replicas only.
	r.Replicas, r.ISR = v.nodes(p.Replicas), v.nodes(p.ISR)
	if _, _, ok := v.endpoint(p.Leader); !ok {
		r.Leader = int32(kafka.NoNode)
		r.ErrorCode = int16(kafka.LeaderNotAvailable)
		if v.img.Broker(p.Leader) != nil && v.version >= 6 {
			r.ErrorCode = int16(kafka.ListenerNotFound)
		}
	} else if len(r.Replicas) < len(p.Replicas) || len(r.ISR) < len(p.ISR) {
		r.ErrorCode = int16(kafka.ReplicaNotAvailable)
	}
	return r
}

func (v *view) nodes(ids []kafka.NodeID) []int32 {
	out := make([]int32, 0, len(ids))
	for _, id := range ids {
		if v.version == 0 {
			if _, _, ok := v.endpoint(id); !ok {
				continue
			}
		}
		out = append(out, int32(id))
	}
	return out
}

// online reports whether a replica's broker and directory are there.
func (v *view) online(id kafka.NodeID, p *image.Partition) bool {
	b := v.img.Broker(id)
	if b == nil || b.Fenced {
		return false
	}
	if _, ok := b.Endpoint(v.listener); !ok {
		return false
	}
	return b.HasDirectory(p.DirectoryOf(id))
}
