// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"

	"gregor/base/kafka"
)

// ErrClosed is what a closed or deleted log answers.
var ErrClosed = fmt.Errorf("log is closed: %w", kafka.KafkaStorageError)

// ErrFailed is what a log answers to every change after a failed write or
// sync (decision 15). It carries KAFKA_STORAGE_ERROR.
var ErrFailed = fmt.Errorf("log failed earlier: %w", kafka.KafkaStorageError)

// OffsetOutOfRangeError says that an offset is not in the log. It carries
// OFFSET_OUT_OF_RANGE.
type OffsetOutOfRangeError struct {
	Requested kafka.Offset
	Tail      Tail
}

func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("offset %d is out of range: the log holds %d to %d", e.Requested, e.Tail.LogStart, e.Tail.LogEnd)
}

// Unwrap makes errors.Is(err, kafka.OffsetOutOfRange) true.
func (e *OffsetOutOfRangeError) Unwrap() error { return kafka.OffsetOutOfRange }

// CorruptError names bytes on the disk that are not what was written. It
// carries CORRUPT_MESSAGE.
type CorruptError struct {
	File     string
	PosBytes int64
	Reason   string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt data in %s at byte %d: %s", e.File, e.PosBytes, e.Reason)
}

// Unwrap makes errors.Is(err, kafka.CorruptMessage) true.
func (e *CorruptError) Unwrap() error { return kafka.CorruptMessage }

// OldFormatError says that a segment holds message format 0 or 1, which this
// log neither reads nor touches: the partition stays offline (decision 2).
type OldFormatError struct {
	File  string
	Magic int8
}

func (e *OldFormatError) Error() string {
	return fmt.Sprintf("%s holds messages of format %d, which is no longer supported; the partition stays offline and untouched", e.File, e.Magic)
}

// Unwrap makes errors.Is(err, kafka.KafkaStorageError) true.
func (e *OldFormatError) Unwrap() error { return kafka.KafkaStorageError }

// TopicIDError says that a folder belongs to another topic of the same name.
// It carries INCONSISTENT_TOPIC_ID.
type TopicIDError struct {
	File      string
	Has, Want kafka.TopicID
}

func (e *TopicIDError) Error() string {
	return fmt.Sprintf("%s names topic id %s, want %s", e.File, e.Has, e.Want)
}

// Unwrap makes errors.Is(err, kafka.InconsistentTopicID) true.
func (e *TopicIDError) Unwrap() error { return kafka.InconsistentTopicID }

var errTorn = errors.New("torn")
