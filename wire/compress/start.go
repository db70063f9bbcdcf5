// SPDX-License-Identifier: Apache-2.0

package compress

import (
	"errors"
	"fmt"
)

// CheckStart looks at the first bytes of src only, and refuses what no reader
// of codec would go on with: for LZ4 also what Kafka's own reader refuses,
// blocks that depend on each other. Raw Snappy has
// no start to know it by: all but nothing passes. The error wraps ErrCorrupt.
func CheckStart(codec Codec, src []byte) error {
	switch codec {
	case Gzip:
		const headerBytes, magic, deflate = 10, "\x1f\x8b", 8
		if len(src) < headerBytes || string(src[:2]) != magic || src[2] != deflate {
			return corrupt(Gzip, errors.New("no gzip header"))
		}
	case Snappy:
		if len(src) == 0 {
			return corrupt(Snappy, errors.New("no block"))
		}
	case LZ4:
		const headerBytes, magic, flagsPos, versionMask, version, independent = 7, "\x04\x22\x4d\x18", 4, 0xc0, 0x40, 0x20
		if len(src) < headerBytes || string(src[:4]) != magic {
			return corrupt(LZ4, errors.New("no frame header"))
		}
		if flags := src[flagsPos]; flags&versionMask != version || flags&independent == 0 {
			return corrupt(LZ4, fmt.Errorf("frame flags %#x are not supported", flags))
		}
	case Zstd:
		const magic, skippable = "\x28\xb5\x2f\xfd", "\x2a\x4d\x18"
		if len(src) < 4 || string(src[:4]) != magic && (src[0]&0xf0 != 0x50 || string(src[1:4]) != skippable) {
			return corrupt(Zstd, errors.New("no frame header"))
		}
	}
	return nil
}
