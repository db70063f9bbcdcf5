// SPDX-License-Identifier: Apache-2.0

// Package fetch reads stretches of partitions from a cluster. It promises
// that each record of a stretch is given once, in the order of its partition,
// that the end of a stretch is found even where it holds no record, and that a
// record of an aborted transaction is never given to who wants committed ones.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/record"
)

// Stretch is what to read of one partition: from Next up to, and without, To;
// with To below zero for ever.
type Stretch struct {
	Topic     string
	Partition int32
	Next, To  int64
}

// Sink takes what is read. Its errors end the reading.
type Sink interface {
	// Record takes a record, whose bytes stay only until it returns.
	Record(*record.Record) error
	// Pause says that nothing more is there at once.
	Pause() error
}

// Options of a Reader.
type Options struct {
	Committed bool          // leave records of open and aborted transactions out
	Timeout   time.Duration // how long a partition with an end may give nothing
	Note      func(string)  // hears what the user should know
}

// Reader reads with fetches of its own rather than with a consumer, since a
// consumer does not say how far it has come:
//
//	leaders → round: one Fetch to each → pieces (whole batches, next offset) → cursor: records
//
// A consumer tells of records only; where compaction or an aborted transaction
// took the last ones of a stretch, its end would never come. A round runs
// ahead of the decoding by two pieces a stretch.
//
// Each partition keeps two positions. fetchAt belongs to whoever fetches and
// moves by batches; Stretch.Next belongs to whoever decodes and moves by
// records, and nothing below it is given again, whatever is fetched twice.
type Reader struct {
	client *kgo.Client
	o      Options
	now    func() time.Time
	// What it asks the cluster, so that a test can answer: one fetch of what a
	// broker leads, the leaders of partitions, and the offset of the record with
	// the latest timestamp.
	ask    func(ctx context.Context, group []*cursor, waitMs int32, emit func(piece)) (trouble, err error)
	lead   func(context.Context, []*cursor) error
	newest func(ctx context.Context, topic string, partition int32) (int64, error)
}

// NewReader reads through client.
func NewReader(client *kgo.Client, o Options) *Reader {
	if o.Note == nil {
		o.Note = func(string) {}
	}
	r := &Reader{client: client, o: o, now: time.Now}
	r.ask, r.lead, r.newest = r.fetch, r.leaders, r.newestOffset
	return r
}

// PartitionError says which partition cannot be read.
type PartitionError struct {
	Topic     string
	Partition int32
	Err       error
}

func (e *PartitionError) Error() string { return fmt.Sprintf("partition %d: %v", e.Partition, e.Err) }
func (e *PartitionError) Unwrap() error { return e.Err }

// ErrSilent is wrapped when no broker answered for longer than the timeout.
var ErrSilent = errors.New("the broker does not answer any more")

// errWithheld says that a record is there and is not given.
var errWithheld = errors.New("the broker gives nothing, though there is more")

// errEnds says that records which were there are not there any more.
var errEnds = errors.New("it ends before the offset that it had when the command began")

// ByPartition reads one stretch after the other. The same stretches of the
// same records give the same sequence.
func (r *Reader) ByPartition(ctx context.Context, stretches []Stretch, sink Sink) error {
	cursors, err := r.cursors(ctx, stretches)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pieces := make(chan piece, piecesAhead)
	go func() {
		defer close(pieces)
		for _, c := range cursors {
			if err := r.pump(ctx, []*cursor{c}, pieces); err != nil {
				send(ctx, pieces, piece{err: err})
				return
			}
		}
	}()
	return r.drain(ctx, pieces, sink)
}

// piecesAhead are fetched answers that wait for the decoding.
const piecesAhead = 2

// Follow reads all stretches at once, in the order in which records arrive.
// Partitions that a topic gets later are read too where grow says so. It ends
// with the context, an error, or when all stretches have an end and reached it.
func (r *Reader) Follow(ctx context.Context, stretches []Stretch, grow bool, sink Sink) error {
	cursors, err := r.cursors(ctx, stretches)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pieces := make(chan piece, piecesAhead)
	pumps := newCrew()
	start := func(list []*cursor) {
		pumps.add(func() {
			if err := r.pump(ctx, list, pieces); err != nil {
				send(ctx, pieces, piece{err: err})
			}
		})
	}
	for _, list := range byLeader(cursors) {
		start(list)
	}
	if grow {
		pumps.add(func() {
			if err := r.grow(ctx, cursors, start); err != nil {
				send(ctx, pieces, piece{err: err})
			}
		})
	}
	go func() {
		pumps.wait()
		close(pieces)
	}()
	return r.drain(ctx, pieces, sink)
}

// drain decodes pieces until there are no more.
func (r *Reader) drain(ctx context.Context, pieces <-chan piece, sink Sink) error {
	var d decoder
	for {
		var p piece
		var more bool
		select {
		case p, more = <-pieces:
		default:
			if err := sink.Pause(); err != nil {
				return err
			}
			select {
			case p, more = <-pieces:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case !more:
			return sink.Pause()
		case p.err != nil:
			return p.err
		}
		p.cursor.take(p)
		for {
			rec, err := p.cursor.next(&d, r.o.Committed)
			if err != nil {
				return p.cursor.failed(err)
			}
			if rec == nil {
				break
			}
			if err := sink.Record(rec); err != nil {
				return err
			}
		}
	}
}

// send gives up when nobody reads any more.
func send(ctx context.Context, to chan<- piece, p piece) {
	select {
	case to <- p:
	case <-ctx.Done():
	}
}

// pump fetches until all cursors have reached their ends.
func (r *Reader) pump(ctx context.Context, cursors []*cursor, out chan<- piece) error {
	wait := patience{r: r}
	for {
		left := cursors[:0:0]
		for _, c := range cursors {
			if !c.fetched() {
				left = append(left, c)
			}
		}
		if cursors = left; len(cursors) == 0 {
			return nil
		}
		err := r.round(ctx, cursors, &wait, func(p piece) { send(ctx, out, p) })
		if err != nil {
			return err
		}
	}
}

// growEvery is how often topics are asked for new partitions.
const growEvery = time.Second

// grow looks for partitions that were not there before.
func (r *Reader) grow(ctx context.Context, cursors []*cursor, start func([]*cursor)) error {
	known := map[string]map[int32]bool{}
	for _, c := range cursors {
		if known[c.Topic] == nil {
			known[c.Topic] = map[int32]bool{}
		}
		known[c.Topic][c.Partition] = true
	}
	tick := time.NewTicker(growEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		details, err := r.topics(ctx, cursors)
		if err != nil {
			continue // the pumps say so if it lasts
		}
		for _, t := range details.Sorted() {
			for _, p := range t.Partitions.Sorted() {
				if t.Err != nil || p.Err != nil || known[t.Topic][p.Partition] {
					continue
				}
				known[t.Topic][p.Partition] = true
				start([]*cursor{{Stretch: Stretch{t.Topic, p.Partition, 0, -1}, id: t.ID, leader: p.Leader, asks: partitionBytes}})
			}
		}
	}
}

// gone finds the errors after which asking again cannot help.
func gone(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) ||
		errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedVersion)
}
