// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/coordinator/grouprec"
	"gregor/wire/batch"
)

// recordOverhead is more than what a record needs beside its key and value.
const recordOverhead = 32

// appendBytesMax bounds what is gathered for one append.
const appendBytesMax = 8 << 20

// collect takes what an event gave: its records into the batch that is being
// built, its replies behind those that wait for the next append.
func (s *shard[M, O]) collect(nowMs int64) error {
	records, of, transactional := s.out.Records()
	if len(records) > 0 {
		if err := s.add(nowMs, records, of, transactional); err != nil {
			return err
		}
	}
	s.out.Replies(s.take)
	return nil
}

// reply takes one reply.
func (s *shard[M, O]) reply(to Token, resp kmsg.Response) bool {
	if t := s.tokens[to]; t != nil {
		delete(s.tokens, to)
		s.pending = append(s.pending, delivery{t, resp})
	}
	return true
}

// add puts the records of one event into one batch, whatever the limit: half
// of an event must not survive. Events share a batch as long as it stays below
// the limit; those of a transaction have their own.
func (s *shard[M, O]) add(nowMs int64, records []grouprec.Record, of Producer, transactional bool) error {
	size := 0
	for i := range records {
		size += len(records[i].Key) + len(records[i].Value) + recordOverhead
	}
	limit := s.log.BatchBytesMax() - batch.HeaderSize
	if s.batch.Count() > 0 && (transactional || s.bytes+size > limit) {
		if err := s.finish(); err != nil {
			return err
		}
	}
	if len(s.batches) >= appendBytesMax {
		if err := s.append(); err != nil {
			return err
		}
	}
	if s.batch.Count() == 0 {
		o := batch.NoProducer(0, s.epoch)
		o.Codec = s.of.o.Codec
		if transactional {
			o.Transactional, o.ProducerID, o.ProducerEpoch = true, of.ID, of.Epoch
		}
		s.batch.Begin(o)
		s.bytes = 0
	}
	for i := range records {
		s.batch.Add(nowMs, records[i].Key, records[i].Value)
	}
	s.bytes += size
	s.of.count.records.Add(int64(len(records)))
	if transactional {
		return s.finish()
	}
	return nil
}

// finish closes the batch that is being built.
func (s *shard[M, O]) finish() (err error) {
	if s.batch.Count() == 0 {
		return nil
	}
	c, done := s.coder()
	defer done()
	s.batches, err = s.batch.Finish(s.batches, c)
	s.batch.Begin(batch.Options{})
	s.bytes = 0
	if err != nil {
		return fmt.Errorf("build a batch: %w", err)
	}
	return nil
}

// flush appends what the events so far have given, and queues their replies.
func (s *shard[M, O]) flush() {
	if s.state != Active {
		return
	}
	err := s.finish()
	if err == nil {
		err = s.append()
	}
	if err != nil {
		s.of.o.Logger.Warn("records of a coordinator were not appended; its state is loaded again", "topic", s.of.o.Name, "partition", s.id, "err", err)
		s.fail(err)
		return
	}
	s.enqueue()
}

// keepBytes is what a shard keeps of its append buffer.
const keepBytes = 1 << 20

// append writes the finished batches.
func (s *shard[M, O]) append() error {
	if len(s.batches) == 0 {
		return nil
	}
	last, err := s.log.Append(s.batches, s.epoch)
	if s.batches = s.batches[:0]; cap(s.batches) > keepBytes {
		s.batches = nil
	}
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	s.of.count.appends.Add(1)
	s.last = last
	return nil
}

// refusal is what a client is told when records of a coordinator could not be
// written: Kafka's translation of the errors of an append.
func refusal(err error) kafka.Code {
	code, ok := kafka.CodeOf(err)
	if !ok {
		if errors.Is(err, errPanic) {
			return kafka.UnknownServerError
		}
		return kafka.CoordinatorNotAvailable
	}
	switch code {
	case kafka.UnknownTopicOrPartition, kafka.NotEnoughReplicas, kafka.RequestTimedOut:
		return kafka.CoordinatorNotAvailable
	case kafka.NotLeaderForPartition, kafka.KafkaStorageError:
		return kafka.NotCoordinator
	case kafka.MessageTooLarge, kafka.RecordListTooLarge:
		return kafka.UnknownServerError
	}
	return code
}
