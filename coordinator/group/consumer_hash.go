// SPDX-License-Identifier: Apache-2.0

package group

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"

	"github.com/zeebo/xxh3"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// metadataHash sums up the topics that a group reads, as Kafka does: a group
// whose hash is another than it was is assigned anew. It is Kafka's number, so
// that a group does not rebalance because its coordinator is another program.
func (g *Groups) metadataHash(names map[string]nameCount) int64 {
	var b []byte
	for _, name := range sortedKeys(names) {
		hash, ok := g.topicHashes[name]
		if !ok {
			if hash, ok = hashOf(g.topics, name); !ok {
				continue
			}
			g.topicHashes[name] = hash
		}
		b = binary.LittleEndian.AppendUint64(b, hash)
	}
	if len(b) == 0 {
		return 0
	}
	return int64(xxh3.Hash(b))
}

// hashOf is the hash of a topic as a view has it; false if it is not there.
func hashOf(topics Topics, name string) (uint64, bool) {
	id, partitions, ok := topics.Topic(name)
	if !ok {
		return 0, false
	}
	return topicHash(name, id, partitions, func(p kafka.PartitionID) []string { return topics.Racks(name, p) }), true
}

// topicHash is over the id, the name, the number of partitions, and the racks of
// each partition's replicas.
func topicHash(name string, id kafka.TopicID, partitions int32, racks func(kafka.PartitionID) []string) uint64 {
	le := binary.LittleEndian
	b := make([]byte, 1, 64+8*int(partitions)) // a version, 0
	b = le.AppendUint64(b, binary.BigEndian.Uint64(id[:8]))
	b = le.AppendUint64(b, binary.BigEndian.Uint64(id[8:]))
	b = appendJavaString(b, name)
	b = le.AppendUint32(b, uint32(partitions))
	for p := range kafka.PartitionID(partitions) {
		b = le.AppendUint32(b, uint32(p))
		found := racks(p)
		slices.Sort(found)
		for _, rack := range found {
			at := len(b)
			b = appendJavaString(le.AppendUint32(b, 0), rack)
			copy(b[at:], b[len(b)-4:]) // its length, in front too
		}
	}
	return xxh3.Hash(b)
}

// appendJavaString appends a string's UTF-16 units and their number.
func appendJavaString(b []byte, s string) []byte {
	start := len(b)
	for _, r := range s {
		if r < 1<<16 {
			b = binary.LittleEndian.AppendUint16(b, uint16(r))
		} else {
			high, low := utf16.EncodeRune(r)
			b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(high)), uint16(low))
		}
	}
	return binary.LittleEndian.AppendUint32(b, uint32((len(b)-start)/2))
}

// dropLegacyMetadata deletes the record that the hash has replaced.
func (p *consumerPlan) dropLegacyMetadata() {
	p.del(&grouprec.ConsumerGroupPartitionMetadataKey{GroupID: p.c.id})
}
