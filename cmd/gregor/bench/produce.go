// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// rawProduceVersion names topics by id, as current clients do.
	rawProduceVersion = 13
	// replyTimeout is how long a raw connection waits for one reply.
	replyTimeout = 30 * time.Second
	clientID     = "gregor-bench"
	// replyBytesMax bounds a Produce reply: one topic, one partition.
	replyBytesMax = 64 << 10
)

// ProduceRaw sends pre-encoded Produce frames, one batch of one partition
// each, with Window of them in flight on every connection.
func ProduceRaw(ctx context.Context, o Options) (*Result, error) {
	o, t, err := o.aim(ctx, true)
	if err != nil {
		return nil, err
	}
	return produceTo(ctx, o, t)
}

// produceTo is ProduceRaw once the target is known.
func produceTo(ctx context.Context, o Options, t *target) (*Result, error) {
	setDefault(&o.Acks, 1)
	batch, err := encodeBatch(o.BatchBytes, o.RecordBytes, o.Codec, time.Now())
	if err != nil {
		return nil, err
	}
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	lanes := t.deal(o.Connections)
	run := &produceRun{options: o, batch: batch}
	if o.Records > 0 {
		run.requestsMax = (o.Records + int64(batch.records) - 1) / int64(batch.records)
	}
	senders := make([]*sender, len(lanes))
	for i, lane := range lanes {
		if senders[i], err = run.connect(ctx, t, lane, i, len(lanes)); err != nil {
			return nil, err
		}
		defer senders[i].conn.Close()
	}
	before, err := readGauge(o.PID)
	if err != nil {
		return nil, err
	}
	run.began = before.at
	errs := make([]error, len(senders))
	var wait sync.WaitGroup
	for i, s := range senders {
		wait.Go(func() { errs[i] = s.drive(ctx) })
	}
	wait.Wait()
	after, err := readGauge(o.PID)
	if err := errors.Join(errors.Join(errs...), err); err != nil {
		return nil, err
	}
	return run.result(senders, before, after), nil
}

type produceRun struct {
	options     Options
	batch       encodedBatch
	requestsMax int64 // 0: no limit
	claimed     atomic.Int64
	began       time.Time
}

func (run *produceRun) result(senders []*sender, before, after gauge) *Result {
	latency := newHistogram()
	var requests int64
	for _, s := range senders {
		latency.Merge(s.latency)
		requests += s.acknowledged
	}
	r := &Result{
		Name: "produce raw", Requests: requests, Records: requests * int64(run.batch.records),
		Bytes: requests * int64(len(run.batch.bytes)), RecordBytes: requests * run.batch.recordBytes, Latency: summarize(latency),
	}
	r.addMemory(run.options.PID)
	return after.since(before, r).finish()
}

// sender is one connection: a writer that sends frames and a reader that takes
// the acknowledgements in; they share the queue of what is in flight.
type sender struct {
	run          *produceRun
	conn         net.Conn
	frames       [][]byte // one for each partition of the lane
	every        time.Duration
	offset       time.Duration
	inFlight     chan time.Time
	latency      *hdrhistogram.Histogram
	acknowledged int64
}

func (run *produceRun) connect(ctx context.Context, t *target, l lane, nth, of int) (*sender, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", l.leader)
	if err != nil {
		return nil, err
	}
	s := &sender{run: run, conn: conn, inFlight: make(chan time.Time, run.options.Window-1), latency: newHistogram()}
	for _, p := range l.partitions {
		s.frames = append(s.frames, produceFrame(t.topicID, p.index, run.options.Acks, run.batch.bytes))
	}
	if run.options.Rate > 0 {
		s.every = time.Duration(float64(run.batch.records) * float64(of) / run.options.Rate * float64(time.Second))
		s.offset = s.every * time.Duration(nth) / time.Duration(of)
	}
	return s, nil
}

// produceFrame is a whole Produce request with its size in front; bytes 8 to
// 11 are the correlation id.
func produceFrame(topicID [16]byte, partition int32, acks int16, batch []byte) []byte {
	request := kmsg.NewPtrProduceRequest()
	request.Version, request.Acks, request.TimeoutMillis = rawProduceVersion, acks, int32(replyTimeout/time.Millisecond)
	request.Topics = []kmsg.ProduceRequestTopic{{
		TopicID:    topicID,
		Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: batch}},
	}}
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, request, 0)
}

// drive sends until the load is done and waits for what is in flight.
func (s *sender) drive(ctx context.Context) error {
	received := make(chan error, 1)
	go func() {
		err := s.receive()
		if err != nil {
			_ = s.conn.Close() // a writer that is stuck has to hear of it
		}
		for range s.inFlight { // let the writer go
		}
		received <- err
	}()
	sent := s.send(ctx)
	close(s.inFlight)
	return errors.Join(<-received, sent)
}

func (s *sender) send(ctx context.Context) error {
	until, bounded := ctx.Deadline()
	for i := 0; ctx.Err() == nil; i++ {
		if limit := s.run.requestsMax; limit > 0 && s.run.claimed.Add(1) > limit {
			return nil
		}
		intended := time.Now()
		if s.every > 0 {
			intended = s.run.began.Add(s.offset + time.Duration(i)*s.every)
			if wait := time.Until(intended); wait > 0 {
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(wait):
				}
			}
			if bounded && intended.After(until) {
				return nil // even where the context ends late
			}
		}
		s.inFlight <- intended
		frame := s.frames[i%len(s.frames)]
		binary.BigEndian.PutUint32(frame[8:], uint32(i))
		if _, err := s.conn.Write(frame); err != nil {
			return fmt.Errorf("write request %d: %w", i, err)
		}
	}
	return nil
}

func (s *sender) receive() error {
	in := bufio.NewReaderSize(s.conn, 4096)
	reply := make([]byte, 0, 256)
	correlation := uint32(0)
	for intended := range s.inFlight {
		_ = s.conn.SetReadDeadline(time.Now().Add(replyTimeout))
		var err error
		if reply, err = readReply(in, reply, correlation); err != nil {
			return fmt.Errorf("reply %d: %w", correlation, err)
		}
		if err := produceError(reply); err != nil {
			return fmt.Errorf("reply %d: %w", correlation, err)
		}
		record(s.latency, time.Since(intended).Microseconds())
		s.acknowledged++
		correlation++
	}
	return nil
}

var errReply = errors.New("malformed reply")

// readReply reads one small reply into dst and checks whose it is.
func readReply(in *bufio.Reader, dst []byte, correlation uint32) ([]byte, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(in, prefix[:]); err != nil {
		return dst, err
	}
	size := int(binary.BigEndian.Uint32(prefix[:]))
	if size < 5 || size > replyBytesMax {
		return dst, fmt.Errorf("%w: %d bytes", errReply, size)
	}
	if cap(dst) < size {
		dst = make([]byte, size)
	}
	dst = dst[:size]
	if _, err := io.ReadFull(in, dst); err != nil {
		return dst, err
	}
	if got := binary.BigEndian.Uint32(dst); got != correlation {
		return dst, fmt.Errorf("%w: correlation id %d", errReply, got)
	}
	return dst, nil
}

// produceError finds the one error code in a Produce reply of one topic and
// one partition: correlation id 4, tags 1, topics 1, topic id 16, partitions 1,
// index 4, then the code.
func produceError(reply []byte) error {
	const at = 4 + 1 + 1 + 16 + 1 + 4
	if len(reply) < at+2 || reply[5] != 2 || reply[22] != 2 {
		return errReply
	}
	return kerr.ErrorForCode(int16(binary.BigEndian.Uint16(reply[at:])))
}
