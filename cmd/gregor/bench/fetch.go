// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// rawFetchVersion names topics by id and knows no later additions.
	rawFetchVersion = 13
	fetchMaxWait    = 500 * time.Millisecond
	// fetchTotalBytesMax is what clients ask for as a rule: 50 MiB.
	fetchTotalBytesMax = 50 << 20
	// drainBytes is the piece in which payload is taken from the socket.
	drainBytes = 256 << 10
)

// FetchRaw reads the topic and discards what it reads: batch headers are
// looked at for the next offset, payload is not. A partition that is read to
// its end starts again, so that a load may be larger than the log.
func FetchRaw(ctx context.Context, o Options) (*Result, error) {
	o, t, err := o.aim(ctx, false)
	if err != nil {
		return nil, err
	}
	records := int64(0)
	for _, p := range t.partitions {
		records += p.end - p.start
	}
	if records == 0 {
		return nil, fmt.Errorf("topic %s is empty", o.Topic)
	}
	return fetchFrom(ctx, o, t)
}

// fetchFrom is FetchRaw once the target is known.
func fetchFrom(ctx context.Context, o Options, t *target) (*Result, error) {
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	run := &fetchRun{options: o, topicID: t.topicID}
	var drains []*drain
	for _, l := range t.deal(o.Connections) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", l.leader)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		d := &drain{run: run, conn: conn, in: bufio.NewReaderSize(conn, drainBytes), latency: newHistogram()}
		for _, p := range l.partitions {
			if p.end > p.start {
				d.partitions = append(d.partitions, p)
				d.next = append(d.next, p.start)
			}
		}
		drains = append(drains, d)
	}
	before, err := readGauge(o.PID)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(drains))
	var wait sync.WaitGroup
	for i, d := range drains {
		wait.Go(func() { errs[i] = d.drive(ctx) })
	}
	wait.Wait()
	after, err := readGauge(o.PID)
	if err := errors.Join(errors.Join(errs...), err); err != nil {
		return nil, err
	}
	latency := newHistogram()
	r := &Result{Name: "consume raw"}
	for _, d := range drains {
		latency.Merge(d.latency)
		r.Requests += d.requests
		r.Records += d.records
		r.Bytes += d.bytes
	}
	r.RecordBytes = r.Records * int64(o.RecordBytes)
	r.Latency = summarize(latency)
	r.addMemory(o.PID)
	return after.since(before, r).finish(), nil
}

type fetchRun struct {
	options Options
	topicID [16]byte
	records atomic.Int64 // of all connections
}

func (run *fetchRun) done(ctx context.Context) bool {
	return ctx.Err() != nil || run.options.Records > 0 && run.records.Load() >= run.options.Records
}

// drain is one connection with one request in flight.
type drain struct {
	run        *fetchRun
	conn       net.Conn
	in         *bufio.Reader
	left       int // bytes of the current reply not yet read
	partitions []partition
	next       []int64
	first      int // the partition named first: they take turns
	latency    *hdrhistogram.Histogram

	requests, records, bytes int64
}

func (d *drain) drive(ctx context.Context) error {
	if len(d.partitions) == 0 {
		return nil
	}
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID))
	request := d.request()
	var frame []byte
	for correlation := int32(0); !d.run.done(ctx); correlation++ {
		topic := &request.Topics[0]
		for i := range topic.Partitions {
			at := (d.first + i) % len(d.partitions)
			topic.Partitions[i].Partition, topic.Partitions[i].FetchOffset = d.partitions[at].index, d.next[at]
		}
		frame = formatter.AppendRequest(frame[:0], request, correlation)
		sent := time.Now()
		_ = d.conn.SetDeadline(sent.Add(replyTimeout))
		if _, err := d.conn.Write(frame); err != nil {
			return err
		}
		records := d.records
		if err := d.reply(uint32(correlation)); err != nil {
			return fmt.Errorf("fetch reply %d: %w", correlation, err)
		}
		record(d.latency, time.Since(sent).Microseconds())
		d.requests++
		d.run.records.Add(d.records - records)
		d.first = (d.first + 1) % len(d.partitions)
	}
	return nil
}

func (d *drain) request() *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.Version = rawFetchVersion
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = int32(fetchMaxWait/time.Millisecond), 1, fetchTotalBytesMax
	request.SessionEpoch = -1 // no session: every request stands alone
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID = d.run.topicID
	for range d.partitions {
		p := kmsg.NewFetchRequestTopicPartition()
		p.PartitionMaxBytes = int32(min(d.run.options.FetchBytes, math.MaxInt32))
		topic.Partitions = append(topic.Partitions, p)
	}
	request.Topics = []kmsg.FetchRequestTopic{topic}
	return request
}

// reply walks one Fetch reply as it arrives.
func (d *drain) reply(correlation uint32) error {
	d.left = 4
	size := int(d.uint32())
	if size < 16 || size > fetchTotalBytesMax*2 {
		return fmt.Errorf("%w: %d bytes", errReply, size)
	}
	d.left = size
	if got := d.uint32(); got != correlation {
		return fmt.Errorf("%w: correlation id %d", errReply, got)
	}
	d.tags()
	d.skip(4) // throttle time
	if err := kerr.ErrorForCode(int16(d.uint16())); err != nil {
		return err
	}
	d.skip(4) // session id
	for range d.count() {
		d.skip(16) // topic id
		for range d.count() {
			if err := d.partition(); err != nil {
				return err
			}
		}
		d.tags()
	}
	d.tags()
	if d.left != 0 {
		return fmt.Errorf("%w: %d bytes are left over", errReply, d.left)
	}
	return nil
}

func (d *drain) partition() error {
	index := int32(d.uint32())
	code := int16(d.uint16())
	d.skip(8 + 8 + 8) // high watermark, last stable offset, log start
	for range d.count() {
		d.skip(8 + 8) // an aborted transaction
		d.tags()
	}
	d.skip(4) // preferred replica
	records := d.count()
	if err := kerr.ErrorForCode(code); err != nil {
		return fmt.Errorf("partition %d: %w", index, err)
	}
	for at := range d.partitions {
		if d.partitions[at].index == index {
			if err := d.batches(at, records); err != nil {
				return fmt.Errorf("partition %d: %w", index, err)
			}
			d.tags()
			return nil
		}
	}
	return fmt.Errorf("%w: partition %d was not asked for", errReply, index)
}

// batches discards the records of one partition, batch by batch. The last
// batch may be cut short.
func (d *drain) batches(at, size int) error {
	d.bytes += int64(size)
	for size > 0 {
		if size < batchHeaderBytes {
			d.skip(size)
			return nil
		}
		header, err := d.in.Peek(batchHeaderBytes)
		if err != nil {
			return err
		}
		base, length := int64(binary.BigEndian.Uint64(header)), int(binary.BigEndian.Uint32(header[8:]))+12
		last, count := base+int64(binary.BigEndian.Uint32(header[23:])), int64(binary.BigEndian.Uint32(header[57:]))
		if length < batchHeaderBytes || header[16] != 2 {
			return fmt.Errorf("%w: no batch at offset %d", errReply, d.next[at])
		}
		if length > size {
			d.skip(size)
			return nil
		}
		d.skip(length)
		size -= length
		d.records += count
		if d.next[at] = last + 1; last+1 >= d.partitions[at].end {
			d.next[at] = d.partitions[at].start
		}
	}
	return nil
}

// The primitives below read from the current reply only; the first failure
// makes left negative, and the walk ends with what it then finds wrong.

func (d *drain) take(n int) []byte {
	if d.left -= n; d.left < 0 {
		return make([]byte, n)
	}
	b, err := d.in.Peek(n)
	if err != nil {
		d.left = -1
		return make([]byte, n)
	}
	_, _ = d.in.Discard(n) // n bytes are buffered
	return b
}

func (d *drain) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *drain) uint32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }

func (d *drain) skip(n int) {
	if d.left -= n; d.left < 0 {
		return
	}
	if _, err := d.in.Discard(n); err != nil {
		d.left = -1
	}
}

func (d *drain) uvarint() int {
	value := 0
	for shift := 0; shift < 35; shift += 7 {
		b := d.take(1)[0]
		value |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	return value
}

// count reads a compact length; null is 0.
func (d *drain) count() int {
	n := max(d.uvarint()-1, 0)
	if n > d.left {
		d.left = -1
		return 0
	}
	return n
}

func (d *drain) tags() {
	for range min(d.uvarint(), max(d.left, 0)) {
		d.uvarint()
		d.skip(d.uvarint())
	}
}
