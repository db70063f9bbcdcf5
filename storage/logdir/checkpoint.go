// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// Kafka's checkpoint files are lines of text: the version 0, the number of
// entries, and an entry "topic partition offset" on each further line.
const (
	recoveryPointFile = "recovery-point-offset-checkpoint"
	logStartFile      = "log-start-offset-checkpoint"
	highWatermarkFile = "replication-offset-checkpoint"

	// Of 100,000 partitions with the longest topic names they hold 28 MB.
	checkpointBytesMax = 1 << 30
)

type offsets map[kafka.TopicPartition]kafka.Offset

// CheckpointError says what is wrong with a checkpoint file.
type CheckpointError struct {
	Line   int // from 1; 0: the file as a whole
	Reason string
}

func (e *CheckpointError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

func parseCheckpoint(b []byte) (offsets, error) {
	number := 0
	line := func() ([]byte, bool) {
		number++
		if len(b) == 0 {
			return nil, false
		}
		text, rest, _ := bytes.Cut(b, []byte{'\n'})
		b = rest
		return bytes.TrimSuffix(text, []byte{'\r'}), true
	}
	if version, ok := line(); !ok || string(version) != "0" {
		return nil, &CheckpointError{number, fmt.Sprintf("version is %.20q, want 0", version)}
	}
	text, _ := line()
	count, err := strconv.Atoi(string(text))
	if err != nil || count < 0 || count > len(b) { // an entry takes more than a byte
		return nil, &CheckpointError{number, fmt.Sprintf("%.20q is no number of entries", text)}
	}
	if count > 0 && b[len(b)-1] != '\n' {
		return nil, &CheckpointError{number + count, "ends within a line"} // and so, maybe, within a number
	}
	all := make(offsets, count)
	for range count {
		text, ok := line()
		if !ok {
			return nil, &CheckpointError{number, fmt.Sprintf("ends here, want %d entries", count)}
		}
		tp, offset, ok := parseCheckpointEntry(text)
		if !ok {
			return nil, &CheckpointError{number, fmt.Sprintf("%.80q is not \"topic partition offset\"", text)}
		}
		all[tp] = offset
	}
	if rest := bytes.TrimSpace(b); len(rest) > 0 {
		return nil, &CheckpointError{number + 1, fmt.Sprintf("more than the %d entries that were announced", count)}
	}
	return all, nil
}

func parseCheckpointEntry(text []byte) (tp kafka.TopicPartition, offset kafka.Offset, ok bool) {
	topic, rest, ok1 := bytes.Cut(text, []byte{' '})
	partition, end, ok2 := bytes.Cut(rest, []byte{' '})
	p, err1 := strconv.ParseInt(string(partition), 10, 32)
	o, err2 := strconv.ParseInt(string(end), 10, 64)
	if !ok1 || !ok2 || len(topic) == 0 || err1 != nil || err2 != nil || p < 0 || o < 0 {
		return tp, 0, false
	}
	return kafka.TopicPartition{Topic: string(topic), Partition: kafka.PartitionID(p)}, kafka.Offset(o), true
}

// checkpointWriter puts a file together entry by entry; the count, which stands
// in front of the entries, is not known before the end.
type checkpointWriter struct {
	entries []byte
	count   int
}

func (w *checkpointWriter) reset() { w.entries, w.count = w.entries[:0], 0 }

func (w *checkpointWriter) add(tp kafka.TopicPartition, offset kafka.Offset) {
	w.count++
	b := append(append(w.entries, tp.Topic...), ' ')
	b = append(strconv.AppendInt(b, int64(tp.Partition), 10), ' ')
	w.entries = append(strconv.AppendInt(b, int64(offset), 10), '\n')
}

func (w *checkpointWriter) bytes() []byte {
	b := make([]byte, 0, len(w.entries)+16)
	b = append(b, "0\n"...)
	b = append(strconv.AppendInt(b, int64(w.count), 10), '\n')
	return append(b, w.entries...)
}

// checkpoints is what the three files say.
type checkpoints struct {
	of map[kafka.TopicPartition]kept
	// recoveryLost: there were recovery points and nobody knows them any more.
	recoveryLost bool
}

// readCheckpoints reads the three files. A damaged one is named and taken as
// empty, as Kafka does: of the high watermarks that costs nothing, of the log
// starts deleted records may come back. Recovery points that are lost are not
// zeros: every log is read whole then, and nothing that is good is dropped. A
// directory has the file before it has a partition.
func readCheckpoints(fsys vfs.FS, dir string, logger *slog.Logger, hasPartitions bool) (checkpoints, error) {
	all := checkpoints{of: map[kafka.TopicPartition]kept{}}
	sums := readSums(fsys, filepath.Join(dir, sumsFile))
	for name, set := range map[string]func(*kept, kafka.Offset){
		recoveryPointFile: func(k *kept, o kafka.Offset) { k.recoveryPoint = o },
		logStartFile:      func(k *kept, o kafka.Offset) { k.logStart = o },
		highWatermarkFile: func(k *kept, o kafka.Offset) { k.highWatermark = o },
	} {
		path := filepath.Join(dir, name)
		parsed, found, err := readCheckpoint(fsys, path, sums[name])
		var damaged *CheckpointError
		switch {
		case errors.As(err, &damaged):
			logger.Error("checkpoint file is damaged and taken as empty", "file", path, "err", err)
		case err != nil:
			return all, err
		}
		if name == recoveryPointFile && hasPartitions && (err != nil || !found) {
			all.recoveryLost = true
			logger.Warn("recovery points are lost: after an unclean stop every log is read whole", "file", path)
		}
		for tp, offset := range parsed {
			k := all.of[tp]
			set(&k, offset)
			all.of[tp] = k
		}
	}
	return all, nil
}

// readCheckpoint reads one file. It was not found, too, where it is empty, as
// Kafka makes it before it has anything to say. A *CheckpointError means that it
// is damaged.
func readCheckpoint(fsys vfs.FS, path string, s sum) (parsed offsets, found bool, err error) {
	info, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	b, err := vfs.ReadFile(fsys, path, checkpointBytesMax)
	if err != nil {
		return nil, false, err
	}
	if err := s.judge(info, b); err != nil {
		return nil, true, &CheckpointError{0, err.Error()}
	}
	if len(b) == 0 {
		return nil, false, nil
	}
	parsed, err = parseCheckpoint(b)
	return parsed, true, err
}

// beginCheckpoints makes the file of the recovery points in a directory that has
// no partition yet, so that a missing one means that it was lost.
func (d *Dir) beginCheckpoints() error {
	_, err := d.o.FS.Stat(d.path(recoveryPointFile))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var none checkpointWriter
	return vfs.WriteFileAtomic(d.o.FS, d.path(recoveryPointFile), none.bytes())
}
