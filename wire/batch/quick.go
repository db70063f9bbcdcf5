// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"math"

	"gregor/wire/frame"
)

// quick walks over a record that lies in the window as a whole and is sound.
// It is next without its care for errors: where anything is unusual it gives
// up, having changed nothing, and next looks again and says what is wrong.
func (w *walker) quick() bool {
	b := w.window[w.pos:w.end]
	u, start := uvarint(b, 0)
	size := unzigzag(u)
	if start > len(b) || size < 0 || size > int64(len(b)-start) || w.recordBytesMax > 0 && size > w.recordBytesMax {
		return false
	}
	b = b[start : start+int(size)]
	ts, i := uvarint64(b, 1) // behind the attributes
	delta, i := uvarint(b, i)
	u, i = uvarint(b, i)
	key := unzigzag(u)
	if i > len(b) || key > int64(len(b)-i) {
		return false
	}
	u, i = uvarint(b, i+int(max(key, 0)))
	value := unzigzag(u)
	if i > len(b) || value > int64(len(b)-i) {
		return false
	}
	u, i = uvarint(b, i+int(max(value, 0)))
	if u != 0 && i <= len(b) {
		i = quickHeaders(b, i, unzigzag(u))
	}
	if i != len(b) {
		return false
	}
	w.rec = walked{timestampDelta: unzigzag(ts), offsetDelta: int32(unzigzag(delta)), hasKey: key >= 0}
	w.pos += start + int(size)
	return true
}

// quickHeaders gives the index behind count headers.
func quickHeaders(b []byte, i int, count int64) int {
	if count < 0 || count > int64(len(b)-i) {
		return noIndex
	}
	for range count {
		u, next := uvarint(b, i)
		n := unzigzag(u)
		if next > len(b) || n < 0 || n > int64(len(b)-next) {
			return noIndex
		}
		u, next = uvarint(b, next+int(n))
		n = unzigzag(u)
		if next > len(b) || n > int64(len(b)-next) {
			return noIndex
		}
		i = next + int(max(n, 0))
	}
	return i
}

// noIndex is behind every slice: where a varint should end that is not there.
// A read at it fails again.
const noIndex = math.MaxInt32

// uvarint decodes a varint of at most 32 bits at b[i], i >= 0, and gives the
// index behind it.
func uvarint(b []byte, i int) (uint64, int) {
	if i < len(b)-1 {
		// One byte, or two, which lengths from 64 on have.
		x, y := b[i], b[i+1]
		if x < 0x80 {
			return uint64(x), i + 1
		}
		if y < 0x80 {
			return uint64(x&0x7f) | uint64(y)<<7, i + 2
		}
	}
	return longUvarint(b, i)
}

func longUvarint(b []byte, i int) (uint64, int) {
	if i >= len(b) {
		return 0, noIndex
	}
	v, n := frame.Uvarint(b[i:])
	if n <= 0 {
		return 0, noIndex
	}
	return uint64(v), i + n
}

// uvarint64 is uvarint with at most 64 bits.
func uvarint64(b []byte, i int) (uint64, int) {
	var v uint64
	for n := 0; n < 10 && i+n < len(b); n++ {
		v |= uint64(b[i+n]&0x7f) << (7 * n)
		if b[i+n] < 0x80 {
			return v, i + n + 1
		}
	}
	return 0, noIndex
}

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
