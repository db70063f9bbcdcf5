// SPDX-License-Identifier: Apache-2.0

// Package compress holds the codecs of record batches, in the framings that
// Kafka's clients use:
//
//	gzip    RFC 1952, members may follow one another
//	snappy  the xerial stream (8 byte magic, two versions, then blocks with a four byte length) or one raw block
//	lz4     the LZ4 frame format, independent blocks
//	zstd    RFC 8878
//
// Sizes that a peer claims are not believed: output is bounded by the caller's
// limit, and buffers grow with what has really been decoded (a zstd window
// excepted, whose limit is zstdWindowBytesMax).
//
// A Coder belongs to one goroutine at a time. A Pool may be used from many; it
// belongs to a node, not to the process.
package compress

import (
	"errors"
	"fmt"
)

// Codec is a compression type by the id that batches carry.
type Codec int8

// The codecs.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

// Valid reports whether c is one of the codecs.
func (c Codec) Valid() bool { return c >= None && c <= Zstd }

// String gives Kafka's name of the codec.
func (c Codec) String() string {
	if !c.Valid() {
		return fmt.Sprintf("codec(%d)", int8(c))
	}
	return codecNames[c]
}

// DefaultLevel is the level that Kafka uses when nothing is configured. Codecs
// without levels have 0.
func (c Codec) DefaultLevel() int {
	switch c {
	case Gzip:
		return -1
	case LZ4:
		return 9
	case Zstd:
		return 3
	default:
		return 0
	}
}

var (
	// ErrTooLarge says that output would pass the caller's limit.
	ErrTooLarge = errors.New("decompressed data passes the limit")
	// ErrCorrupt says that the input is not what the codec produces.
	ErrCorrupt = errors.New("corrupt compressed data")
	// ErrCodec says that there is no such codec.
	ErrCodec = errors.New("unknown compression codec")
)
