// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"gregor/base/kafka"
	"gregor/storage/segment"
)

// ErrClosed is what a closed or deleted log answers.
var ErrClosed = fmt.Errorf("log is closed: %w", kafka.KafkaStorageError)

// ErrFailed is what a log answers to every change after a failed write or
// sync. It carries KAFKA_STORAGE_ERROR.
var ErrFailed = fmt.Errorf("log failed earlier: %w", kafka.KafkaStorageError)

// errGone says that a segment's files are on their way out: the read begins again.
var errGone = fmt.Errorf("segment has left the log: %w", kafka.KafkaStorageError)

// errUnsettled gives up a read that met one truncation after another.
var errUnsettled = fmt.Errorf("log changed under a read again and again: %w", kafka.KafkaStorageError)

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
type CorruptError = segment.CorruptError

// OldFormatError says that a segment holds message format 0 or 1, which this
// log neither reads nor touches: the partition stays offline.
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

// passing reports whether a write failed for want of something that may come
// back (room, descriptors, memory), so that the log may go on later.
func passing(err error) bool {
	for _, e := range [...]error{syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EFBIG} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.Is(err, segment.ErrClosed)
}

// storageError makes err carry KAFKA_STORAGE_ERROR.
func storageError(op string, err error) error {
	return fmt.Errorf("%s: %w: %w", op, kafka.KafkaStorageError, err)
}

// coded makes err carry KAFKA_STORAGE_ERROR unless it has a code.
func coded(err error) error {
	var code kafka.Code
	if errors.As(err, &code) {
		return err
	}
	return storageError("load", err)
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
