// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
)

// header is one record header; a nil value is the protocol's null.
type header struct {
	key   string
	value []byte
}

// record is what a client is given to write and has to give back.
type record struct {
	key, value  []byte
	headers     []header
	timestampMs int64
}

// baseTimestampMs is the create time of every partition's first record; the
// n-th has this plus 2n, so that there is a time between any two records.
const baseTimestampMs int64 = 1_700_000_000_000

// Edge cases recur with these periods (primes, so that they meet in time).
const (
	nullKeyEvery    = 97
	emptyKeyEvery   = 89
	nullValueEvery  = 101
	emptyValueEvery = 103
	largeValueEvery = 4999
)

// text is what values are cut from: half of every value compresses, half does
// not, so that no codec has an easy job.
var text = bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog; "), 2000)

// makeRecord is a pure function of its arguments: writers and readers need no
// copy of what was sent.
func makeRecord(topic string, partition, sequence int) record {
	seed := fnv.New64a()
	fmt.Fprint(seed, topic, partition)
	random := rand.New(rand.NewPCG(seed.Sum64(), uint64(sequence)))
	r := record{timestampMs: baseTimestampMs + 2*int64(sequence)}
	switch {
	case sequence%nullKeyEvery == 5:
	case sequence%emptyKeyEvery == 6:
		r.key = []byte{}
	default:
		r.key = fmt.Appendf(nil, "key-%d-%d", partition, sequence)
	}
	switch {
	case sequence%nullValueEvery == 7:
	case sequence%emptyValueEvery == 8:
		r.value = []byte{}
	case sequence%largeValueEvery == 9:
		r.value = makeValue(random, 80_000)
	default:
		r.value = makeValue(random, 1+random.IntN(300))
	}
	for i := range sequence % 4 {
		h := header{key: fmt.Sprintf("header-%d", i), value: makeValue(random, 1+random.IntN(20))}
		switch random.IntN(8) {
		case 0:
			h.value = nil
		case 1:
			h.value = []byte{}
		case 2:
			h.key = "header-0" // a key may repeat
		}
		r.headers = append(r.headers, h)
	}
	return r
}

func makeValue(random *rand.Rand, size int) []byte {
	value := make([]byte, size)
	copy(value, text)
	for i := size / 2; i < size; i++ {
		value[i] = byte(random.Uint32())
	}
	return value
}

// quirks are what a client does not tell its reader; a comparison forgives just
// that.
type quirks struct {
	emptyKeyIsNull, emptyValueIsNull, emptyHeaderIsNull bool
}

// difference tells how got is not want, or "".
func difference(want, got record, q quirks) string {
	if !same(want.key, got.key, q.emptyKeyIsNull) {
		return fmt.Sprintf("key %s, want %s", show(got.key), show(want.key))
	}
	if !same(want.value, got.value, q.emptyValueIsNull) {
		return fmt.Sprintf("value %s, want %s", show(got.value), show(want.value))
	}
	if want.timestampMs != got.timestampMs {
		return fmt.Sprintf("timestamp %d, want %d", got.timestampMs, want.timestampMs)
	}
	if len(want.headers) != len(got.headers) {
		return fmt.Sprintf("%d headers, want %d", len(got.headers), len(want.headers))
	}
	for i, h := range want.headers {
		if h.key != got.headers[i].key || !same(h.value, got.headers[i].value, q.emptyHeaderIsNull) {
			return fmt.Sprintf("header %d %q=%s, want %q=%s", i, got.headers[i].key, show(got.headers[i].value), h.key, show(h.value))
		}
	}
	return ""
}

func same(want, got []byte, emptyIsNull bool) bool {
	if !emptyIsNull && (want == nil) != (got == nil) {
		return false
	}
	return bytes.Equal(want, got)
}

func show(b []byte) string {
	switch {
	case b == nil:
		return "null"
	case len(b) > 40:
		return fmt.Sprintf("%q… (%d bytes)", b[:40], len(b))
	default:
		return fmt.Sprintf("%q", b)
	}
}
