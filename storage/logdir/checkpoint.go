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
	Line   int
	Reason string
}

func (e *CheckpointError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

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

// readCheckpoints reads the three files. A damaged one costs a longer recovery
// (or, of the log start, lets deleted records come back) and no data, so it is
// named and taken as empty, as Kafka does.
func readCheckpoints(fsys vfs.FS, dir string, logger *slog.Logger) (map[kafka.TopicPartition]kept, error) {
	all := map[kafka.TopicPartition]kept{}
	for name, set := range map[string]func(*kept, kafka.Offset){
		recoveryPointFile: func(k *kept, o kafka.Offset) { k.recoveryPoint = o },
		logStartFile:      func(k *kept, o kafka.Offset) { k.logStart = o },
		highWatermarkFile: func(k *kept, o kafka.Offset) { k.highWatermark = o },
	} {
		path := filepath.Join(dir, name)
		b, err := vfs.ReadFile(fsys, path, checkpointBytesMax)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		parsed, err := parseCheckpoint(b)
		if err != nil {
			logger.Error("checkpoint file is damaged and taken as empty", "file", path, "err", err)
			continue
		}
		for tp, offset := range parsed {
			k := all[tp]
			set(&k, offset)
			all[tp] = k
		}
	}
	return all, nil
}
