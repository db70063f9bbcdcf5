// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
)

// heapFloorBytes is the heap at which the collector may begin its work. A
// broker's live heap is a few megabytes, and Go's own rule would have it
// collect every few megabytes of requests.
const heapFloorBytes = 32 << 20

// limitMemory sets what the Go runtime tries to stay under: limitBytes, or
// nine tenths of the control group's limit, so that the kernel keeps some room
// for its own part of the group. GOMEMLIMIT and GOGC win over it.
func limitMemory(limitBytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		if limitBytes == 0 {
			limitBytes = groupLimitBytes() / 10 * 9
		}
		if limitBytes > 0 {
			debug.SetMemoryLimit(limitBytes)
		}
	}
	if os.Getenv("GOGC") == "" {
		keepFloor(&cycle{})
	}
}

// cycle is garbage as soon as it is made: its finalizer runs once after each
// collection.
type cycle struct{ _ [16]byte }

// keepFloor sets GOGC anew after each collection, so that the next one begins
// at twice the live heap or at heapFloorBytes, whichever is more.
func keepFloor(c *cycle) {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	live := int64(sample[0].Value.Uint64())
	debug.SetGCPercent(gcPercent(live))
	runtime.SetFinalizer(c, func(*cycle) { keepFloor(&cycle{}) })
}

// gcPercent is the GOGC at which a heap of live bytes grows to the floor, and
// at least the usual 100. Go's least heap is 4 MiB at 100, so the floor bounds
// what tiny heaps may ask for.
func gcPercent(live int64) int {
	const leastHeapBytes = 4 << 20
	live = max(live, leastHeapBytes)
	return int(max(100, heapFloorBytes*100/live-100))
}

// groupLimitBytes reads the memory limit of this process's control group; 0
// is none.
func groupLimitBytes() int64 {
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		// Version 1 says "no limit" by a number near the largest there is.
		if err == nil && n > 0 && n < math.MaxInt64/2 {
			return n
		}
	}
	return 0
}
