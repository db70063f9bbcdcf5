// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"maps"
	"testing"

	"gregor/base/vfs"
)

// What Apache Kafka's cleaner noted of a partition is not true of the next one
// of its name, and stays for the others.
func TestNewPartitionIsNotCleaned(t *testing.T) {
	memory := vfs.NewMemory()
	d := open(t, memory)
	for p := range 3 {
		appendSome(t, openLog(t, d, tp("orders", p)), 9)
	}
	ok(t, d.Close(1))
	says := func() offsets {
		t.Helper()
		parsed, _, err := readCheckpoint(memory, "/data/"+cleanerFile, sum{})
		ok(t, err)
		return parsed
	}
	ok(t, vfs.WriteFileAtomic(memory, "/data/"+cleanerFile, []byte("0\n4\norders 0 7\norders 1 8\norders 2 9\nlong-gone 0 5\n")))

	d = open(t, memory)
	appendSome(t, openLog(t, d, tp("long-gone", 0)), 1)
	if got, want := says(), (offsets{tp("orders", 0): 7, tp("orders", 1): 8, tp("orders", 2): 9}); !maps.Equal(got, want) {
		t.Errorf("beside one that had gone before: %v, want %v", got, want)
	}
	ok(t, d.DeleteLog(openLog(t, d, tp("orders", 0))))
	appendSome(t, openLog(t, d, tp("orders", 0)), 1)
	if got, want := says(), (offsets{tp("orders", 1): 8, tp("orders", 2): 9}); !maps.Equal(got, want) {
		t.Errorf("beside the new partition: %v, want %v", got, want)
	}
	ok(t, d.DeleteLog(openLog(t, d, tp("orders", 1))))
	ok(t, d.Close(2))
	if got, want := says(), (offsets{tp("orders", 2): 9}); !maps.Equal(got, want) {
		t.Errorf("after the stop: %v, want %v", got, want)
	}

	ok(t, vfs.WriteFileAtomic(memory, "/data/"+cleanerFile, []byte("damaged")))
	d = open(t, memory)
	ok(t, d.Close(3))
	if b, err := vfs.ReadFile(memory, "/data/"+cleanerFile, 100); err != nil || string(b) != "damaged" {
		t.Errorf("%q, %v", b, err)
	}
}
