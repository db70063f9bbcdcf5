// SPDX-License-Identifier: Apache-2.0

package group

import (
	"iter"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
)

// Token names who waits for a reply; 0 is nobody.
type Token uint64

// Caller is who sends a request.
type Caller struct {
	ClientID string
	// ClientHost is the address as Kafka shows it: "/192.0.2.1".
	ClientHost string
}

// Reply is the answer to a request. It is of the request's version.
type Reply struct {
	To       Token
	Response kmsg.Response
}

// Transaction is that of a producer whose offsets are committed in it.
type Transaction struct {
	ProducerID    kafka.ProducerID
	ProducerEpoch kafka.ProducerEpoch
}

// Out is what comes of one event: records to append as one atomic batch, and
// replies that may leave once they are committed. No event gives more than fits
// into a batch (Options.RecordsBytesMax): one that would is refused before it
// changes anything, or goes on with the next Tick. Otherwise one client's
// request that cannot be appended would cost all groups of the partition a load.
type Out struct {
	Records []grouprec.Record
	// Transaction says that the records are to stand in a transactional batch.
	Transaction *Transaction
	Replies     []Reply
	// Matching are to be run beside the lane, and then given to Groups.Matched.
	Matching []*Matching
	bytes    int // of Records, as a batch holds them
}

// Reset empties o for the next event; its memory is kept.
func (o *Out) Reset() {
	clear(o.Records)
	clear(o.Replies)
	clear(o.Matching)
	o.Matching = o.Matching[:0]
	o.Records, o.Replies, o.Transaction = o.Records[:0], o.Replies[:0], nil
	o.bytes = 0
}

// recordOverhead is more than a record of a batch has beside key and value.
const recordOverhead = 32

func sizeOf(rec grouprec.Record) int { return len(rec.Key) + len(rec.Value) + recordOverhead }

func (o *Out) add(rec grouprec.Record) {
	o.Records = append(o.Records, rec)
	o.bytes += sizeOf(rec)
}

func (o *Out) reply(to Token, resp kmsg.Response) {
	if o != nil && to != 0 {
		o.Replies = append(o.Replies, Reply{To: to, Response: resp})
	}
}

// Origin is where a record of the log stands.
type Origin struct {
	Offset        kafka.Offset
	TimestampMs   int64
	ProducerID    kafka.ProducerID
	ProducerEpoch kafka.ProducerEpoch
	Transactional bool
}

// DeletedTopic is a topic that is no more.
type DeletedTopic struct {
	Name string
	ID   kafka.TopicID
}

// TopicsChange is how a view of the topics differs from the one before.
type TopicsChange struct {
	// Names are those of topics that came, grew, moved or went; nil: perhaps of all.
	Names   []string
	Created bool // there are topics that were not there
	Deleted []DeletedTopic
}

// Topics is a view of the metadata that does not change while it is in use.
type Topics interface {
	Topic(name string) (id kafka.TopicID, partitions int32, ok bool)
	TopicName(id kafka.TopicID) (name string, ok bool)
	// Racks are those of a partition's replicas that have one, in a slice of the caller's own.
	Racks(name string, p kafka.PartitionID) []string
	// Names are those of all topics.
	Names() iter.Seq[string]
	// Version grows with every view that is newer.
	Version() int64
}
