// SPDX-License-Identifier: Apache-2.0

package frame

// Uvarint decodes an unsigned varint of at most 32 bits from the start of b
// and gives the bytes it took; n <= 0 means that b is cut short or the varint
// is longer than five bytes. Bits above the 32nd are dropped, as Kafka drops
// them.
func Uvarint(b []byte) (v uint32, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	for i := 0; i < len(b) && i < 5; i++ {
		v |= uint32(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// Varint decodes a zigzag varint of at most 32 bits, as Uvarint does.
func Varint(b []byte) (v int32, n int) {
	u, n := Uvarint(b)
	return int32(u>>1) ^ -int32(u&1), n
}

// Varlong decodes a zigzag varint of at most 64 bits; n <= 0 means that b is
// cut short or the varint is longer than ten bytes.
func Varlong(b []byte) (v int64, n int) {
	var u uint64
	for i := 0; i < len(b) && i < 10; i++ {
		u |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return int64(u>>1) ^ -int64(u&1), i + 1
		}
	}
	return 0, 0
}

// uvarintSize is the number of bytes appendUvarint adds.
func uvarintSize(v uint32) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// VarintSize is the number of bytes AppendVarint adds.
func VarintSize(v int32) int { return uvarintSize(uint32(v<<1) ^ uint32(v>>31)) }

// VarlongSize is the number of bytes AppendVarlong adds.
func VarlongSize(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// appendUvarint appends v as an unsigned varint.
func appendUvarint(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// AppendVarint appends v as a zigzag varint.
func AppendVarint(b []byte, v int32) []byte {
	return appendUvarint(b, uint32(v<<1)^uint32(v>>31))
}

// AppendVarlong appends v as a zigzag varint.
func AppendVarlong(b []byte, v int64) []byte {
	u := uint64(v<<1) ^ uint64(v>>63)
	for u >= 0x80 {
		b = append(b, byte(u)|0x80)
		u >>= 7
	}
	return append(b, byte(u))
}
