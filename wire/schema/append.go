// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/binary"
	"math"
)

// AppendInt8 appends one byte.
func AppendInt8(b []byte, v int8) []byte { return append(b, byte(v)) }

// AppendBool appends 1 or 0.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendInt16 appends two bytes.
func AppendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }

// AppendUint16 appends two bytes.
func AppendUint16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

// AppendInt32 appends four bytes.
func AppendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }

// AppendInt64 appends eight bytes.
func AppendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }

// AppendFloat64 appends eight bytes.
func AppendFloat64(b []byte, v float64) []byte {
	return binary.BigEndian.AppendUint64(b, math.Float64bits(v))
}

// AppendUUID appends sixteen bytes.
func AppendUUID(b []byte, v [16]byte) []byte { return append(b, v[:]...) }

// AppendUvarint appends an unsigned varint.
func AppendUvarint(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendCount appends the count of an array that is not null.
func AppendCount(b []byte, n int) []byte { return AppendUvarint(b, uint32(n)+1) }

// AppendCountInflexible is AppendCount in the older encoding.
func AppendCountInflexible(b []byte, n int) []byte { return AppendInt32(b, int32(n)) }

// AppendNull appends a null string, bytes or array.
func AppendNull(b []byte) []byte { return append(b, 0) }

// AppendNullInflexible appends a null array in the older encoding.
func AppendNullInflexible(b []byte) []byte { return AppendInt32(b, -1) }

// AppendString appends a string.
func AppendString(b []byte, v string) []byte {
	return append(AppendCount(b, len(v)), v...)
}

// AppendNullableString appends a string or null.
func AppendNullableString(b []byte, v *string) []byte {
	if v == nil {
		return AppendNull(b)
	}
	return AppendString(b, *v)
}

// AppendBytes appends bytes; nil is the empty value.
func AppendBytes(b []byte, v []byte) []byte {
	return append(AppendCount(b, len(v)), v...)
}

// AppendNullableBytes appends bytes; nil is null.
func AppendNullableBytes(b []byte, v []byte) []byte {
	if v == nil {
		return AppendNull(b)
	}
	return AppendBytes(b, v)
}

// AppendStringInflexible is AppendString in the older encoding. The string is
// of at most 32,767 bytes: its writer has seen to that.
func AppendStringInflexible(b []byte, v string) []byte {
	return append(AppendInt16(b, int16(len(v))), v...)
}

// AppendNullableStringInflexible is AppendNullableString in the older encoding.
func AppendNullableStringInflexible(b []byte, v *string) []byte {
	if v == nil {
		return AppendInt16(b, -1)
	}
	return AppendStringInflexible(b, *v)
}

// AppendBytesInflexible is AppendBytes in the older encoding.
func AppendBytesInflexible(b []byte, v []byte) []byte {
	return append(AppendInt32(b, int32(len(v))), v...)
}

// AppendNullableBytesInflexible is AppendNullableBytes in the older encoding.
func AppendNullableBytesInflexible(b []byte, v []byte) []byte {
	if v == nil {
		return AppendInt32(b, -1)
	}
	return AppendBytesInflexible(b, v)
}

// BeginTag appends the key of a tagged field; its value is appended next, and
// then EndTag, with the mark, puts the size in front of the value.
func BeginTag(b []byte, key uint32) (out []byte, mark int) {
	b = AppendUvarint(b, key)
	return b, len(b)
}

// EndTag finishes the tagged field whose value starts at mark.
func EndTag(b []byte, mark int) []byte {
	size := len(b) - mark
	var head [5]byte
	h := AppendUvarint(head[:0], uint32(size))
	b = append(b, h...)
	copy(b[mark+len(h):], b[mark:mark+size])
	copy(b[mark:], h)
	return b
}

// AppendTagsBelow appends those of the kept fields, which ascend, whose key is
// below key, and returns the others.
func AppendTagsBelow(b []byte, kept []Tag, key uint32) ([]byte, []Tag) {
	for len(kept) != 0 && kept[0].Key < key {
		b = AppendTags(b, kept[:1])
		kept = kept[1:]
	}
	return b, kept
}

// AppendTags appends the kept fields.
func AppendTags(b []byte, kept []Tag) []byte {
	for i := range kept {
		b = AppendUvarint(b, kept[i].Key)
		b = AppendUvarint(b, uint32(len(kept[i].Value)))
		b = append(b, kept[i].Value...)
	}
	return b
}
