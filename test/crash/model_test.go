// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"fmt"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/commitlog"
)

// record is one record of the model.
type record struct {
	value       string
	timestampMs int64
	epoch       kafka.LeaderEpoch
	batch       *sent
}

// sent is a batch as it was sent, for sending it again.
type sent struct {
	bytes    []byte
	epoch    kafka.ProducerEpoch
	sequence int32
	count    int32
	base     kafka.Offset
	// Of a transaction.
	producer kafka.ProducerID
	marker   bool
	commit   bool
}

// content is what a log holds: records from base on. Two contents may share
// their beginning, which is never changed.
type content struct {
	base    kafka.Offset
	records []record
}

func (c content) end() kafka.Offset { return c.base + kafka.Offset(len(c.records)) }

func (c content) at(off kafka.Offset) record { return c.records[off-c.base] }

func (c content) cut(off kafka.Offset) content {
	if off <= c.base {
		return content{base: off}
	}
	n := min(int(off-c.base), len(c.records))
	return content{base: c.base, records: c.records[:n:n]}
}

// from is what lies at off and behind it.
func (c content) from(off kafka.Offset) content {
	if off <= c.base {
		return c
	}
	n := min(int(off-c.base), len(c.records))
	return content{base: off, records: c.records[n:]}
}

func (c content) add(r record) content {
	c.records = append(slices.Clip(c.records), r)
	return c
}

// state is a partition as it should be.
type state struct {
	now     content
	start   kafka.Offset // log start
	durable kafka.Offset // end of what a power cut must leave
	// mayBeEmpty: a crash may leave an empty log that begins at an earlier log start.
	mayBeEmpty bool
}

// synced is the state once all of it is durable.
func (s state) synced() state {
	s.durable, s.mayBeEmpty = s.now.end(), false
	return s
}

// part is one partition of the model.
type part struct {
	tp     kafka.TopicPartition
	id     kafka.TopicID
	config commitlog.Config
	log    *commitlog.Log
	state
	// next is the state once the operation that runs now is done.
	next *state
	// leaving: a deletion runs, so the folder may be there or not.
	leaving bool

	epoch         kafka.LeaderEpoch
	produces      bool // by an idempotent producer
	transacts     bool // by several, in transactions
	producerEpoch kafka.ProducerEpoch
	sequence      int32 // of its next batch
}

func (p *part) targets() []state {
	if p.next == nil {
		return []state{p.state}
	}
	return []state{p.state, *p.next}
}

// found is what a restart found in a partition.
type found struct {
	start, end kafka.Offset
	records    []record // from start on
}

// judge says what is wrong with what a restart found, or nothing. It returns
// the content that was recognised.
func (p *part) judge(f found, killed, clean bool) (content, error) {
	targets := p.targets()
	least := targets[0].durable
	start := targets[0].start
	var possible []content
	for _, s := range targets {
		possible = append(possible, s.now)
		least, start = min(least, s.durable), max(start, s.start)
	}
	if killed || clean {
		least = targets[0].now.end()
		for _, s := range targets {
			least = min(least, s.now.end())
		}
	}
	for _, s := range targets {
		if s.mayBeEmpty && f.end == f.start && f.start <= s.start {
			return content{base: f.start}, nil
		}
	}
	if p.next != nil && p.next.mayBeEmpty {
		least = 0 // all of it is being removed, from the end
	}
	if f.end < least {
		return content{}, fmt.Errorf("ends at %d, %d was promised", f.end, least)
	}
	if f.start > start {
		return content{}, fmt.Errorf("starts at %d, its log start was never beyond %d", f.start, start)
	}
	var why error
	for _, c := range possible {
		if why = c.begins(f); why == nil {
			return c, nil
		}
	}
	return content{}, why
}

// begins reports whether what was found is a beginning of c.
func (c content) begins(f found) error {
	if f.end > c.end() {
		return fmt.Errorf("ends at %d, only %d records were written", f.end, c.end())
	}
	if int(f.end-f.start) != len(f.records) {
		return fmt.Errorf("%d records from %d to %d", len(f.records), f.start, f.end)
	}
	for i, got := range f.records {
		off := f.start + kafka.Offset(i)
		if off < c.base {
			return fmt.Errorf("offset %d is there, the log began at %d", off, c.base)
		}
		if want := c.at(off); got.value != want.value || got.epoch != want.epoch || got.timestampMs != want.timestampMs {
			return fmt.Errorf("offset %d holds %q of epoch %d, want %q of epoch %d", off, got.value, got.epoch, want.value, want.epoch)
		}
	}
	return nil
}
