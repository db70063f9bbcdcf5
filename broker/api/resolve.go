// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/replica"
	"gregor/wire/frame"
)

// switchingMax is how long a request waits for partitions that the image gives
// to this broker but that are still switching.
const switchingMax = time.Second

// namesMax bounds the topic names that a connection remembers.
const namesMax = 1 << 12

// intern gives the string of a name without allocating it anew for each
// request. Only names of topics are remembered, and in the image's own memory:
// a peer can make up any number of others.
func (s *state) intern(img *image.Image, name []byte) string {
	if n, ok := s.names[string(name)]; ok {
		return n
	}
	t := img.Topic(string(name))
	if t == nil {
		return string(name)
	}
	if s.names == nil || len(s.names) >= namesMax {
		s.names = make(map[string]string)
	}
	s.names[t.Name] = t.Name
	return t.Name
}

// patience bounds how long one request waits for partitions that are
// switching, however many there are. The zero value is fresh.
type patience struct{ until time.Time }

// settle waits for p, if it is switching and there is patience left.
func (a *API) settle(p *replica.Partition, left *patience) {
	if p.Switching() == nil {
		return
	}
	now := a.d.Now()
	if left.until.IsZero() {
		left.until = now.Add(switchingMax)
	}
	if wait := left.until.Sub(now); wait > 0 {
		p.Settled(wait)
	}
}

// partition finds the replica of a partition on this broker.
func (a *API) partition(t *image.Topic, id kafka.PartitionID, left *patience) (*replica.Partition, error) {
	p := a.d.Table.Get(t.ID, id)
	if p != nil {
		a.settle(p, left)
		return p, nil
	}
	// What the image gives to this broker is in the table before the image is
	// here; what is not any more has just been deleted.
	if part := t.Partition(id); part == nil || part.Leader == a.d.NodeID {
		return nil, kafka.UnknownTopicOrPartition
	}
	return nil, kafka.NotLeaderForPartition
}

// partitionOf finds the replica of a partition of a topic that a request names.
func (a *API) partitionOf(topic string, id int32, left *patience) (*replica.Partition, error) {
	t := a.image().Topic(topic)
	if t == nil {
		return nil, kafka.UnknownTopicOrPartition
	}
	return a.partition(t, kafka.PartitionID(id), left)
}

// leader is what a client that came to the wrong broker is told (KIP-951): the
// leader by the image, and where to reach it.
func (a *API) leader(listener string, topic kafka.TopicID, id kafka.PartitionID) (node kafka.NodeID, epoch kafka.LeaderEpoch, at frame.NodeEndpoint, known bool) {
	img := a.image()
	p := img.Partition(kafka.TopicIDPartition{TopicID: topic, Partition: id})
	if p == nil {
		return kafka.NoNode, kafka.NoLeaderEpoch, at, false
	}
	v := view{img: img, listener: listener}
	host, port, ok := v.endpoint(p.Leader)
	if !ok {
		return p.Leader, p.LeaderEpoch, at, false
	}
	at = frame.NodeEndpoint{NodeID: p.Leader, Host: host, Port: port}
	if b := img.Broker(p.Leader); b.Rack != nil {
		at.Rack = *b.Rack
	}
	return p.Leader, p.LeaderEpoch, at, true
}

// addEndpoint adds an endpoint unless it is there.
func addEndpoint(list []frame.NodeEndpoint, e frame.NodeEndpoint) []frame.NodeEndpoint {
	for i := range list {
		if list[i].NodeID == e.NodeID {
			return list
		}
	}
	return append(list, e)
}
