// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"gregor/base/kafka"
	"gregor/base/park"
	"gregor/cluster/image"
	"gregor/coordinator/shard"
	"gregor/replica"
	"gregor/storage/commitlog"
)

// partitionLog is a partition as a coordinator's log: written with acks=all, so
// not while the ISR is too small, and read to the log end.
type partitionLog struct {
	p      *replica.Partition
	epoch  kafka.LeaderEpoch
	cursor commitlog.Cursor // of the load
	append replica.Append   // of the shard's lane
}

// coordinatorLog finds a partition of a topic as soon as this broker leads it in
// epoch, or says why it will not.
func coordinatorLog(ctx context.Context, img *image.Image, table *replica.Table, topic string, id kafka.PartitionID, epoch kafka.LeaderEpoch) (shard.Log, error) {
	t := img.Topic(topic)
	if t == nil {
		return nil, kafka.UnknownTopicOrPartition
	}
	p := table.Get(t.ID, id)
	if p == nil {
		return nil, kafka.NotLeaderForPartition
	}
	for {
		switching := p.Switching()
		status := p.Status()
		if status.Role == replica.Leader && status.Epoch == epoch {
			return &partitionLog{p: p, epoch: epoch}, nil
		}
		if switching == nil {
			if status.Err != nil {
				return nil, status.Err
			}
			return nil, fmt.Errorf("the partition is in epoch %d, wanted is %d: %w", status.Epoch, epoch, kafka.NotLeaderForPartition)
		}
		select {
		case <-switching:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (l *partitionLog) Append(batches []byte, epoch kafka.LeaderEpoch) (kafka.Offset, error) {
	return l.AppendMarker(batches, 0, epoch) // there is none in them, so its version is no matter
}

func (l *partitionLog) AppendMarker(b []byte, txnVersion int8, epoch kafka.LeaderEpoch) (kafka.Offset, error) {
	a := &l.append
	a.Batches, a.Origin, a.ExpectedEpoch, a.AllReplicas, a.TxnVersion = b, commitlog.OriginCoordinator, epoch, true, txnVersion
	l.p.Append(a)
	a.Batches = nil
	return a.LastOffset, a.Err
}

func (l *partitionLog) Read(buf []byte, from kafka.Offset, bytesMax int) ([]byte, error) {
	for {
		r, err := l.p.Read(&l.cursor, &replica.Fetch{
			Offset: from, LeaderEpoch: l.epoch, LastFetchedEpoch: kafka.NoLeaderEpoch, BytesMax: bytesMax,
			OneBatchAtLeast: true, Bound: commitlog.ToLogEnd, LeaderOnly: true,
		})
		if err != nil {
			return nil, err
		}
		if r.File.Src == nil || r.File.LenBytes == 0 {
			if r.File.Src != nil {
				r.File.Src.Release()
			}
			if !r.More || r.Next <= from {
				return buf, nil
			}
			from = r.Next // nothing is left of what was there
			continue
		}
		return readFile(buf, &r)
	}
}

// errTruncated is a read that a truncation has overtaken.
var errTruncated = errors.New("the log was truncated while it was read")

func readFile(buf []byte, r *replica.Fetched) ([]byte, error) {
	defer r.File.Src.Release()
	at := len(buf)
	buf = slices.Grow(buf, r.File.LenBytes)[:at+r.File.LenBytes]
	if n, err := r.File.Src.ReadAt(buf[at:], r.File.PosBytes); n < r.File.LenBytes {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if !r.File.Src.Intact() {
		return nil, errTruncated
	}
	return buf, nil
}

func (l *partitionLog) Bounds() (start, end kafka.Offset) {
	t, _ := l.p.Tail()
	return t.LogStart, t.LogEnd
}

func (l *partitionLog) Committed(last kafka.Offset, epoch kafka.LeaderEpoch) (bool, error) {
	done, err := l.p.Acknowledged(last, epoch)
	if errors.Is(err, kafka.NotEnoughReplicasAfterAppend) {
		err = nil // committed all the same; the next append will be refused
	}
	return done && err == nil, err
}

func (l *partitionLog) Await(e *park.Entry, at kafka.Offset) {
	l.p.Await(commitlog.ToHighWatermark, e, at)
}

func (l *partitionLog) Forget(e *park.Entry) { l.p.Forget(commitlog.ToHighWatermark, e) }

func (l *partitionLog) BatchBytesMax() int { return l.p.Rules().Batch.MessageBytesMax }
