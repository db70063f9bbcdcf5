// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

const (
	clusterMetadataTopic = "__cluster_metadata"
	topicNameBytesMax    = 249
	topicNameCharacters  = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
)

// createTopics: CreateTopics v2–7. Each topic stands for itself: one that is
// refused does not keep the others from being created. From v5 on the response
// holds all configs of the new topics, from v7 on their ids.
func createTopics(img *image.Image, env *Env, req *kmsg.CreateTopicsRequest) Outcome {
	c := creation{
		view: view{img, env}, req: req, resp: req.ResponseKind().(*kmsg.CreateTopicsResponse),
		random: &random{from: env.Random}, names: map[string]string{},
	}
	seen := map[string]int{}
	for i := range req.Topics {
		seen[req.Topics[i].Topic]++
	}
	if why := c.checkPartitionCount(); why != nil {
		return c.refuseAll(why)
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		if seen[t.Topic] == 1 && t.Topic != clusterMetadataTopic {
			c.add(t)
		}
	}
	for i := range req.Topics {
		switch name := req.Topics[i].Topic; {
		case seen[name] > 1:
			seen[name] = 0
			c.answer(name, refuse(kafka.InvalidRequest, "Duplicate topic name."))
		case seen[name] == 1 && name == clusterMetadataTopic:
			c.answer(name, refuse(kafka.InvalidRequest, "Creation of internal topic %s is prohibited.", name))
		}
	}
	if len(c.recs) > env.Config.RecordsMax {
		return c.refuseAll(refuse(kafka.PolicyViolation, "Unable to perform excessively large batch operation."))
	}
	if req.ValidateOnly {
		c.recs = nil
	}
	c.resp.ThrottleMillis = c.throttleMs()
	return Outcome{Records: c.recs, Atomic: true, Response: c.resp}
}

// creation is one CreateTopics request under way.
type creation struct {
	view
	req    *kmsg.CreateTopicsRequest
	resp   *kmsg.CreateTopicsResponse
	random *random
	recs   []metarec.Record
	names  map[string]string // created by this request, by unified name
}

func (c *creation) answer(name string, why *refusal) {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.ErrorCode, t.ErrorMessage = name, why.wire(), why.message()
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // null would say that they may not be told
	c.resp.Topics = append(c.resp.Topics, t)
}

func (c *creation) refuseAll(why *refusal) Outcome {
	c.resp.Topics = nil
	seen := map[string]bool{}
	for i := range c.req.Topics {
		if name := c.req.Topics[i].Topic; !seen[name] {
			seen[name] = true
			c.answer(name, why)
		}
	}
	c.resp.ThrottleMillis = c.throttleMs()
	return Outcome{Response: c.resp, Reason: why.text}
}

// checkPartitionCount bounds the work of a request before any of it is done.
func (c *creation) checkPartitionCount() *refusal {
	total := 0
	for i := range c.req.Topics {
		t := &c.req.Topics[i]
		switch {
		case len(t.ReplicaAssignment) != 0:
			total += len(t.ReplicaAssignment)
		case t.NumPartitions == -1:
			total += int(c.env.Config.NumPartitions)
		case t.NumPartitions > 0:
			total += int(t.NumPartitions)
		}
		if total > c.env.Config.RecordsMax {
			return refuse(kafka.PolicyViolation, "Excessively large number of partitions per request.")
		}
	}
	return nil
}

func (c *creation) add(t *kmsg.CreateTopicsRequestTopic) {
	if why := c.checkName(t.Topic); why != nil {
		c.answer(t.Topic, why)
		return
	}
	configs, why := c.configs(t)
	if why != nil {
		c.answer(t.Topic, why)
		return
	}
	parts, why := c.partitionsOf(t)
	if why != nil {
		c.answer(t.Topic, why)
		return
	}
	if why := c.charge(len(parts), c.req.Version >= strictCreateTopics); why != nil {
		c.answer(t.Topic, why)
		return
	}
	uuid, err := kafka.NewUUID(c.random.from)
	if err = errors.Join(err, c.random.err); err != nil {
		c.answer(t.Topic, refuse(kafka.UnknownServerError, "%v", err))
		return
	}
	id := kafka.TopicID(uuid)
	c.names[unified(t.Topic)] = t.Topic
	c.recs = append(c.recs, &metarec.Topic{Name: t.Topic, TopicID: id})
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		value := configs[key]
		c.recs = append(c.recs, &metarec.Config{ResourceType: int8(image.ResourceTopic), ResourceName: t.Topic, Name: key, Value: &value})
	}
	for i, p := range parts {
		p.TopicID, p.PartitionID = id, kafka.PartitionID(i)
		c.recs = append(c.recs, p)
	}
	c.created(t, id, parts, configs)
}

func (c *creation) created(t *kmsg.CreateTopicsRequestTopic, id kafka.TopicID, parts []*metarec.Partition, configs map[string]string) {
	r := kmsg.NewCreateTopicsResponseTopic()
	r.Topic, r.TopicID = t.Topic, id
	if c.env.MayDescribe != nil && !c.env.MayDescribe(t.Topic) {
		r.ConfigErrorCode = int16(kafka.TopicAuthorizationFailed)
		c.resp.Topics = append(c.resp.Topics, r)
		return
	}
	r.NumPartitions, r.ReplicationFactor = int32(len(parts)), int16(len(parts[0].Replicas))
	if c.env.DescribeTopicConfig != nil && c.req.GetVersion() >= 5 {
		for _, e := range c.env.DescribeTopicConfig(c.img, configs) {
			rc := kmsg.NewCreateTopicsResponseTopicConfig()
			rc.Name, rc.ReadOnly, rc.Source, rc.IsSensitive = e.Name, e.ReadOnly, e.Source, e.Sensitive
			if !e.Sensitive {
				rc.Value = e.Value
			}
			r.Configs = append(r.Configs, rc)
		}
	}
	c.resp.Topics = append(c.resp.Topics, r)
}

func (c *creation) checkName(name string) *refusal {
	if text := invalidTopicName(name); text != "" {
		return refuse(kafka.InvalidTopicException, "Topic name is invalid: %s", text)
	}
	if c.img.Topic(name) != nil {
		return refuse(kafka.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	other := colliding(c.img, "", name)
	if n, ok := c.names[unified(name)]; ok {
		other = n
	}
	if other != "" {
		return refuse(kafka.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}

// invalidTopicName says what is wrong with a name, "" if nothing.
func invalidTopicName(name string) string {
	switch {
	case name == "":
		return "the empty string is not allowed"
	case name == ".":
		return "'.' is not allowed"
	case name == "..":
		return "'..' is not allowed"
	case len(name) > topicNameBytesMax:
		return "the length of '" + name + "' is longer than the max allowed length 249"
	case strings.Trim(name, topicNameCharacters) != "" || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(topicNameCharacters, r) }):
		return "'" + name + "' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
	}
	return ""
}

func unified(name string) string { return strings.ReplaceAll(name, ".", "_") }

// colliding finds a topic whose name differs from prefix+rest at most in dots
// and underscores, which metrics names make equal; "" if there is none. It
// follows only prefixes that some topic has, so it needs no index.
func colliding(img *image.Image, prefix, rest string) string {
	i := strings.IndexAny(rest, "._")
	if i < 0 {
		if t := img.Topic(prefix + rest); t != nil && strings.ContainsAny(t.Name, "._") {
			return t.Name
		}
		return ""
	}
	for _, c := range []string{".", "_"} {
		p := prefix + rest[:i] + c
		for t := range img.TopicsFrom(p) {
			if strings.HasPrefix(t.Name, p) {
				if found := colliding(img, p, rest[i+1:]); found != "" {
					return found
				}
			}
			break
		}
	}
	return ""
}

// configs gives the overrides of a new topic.
func (c *creation) configs(t *kmsg.CreateTopicsRequestTopic) (map[string]string, *refusal) {
	configs := map[string]string{}
	var null []string
	for _, e := range t.Configs {
		if e.Value == nil {
			null = append(null, e.Name)
		} else {
			configs[e.Name] = *e.Value
		}
	}
	if len(null) != 0 {
		return nil, refuse(kafka.InvalidConfig, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	if c.env.ValidateTopicConfig == nil || len(configs) == 0 {
		return configs, nil
	}
	if err := c.env.ValidateTopicConfig(c.img, t.Topic, configs); err != nil {
		code, ok := kafka.CodeOf(err)
		if !ok {
			code = kafka.InvalidConfig
		}
		return nil, refuse(code, "%s", strings.TrimSuffix(err.Error(), ": "+code.String()))
	}
	return configs, nil
}

// partitionsOf gives the partitions of a new topic, by the request's assignment
// or by placement.
func (c *creation) partitionsOf(t *kmsg.CreateTopicsRequestTopic) ([]*metarec.Partition, *refusal) {
	switch {
	case len(t.ReplicaAssignment) != 0:
		return c.assigned(t)
	case t.ReplicationFactor < -1 || t.ReplicationFactor == 0:
		return nil, refuse(kafka.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case t.NumPartitions < -1 || t.NumPartitions == 0:
		return nil, refuse(kafka.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	count, factor := t.NumPartitions, t.ReplicationFactor
	if count == -1 {
		count = c.env.Config.NumPartitions
	}
	if factor == -1 {
		factor = c.env.Config.DefaultReplicationFactor
	}
	place := newPlacer(c.img, c.random)
	if why := place.check(int(factor)); why != nil {
		return nil, refuse(why.code, "Unable to replicate the partition %d time(s): %s", factor, why.text)
	}
	parts := make([]*metarec.Partition, count)
	for i := range parts {
		parts[i] = c.partition(place.place(int(factor)))
		if len(parts[i].ISR) == 0 {
			return nil, refuse(kafka.InvalidReplicationFactor,
				"Unable to replicate the partition %d time(s): All brokers are currently fenced or in controlled shutdown.", factor)
		}
	}
	return parts, nil
}

// partition is a new partition; its ISR are the active replicas.
func (v view) partition(replicas []kafka.NodeID) *metarec.Partition {
	p := &metarec.Partition{Replicas: replicas, Directories: v.directoriesFor(replicas), Leader: kafka.NoNode}
	for _, id := range replicas {
		if b := v.img.Broker(id); b != nil && b.Active() {
			p.ISR = append(p.ISR, id)
		}
	}
	if len(p.ISR) != 0 {
		p.Leader = p.ISR[0]
	}
	return p
}

func (c *creation) assigned(t *kmsg.CreateTopicsRequestTopic) ([]*metarec.Partition, *refusal) {
	if t.ReplicationFactor != -1 {
		return nil, refuse(kafka.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.NumPartitions != -1 {
		return nil, refuse(kafka.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	parts := make([]*metarec.Partition, len(t.ReplicaAssignment))
	seen := map[int32]bool{}
	factor := 0
	for _, a := range t.ReplicaAssignment {
		if seen[a.Partition] {
			return nil, refuse(kafka.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		seen[a.Partition] = true
		replicas, why := c.checkAssignment(a.Replicas, factor)
		if why != nil {
			return nil, why
		}
		factor = len(replicas)
		p := c.partition(replicas)
		if len(p.ISR) == 0 {
			return nil, refuse(kafka.InvalidReplicaAssignment,
				"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", a.Partition)
		}
		if a.Partition >= 0 && int(a.Partition) < len(parts) {
			parts[a.Partition] = p
		}
	}
	if slices.Contains(parts, nil) {
		return nil, refuse(kafka.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
	}
	return parts, nil
}

func (v view) checkAssignment(ids []int32, factor int) ([]kafka.NodeID, *refusal) {
	if len(ids) == 0 {
		return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	replicas := make([]kafka.NodeID, len(ids))
	for i, id := range ids {
		replicas[i] = kafka.NodeID(id)
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		b := v.img.Broker(id)
		switch {
		case b == nil:
			return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		case allCordoned(b):
			return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but all its log directories are cordoned.", id)
		case i > 0 && sorted[i-1] == id:
			return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if factor != 0 && len(ids) != factor {
		return nil, refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), "+
			"but this is not consistent with previous partitions, which have %d replica(s).", len(ids), factor)
	}
	return replicas, nil
}
