// SPDX-License-Identifier: Apache-2.0

package groups

import (
	"math"
	"testing"
)

func TestMoved(t *testing.T) {
	for _, tc := range []struct{ offset, by, want int64 }{
		{5, 3, 8}, {5, -3, 2}, {5, -8, -3}, {0, math.MaxInt64, math.MaxInt64}, {1, math.MaxInt64, math.MaxInt64},
		{math.MaxInt64, 1, math.MaxInt64}, {7, math.MinInt64, math.MinInt64 + 7}, {math.MaxInt64, math.MinInt64, -1},
	} {
		if got := Moved(tc.offset, tc.by); got != tc.want {
			t.Errorf("%d moved by %d is %d, want %d", tc.offset, tc.by, got, tc.want)
		}
	}
}

func TestPortionOf(t *testing.T) {
	for _, tc := range []struct{ many, bytes, want int }{
		{0, 0, 0}, {1, 1 << 20, 1}, {3, 1 << 20, 1}, {10, 100, 10}, {10_000, portionBytes/1024 - recordBytes, 1024}, {10_000, 0, portionBytes / recordBytes},
	} {
		if got := portionOf(tc.many, func(int) int { return tc.bytes }); got != tc.want {
			t.Errorf("%d of %d bytes: %d in the first portion, want %d", tc.many, tc.bytes, got, tc.want)
		}
	}
}
