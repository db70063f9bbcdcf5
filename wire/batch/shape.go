// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"encoding/binary"
	"fmt"

	"gregor/base/kafka"
	"gregor/wire/compress"
)

const (
	// legacyBytesMin is the shortest message of the oldest format.
	legacyBytesMin = 14
	// headerUpToMagic is how much must be there to tell the format.
	headerUpToMagic = posMagic + 1
	// zstdFrom is the first Produce version that may carry zstd (KIP-110).
	zstdFrom = 7
)

// single cuts the one batch out of what a producer sent. An incomplete batch
// at the end counts as none, as in a Fetch response, and is dropped.
func single(b []byte, apiVersion int16) ([]byte, *Error) {
	size, e := next(b)
	if e != nil {
		return nil, e
	}
	if size == 0 {
		return nil, invalid("there is no record batch")
	}
	if magic := int8(b[posMagic]); magic != Magic {
		return nil, invalid("record batches of magic %d are not accepted, only of %d", magic, Magic)
	}
	if size < HeaderSize {
		return nil, corruptBatch("a batch of %d bytes is too small for its header", size)
	}
	codec := Attributes(binary.BigEndian.Uint16(b[posAttributes:])).Codec()
	if codec == compress.Zstd && apiVersion < zstdFrom {
		return nil, &Error{Code: kafka.UnsupportedCompressionType,
			Message: fmt.Sprintf("Produce version %d may not carry zstd", apiVersion)}
	}
	more, e := next(b[size:])
	if e != nil {
		return nil, e
	}
	if more != 0 {
		return nil, invalid("there is more than one record batch")
	}
	return b[:size:size], nil
}

// next gives the length of the batch or message that b starts with, 0 where b
// does not hold all of one.
func next(b []byte) (size int, e *Error) {
	if len(b) < LogOverhead {
		return 0, nil
	}
	length := int32(binary.BigEndian.Uint32(b[posLength:]))
	if length < legacyBytesMin {
		return 0, corruptBatch("a batch claims %d bytes", length)
	}
	if len(b) < headerUpToMagic {
		return 0, nil
	}
	if magic := int8(b[posMagic]); magic < 0 || magic > Magic {
		return 0, corruptBatch("magic %d is unknown", magic)
	}
	if int64(length)+LogOverhead > int64(len(b)) {
		return 0, nil
	}
	return LogOverhead + int(length), nil
}

// header judges all of b, one whole batch, but its records.
func header(b []byte, rules *Rules) (Header, *Error) {
	h, err := Parse(b)
	if err != nil {
		return h, corruptBatch("%v", err)
	}
	if h.BaseOffset != 0 {
		return h, invalid("the base offset is %d; producers send 0", h.BaseOffset)
	}
	if len(b) > rules.MessageBytesMax {
		return h, tooLarge(len(b), rules.MessageBytesMax)
	}
	if err := VerifyCRC(b); err != nil {
		return h, corruptBatch("%v", err)
	}
	offsets := int64(h.LastOffsetDelta) + 1
	switch {
	case offsets <= 0:
		return h, invalid("the last offset delta is %d", h.LastOffsetDelta)
	case h.Count <= 0:
		return h, invalid("the record count is %d", h.Count)
	case offsets != int64(h.Count):
		return h, invalid("%d records cannot have %d offsets", h.Count, offsets)
	case h.Attributes.IsControl():
		return h, invalid("clients may not write control batches")
	case h.HasProducerID() && h.BaseSequence < 0:
		return h, invalid("sequence %d with producer id %d", h.BaseSequence, h.ProducerID)
	case !h.Attributes.Codec().Valid():
		return h, &Error{Code: kafka.UnsupportedCompressionType,
			Message: fmt.Sprintf("unknown compression codec %d", h.Attributes.Codec())}
	}
	return h, nil
}

func corruptBatch(format string, args ...any) *Error {
	return &Error{Code: kafka.CorruptMessage, Message: fmt.Sprintf(format, args...)}
}

func tooLarge(bytes, bytesMax int) *Error {
	return &Error{Code: kafka.MessageTooLarge,
		Message: fmt.Sprintf("a record batch of %d bytes is larger than max.message.bytes, %d", bytes, bytesMax)}
}
