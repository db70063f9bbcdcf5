// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"cmp"
	"slices"

	"gregor/base/kafka"
	"gregor/storage/index"
)

// aborted lists the aborted transactions that overlap [from, to). here is false
// where the segment has left the log, or a truncation came since v was taken: it may
// have cut what ended a transaction, and the last stable offset follows only later.
func (l *Log) aborted(v *view, from, to kafka.Offset) (list []AbortedTxn, here bool, err error) {
	l.mu.Lock()
	i, ok := l.pub.index(v.seg.base)
	segments := l.pub.segments
	sizes := v.sizeBytes
	l.mu.Unlock()
	if !ok {
		return nil, false, nil
	}
	for _, s := range segments[i:] {
		if s != v.seg {
			l.mu.Lock()
			sizes = s.sizeBytes
			l.mu.Unlock()
		}
		txns, err := l.abortedIn(s, sizes)
		if err != nil {
			return nil, l.uncut(v), err
		}
		done := false
		for _, t := range txns {
			if t.LastOffset >= from && t.FirstOffset < to {
				list = append(list, AbortedTxn{ProducerID: t.ProducerID, FirstOffset: t.FirstOffset})
			}
			if t.LastStable >= to {
				done = true
				break
			}
		}
		if done {
			break
		}
	}
	slices.SortFunc(list, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return list, l.uncut(v), nil
}

// uncut reports whether there was no truncation since v was taken.
func (l *Log) uncut(v *view) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pub.cuts == v.cuts
}

// abortedIn avoids opening the indexes of a segment without aborted transactions.
func (l *Log) abortedIn(s *logSegment, sizeBytes int64) ([]index.Aborted, error) {
	if s.ix.Load() == nil && s.txnBytes == noBytes && !l.hadAborted(s) {
		return nil, nil
	}
	ix, err := l.indexes(s, sizeBytes)
	if err != nil {
		return nil, err
	}
	return ix.aborted.List()
}
