// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/binary"
	"errors"
)

// errSubscription is the error of bytes that are no consumer subscription.
var errSubscription = errors.New("malformed consumer subscription")

// subscribedTopics reads the topics out of the metadata of a member of protocol
// type "consumer" (ConsumerProtocolSubscription, versions 0-3; of a newer one
// the known front is read, as Kafka does). The rest is walked over too: what
// Kafka could not read, it does not half believe. Memory is that of the topics
// that are there, whatever a count claims.
func subscribedTopics(b []byte, each func(topic string)) error {
	r := walker{b: b}
	version := r.int16()
	if r.failed || version < 0 {
		return errSubscription
	}
	var topics []string
	for range r.count(2) {
		topics = append(topics, string(r.take(int(r.int16()))))
		if r.failed {
			return errSubscription
		}
	}
	r.nullable(int(r.int32())) // user data
	if version >= 1 {
		for range r.count(6) { // owned partitions
			r.take(int(r.int16()))
			for range r.count(4) {
				r.int32()
			}
			if r.failed {
				return errSubscription
			}
		}
	}
	if version >= 2 {
		r.int32() // generation
	}
	if version >= 3 {
		r.nullable(int(r.int16())) // rack
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

func (r *walker) nullable(n int) {
	if n != -1 {
		r.take(n)
	}
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
