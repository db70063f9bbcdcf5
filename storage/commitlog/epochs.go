// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gregor/base/kafka"
)

// epochsFile is Kafka's leader-epoch-checkpoint: text, version 0, the number of
// entries, then an epoch and its start offset on each line.
const epochsFile = "leader-epoch-checkpoint"

type epochStart struct {
	Epoch kafka.LeaderEpoch
	Start kafka.Offset
}

// epochList is the leader epochs of a log, rising in both fields. It is
// replaced, never changed in place, so a reader may keep it.
type epochList []epochStart

// assign notes that epoch begins at start. Entries that contradict it (a
// later epoch, or a start at or behind it) go, as in Kafka's
// LeaderEpochFileCache.
func (l epochList) assign(epoch kafka.LeaderEpoch, start kafka.Offset) (epochList, bool) {
	if epoch < 0 || start < 0 {
		return l, false
	}
	n := len(l)
	if n > 0 && l[n-1].Epoch == epoch && l[n-1].Start <= start {
		return l, false
	}
	for n > 0 && (l[n-1].Epoch >= epoch || l[n-1].Start >= start) {
		n--
	}
	return append(l[:n:n], epochStart{Epoch: epoch, Start: start}), true
}

// truncateEnd drops epochs that begin at or behind end.
func (l epochList) truncateEnd(end kafka.Offset) (epochList, bool) {
	n := len(l)
	for n > 0 && l[n-1].Start >= end {
		n--
	}
	return l[:n:n], n < len(l)
}

// truncateStart drops epochs that end at or before start; the one that holds
// start then begins there.
func (l epochList) truncateStart(start kafka.Offset) (epochList, bool) {
	i := 0
	for i < len(l) && l[i].Start <= start {
		i++
	}
	if i == 0 || (i == 1 && l[0].Start == start) {
		return l, false
	}
	kept := slices.Clone(l[i-1:])
	kept[0].Start = start
	return kept, true
}

func (l epochList) latest() kafka.LeaderEpoch {
	if len(l) == 0 {
		return kafka.NoLeaderEpoch
	}
	return l[len(l)-1].Epoch
}

// endFor answers OffsetForLeaderEpoch.
func (l epochList) endFor(epoch kafka.LeaderEpoch, logEnd kafka.Offset) EpochEnd {
	none := EpochEnd{Epoch: kafka.NoLeaderEpoch, End: kafka.NoOffset}
	if epoch == kafka.NoLeaderEpoch || len(l) == 0 {
		return none
	}
	if epoch == l.latest() {
		return EpochEnd{Epoch: epoch, End: logEnd}
	}
	higher := slices.IndexFunc(l, func(e epochStart) bool { return e.Epoch > epoch })
	switch {
	case higher < 0:
		return none
	case higher == 0:
		return EpochEnd{Epoch: epoch, End: l[0].Start}
	}
	return EpochEnd{Epoch: l[higher-1].Epoch, End: l[higher].Start}
}

// at is the epoch that the record at off belongs to.
func (l epochList) at(off kafka.Offset) kafka.LeaderEpoch {
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].Start <= off {
			return l[i].Epoch
		}
	}
	return kafka.NoLeaderEpoch
}

func (l epochList) appendText(b []byte) []byte {
	b = append(b, "0\n"...)
	b = strconv.AppendInt(b, int64(len(l)), 10)
	b = append(b, '\n')
	for _, e := range l {
		b = strconv.AppendInt(b, int64(e.Epoch), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(e.Start), 10)
		b = append(b, '\n')
	}
	return b
}

var errEpochs = errors.New("corrupt leader epoch checkpoint")

func parseEpochs(b []byte) (epochList, error) {
	// The file is not synced before its rename, so a crash may leave a part of
	// it; without its end the last offset would be another one.
	if !bytes.HasSuffix(b, []byte("\n")) {
		return nil, fmt.Errorf("the last line has no end: %w", errEpochs)
	}
	lines := strings.Split(string(bytes.TrimSuffix(b, []byte("\n"))), "\n")
	if len(lines) < 2 || lines[0] != "0" {
		return nil, fmt.Errorf("no version 0 in the first line: %w", errEpochs)
	}
	if n, err := strconv.Atoi(lines[1]); err != nil || n != len(lines)-2 {
		return nil, fmt.Errorf("%q entries announced, %d there: %w", lines[1], len(lines)-2, errEpochs)
	}
	var list epochList
	for _, line := range lines[2:] {
		a, b, ok := strings.Cut(line, " ")
		epoch, err := strconv.ParseInt(a, 10, 32)
		start, err2 := strconv.ParseInt(b, 10, 64)
		if !ok || err != nil || err2 != nil || epoch < 0 || start < 0 {
			return nil, fmt.Errorf("line %q: %w", line, errEpochs)
		}
		if n := len(list); n > 0 && (list[n-1].Epoch >= kafka.LeaderEpoch(epoch) || list[n-1].Start > kafka.Offset(start)) {
			return nil, fmt.Errorf("line %q does not rise: %w", line, errEpochs)
		}
		list = append(list, epochStart{Epoch: kafka.LeaderEpoch(epoch), Start: kafka.Offset(start)})
	}
	return list, nil
}

// loadEpochs reads the checkpoint. found is false where it is missing or
// unreadable: the epochs are then taken from the batches.
func (l *Log) loadEpochs() (list epochList, found bool, err error) {
	b, err := l.readSmall(epochsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	list, err = parseEpochs(b)
	if err != nil {
		l.log().Warn("leader epoch checkpoint is rebuilt from the log", "file", filepath.Join(l.dir(), epochsFile), "reason", err)
		return nil, false, nil
	}
	return list, true, nil
}

// saveEpochs writes the checkpoint if it is behind. It is not synced: what
// a crash loses of it is found in the batches again.
func (l *Log) saveEpochs() error {
	if !l.lane.epochsDirty {
		return nil
	}
	l.mu.Lock()
	list := l.pub.epochs
	l.mu.Unlock()
	return l.saveTheseEpochs(list)
}

func (l *Log) saveTheseEpochs(list epochList) error {
	if !l.lane.epochsDirty {
		return nil
	}
	if err := l.writeSmall(epochsFile, list.appendText(nil)); err != nil {
		return err
	}
	l.lane.epochsDirty, l.lane.dirUnsynced = false, true
	return nil
}

// StartEpoch notes that a leader of epoch begins at the log end. It reaches
// the checkpoint with the first batch of the epoch, so that moving many
// leaders writes nothing.
func (l *Log) StartEpoch(epoch kafka.LeaderEpoch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.pub.err; err != nil {
		return err
	}
	if !l.pub.loaded {
		l.pub.pending = append(l.pub.pending, epochStart{Epoch: epoch, Start: l.tail.LogEnd})
		l.tail.Epoch = max(l.tail.Epoch, epoch)
		return nil
	}
	l.assignEpochLocked(epoch, l.tail.LogEnd)
	return nil
}

func (l *Log) assignEpochLocked(epoch kafka.LeaderEpoch, start kafka.Offset) {
	list, changed := l.pub.epochs.assign(epoch, start)
	if changed {
		l.setEpochsLocked(list)
	}
}

func (l *Log) setEpochsLocked(list epochList) {
	l.pub.epochs = list
	l.tail.Epoch = list.latest()
	l.lane.epochsDirty = true
}

// EpochEnd answers OffsetForLeaderEpoch.
type EpochEnd struct {
	Epoch kafka.LeaderEpoch // largest known that is not above the asked one; -1: none
	End   kafka.Offset      // start of the epoch behind it, or the log end; -1: none
}

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the latest epoch ends at the
// log end, one above all is unknown, one below all ends where the first begins.
func (l *Log) EndOffsetForEpoch(epoch kafka.LeaderEpoch) (EpochEnd, error) {
	if err := l.ready(); err != nil {
		return EpochEnd{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pub.epochs.endFor(epoch, l.tail.LogEnd), nil
}

// EpochAt is the leader epoch of the record at off; kafka.NoLeaderEpoch where
// it is unknown. Those of the log start and of a leader's log end are known
// without a load.
func (l *Log) EpochAt(off kafka.Offset) (kafka.LeaderEpoch, error) {
	l.mu.Lock()
	epoch, known := l.epochUnloadedLocked(off)
	l.mu.Unlock()
	if known {
		return epoch, nil
	}
	if err := l.ready(); err != nil {
		return kafka.NoLeaderEpoch, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pub.epochs.at(off), nil
}

func (l *Log) epochUnloadedLocked(off kafka.Offset) (epoch kafka.LeaderEpoch, known bool) {
	switch t := &l.tail; {
	case l.pub.loaded || l.pub.closed:
		return kafka.NoLeaderEpoch, false
	case off == t.LogEnd && len(l.pub.pending) > 0:
		return t.Epoch, true
	case off == t.LogStart && off < t.LogEnd:
		return l.o.Hint.StartEpoch, true
	}
	return kafka.NoLeaderEpoch, false
}
