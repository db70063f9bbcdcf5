// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/binary"
	"errors"
)

// errSubscription is the error of bytes that are no consumer subscription.
var errSubscription = errors.New("malformed consumer subscription")

// errUserData is why a group with a custom assignor stays classic: what its
// leader told the members would be lost.
var errUserData = errors.New("the assignment holds data of a custom assignor")

// assignmentVersionMax is the newest version of ConsumerProtocolAssignment.
const assignmentVersionMax = 3

// consumerSubscription is what a member of protocol type "consumer" says in its
// metadata (ConsumerProtocolSubscription, versions 0-3).
type consumerSubscription struct {
	topics []string
	owned  []namedPartitions
	rack   string
}

type namedPartitions struct {
	topic      string
	partitions []int32
}

// parseSubscription reads metadata; of a newer version the known front, as Kafka
// does. The rest is walked over too: what Kafka could not read, it does not half
// believe. Memory is that of what is there, whatever a count claims.
func parseSubscription(b []byte) (consumerSubscription, error) {
	var s consumerSubscription
	r := walker{b: b}
	version := r.int16()
	if r.failed || version < 0 {
		return s, errSubscription
	}
	s.topics = r.topics()
	r.nullable(int(r.int32())) // user data
	if version >= 1 {
		s.owned = r.partitions()
	}
	if version >= 2 {
		r.int32() // generation
	}
	if version >= 3 {
		s.rack = string(r.nullable(int(r.int16())))
	}
	if r.failed {
		return s, errSubscription
	}
	return s, nil
}

// parseAssignment reads a ConsumerProtocolAssignment; no bytes are no partitions.
func parseAssignment(b []byte) (assigned []namedPartitions, userData bool, err error) {
	if len(b) == 0 {
		return nil, false, nil
	}
	r := walker{b: b}
	version := r.int16()
	assigned = r.partitions()
	userData = len(r.nullable(int(r.int32()))) != 0
	if r.failed || version < 0 {
		return nil, false, errSubscription
	}
	return assigned, userData, nil
}

// subscribedTopics visits the topics of metadata, if what version 0 has of it
// can be read. Of what is behind that, and of the version, nothing is asked: as
// Kafka, the coordinator of a classic group needs no more.
func subscribedTopics(b []byte, each func(topic string)) error {
	r := walker{b: b}
	r.int16() // version
	topics := r.topics()
	if n := r.int32(); n > 0 { // user data; any negative length is none
		r.take(int(n))
	}
	if r.failed {
		return errSubscription
	}
	for _, topic := range topics {
		each(topic)
	}
	return nil
}

// walker reads big-endian fields and remembers that there were too few bytes.
type walker struct {
	b      []byte
	failed bool
}

func (r *walker) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.failed = true
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *walker) nullable(n int) []byte {
	if n == -1 {
		return nil
	}
	return r.take(n)
}

// topics reads an array of names.
func (r *walker) topics() (all []string) {
	for range r.count(2) {
		topic := string(r.take(int(r.int16())))
		if r.failed {
			return nil
		}
		all = append(all, topic)
	}
	return all
}

// partitions reads an array of topics with their partitions.
func (r *walker) partitions() []namedPartitions {
	var all []namedPartitions
	for range r.count(6) {
		t := namedPartitions{topic: string(r.take(int(r.int16())))}
		for range r.count(4) {
			t.partitions = append(t.partitions, r.int32())
		}
		if r.failed {
			return nil
		}
		all = append(all, t)
	}
	return all
}

func (r *walker) int16() int16 {
	if b := r.take(2); !r.failed {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *walker) int32() int32 {
	if b := r.take(4); !r.failed {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

// count reads the length of an array whose elements take at least size bytes.
func (r *walker) count(size int) int {
	n := int(r.int32())
	if r.failed || n < 0 || n > len(r.b)/size {
		r.failed = true
		return 0
	}
	return n
}
