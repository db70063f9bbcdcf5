// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"gregor/base/kafka"
)

// FullError says that producers wait for room. It carries KAFKA_STORAGE_ERROR,
// which they take as a reason to look for the leader and try again, after their
// retry.backoff.ms.
type FullError struct {
	Path         string
	FreeBytes    int64
	ReserveBytes int64
	Err          error // what a write said; nil where the reserve is touched
}

func (e *FullError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("log directory %s has no room: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("log directory %s has %d bytes free, and %d are kept back for all but producers", e.Path, e.FreeBytes, e.ReserveBytes)
}

// Unwrap finds KAFKA_STORAGE_ERROR.
func (e *FullError) Unwrap() error { return kafka.KafkaStorageError }

// room keeps a reserve on the directory's file system: what producers may not
// write, so that deletions, metadata and commits of groups still find room, and
// readers go on.
//
//	a write ─► written; beyond the limit: refuse producers at once
//	        └► the first one since the last look asks for the next
//	goroutine, a look a second at most: statfs ─► the limit anew; refuse, or go on
//
// While nothing is written nobody looks. While producers are refused it looks
// every second, and lets them in again when a tenth of the reserve is free
// beside it. What others write to the file system is seen by the next look.
// A write that found no room (ENOSPC, EDQUOT) has the same effect, whatever
// the reserve is. statfs may see room where there is none for that write (it
// is larger, inodes are out, a quota is used up), so producers may try again
// when there is clearly more room than at the failure, and else every few
// seconds; the line that all is well waits for another second without a
// failure.
//
// Rejected: statfs at every append, which costs more than the append; a look
// every second come what may, which wakes idle nodes.
type room struct {
	written atomic.Int64 // bytes, since the start
	limit   atomic.Int64 // of written: at this, the reserve is touched
	asked   atomic.Bool  // a look is due
	ask     chan struct{}
	// refusal is why producers may not write: *FullError, or the directory's
	// OfflineError, which stays.
	refusal atomic.Pointer[error]
	reserve atomic.Int64 // as of the last look
	// What follows is of who looks.
	told  bool // that producers are refused
	looks int  // since a write found no room
}

func (r *room) init() {
	r.ask = make(chan struct{}, 1)
	r.limit.Store(math.MaxInt64)
}

// lookEvery is the shortest time between two looks.
const lookEvery = time.Second

// After a write that found no room: so much more of it is clearly more, and
// otherwise after so many looks it is time to try again.
const (
	grownBytes = 1 << 20
	looksMax   = 3
)

// The reserve, where none was configured: so many bytes, or so small a part of
// the file system if that is less.
const (
	reserveBytesDefault = 1 << 30
	reservePart         = 20
)

// ReserveOf is what gregor.log.reserve.bytes comes to on a file system: below
// zero it is the default.
func ReserveOf(configuredBytes, totalBytes int64) int64 {
	if configuredBytes >= 0 {
		return configuredBytes
	}
	return min(reserveBytesDefault, totalBytes/reservePart)
}

// resumeAt is the room from which producers may write again.
func resumeAt(reserve int64) int64 { return max(reserve+reserve/10, 1) }

// Refuses is nil while producers may write into the directory, else why not.
func (d *Dir) Refuses() error {
	if why := d.room.refusal.Load(); why != nil {
		return *why
	}
	return nil
}

// ReserveBytes is the room that producers leave, as of the last look.
func (d *Dir) ReserveBytes() int64 { return d.room.reserve.Load() }

// spend counts what logs write. It runs on their lanes.
func (d *Dir) spend(bytes int64) {
	r := &d.room
	if d.o.ReserveBytes == 0 {
		return
	}
	if after := r.written.Add(bytes); after > r.limit.Load() && r.refusal.Load() == nil {
		reserve := r.reserve.Load()
		d.refuse(&FullError{Path: d.o.Path, FreeBytes: max(reserve+r.limit.Load()-after, 0), ReserveBytes: reserve})
	}
	d.askRoom()
}

// noRoom is told by a log, on its lane, that a write found none.
func (d *Dir) noRoom(err error) {
	if d.Refuses() == nil {
		usage, _ := d.Usage() // unknown is as good as nothing
		d.refuse(&FullError{Path: d.o.Path, FreeBytes: usage.FreeBytes, ReserveBytes: d.room.reserve.Load(), Err: err})
	}
	d.askRoom()
}

func (d *Dir) refuse(full *FullError) {
	var why error = full
	d.room.refusal.CompareAndSwap(nil, &why)
}

func (d *Dir) askRoom() {
	r := &d.room
	if r.asked.Load() || !r.asked.CompareAndSwap(false, true) {
		return
	}
	select {
	case r.ask <- struct{}{}:
	default:
	}
}

func (d *Dir) runRoom() {
	defer d.goroutines.Done()
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-d.stop:
			return
		case <-d.offline.c:
			return
		}
		if d.room.refusal.Load() == nil && !d.room.told {
			select {
			case <-d.room.ask:
			case <-d.stop:
				return
			case <-d.offline.c:
				return
			}
		}
		d.look()
		timer.Reset(lookEvery)
	}
}

// look asks for the room there is and decides anew. There is one line when
// producers begin to be refused and one when that is over.
func (d *Dir) look() {
	r := &d.room
	select {
	case <-r.ask:
	default:
	}
	r.asked.Store(false)
	before := r.written.Load()
	usage, err := d.Usage()
	if err != nil {
		d.o.Logger.Warn("room on the file system of the log directory cannot be told", "dir", d.o.Path, "err", err)
		return
	}
	reserve := ReserveOf(d.o.ReserveBytes, usage.TotalBytes)
	r.reserve.Store(reserve)
	r.limit.Store(before + usage.FreeBytes - reserve)
	if usage.FreeBytes < reserve {
		d.refuse(&FullError{Path: d.o.Path, FreeBytes: usage.FreeBytes, ReserveBytes: reserve})
	}
	why := r.refusal.Load()
	if why == nil {
		d.tellRoom(usage.FreeBytes)
		return
	}
	full, ok := (*why).(*FullError)
	if !ok { // offline
		return
	}
	enough := usage.FreeBytes >= resumeAt(reserve)
	if !r.told && (full.Err != nil || !enough) {
		r.told = true
		d.o.Logger.Error("log directory is full: producers wait until there is room", "dir", d.o.Path,
			"free_bytes", usage.FreeBytes, "reserve_bytes", reserve, "resume_at_bytes", resumeAt(reserve), "err", full)
	}
	if full.Err != nil {
		if r.looks++; enough && usage.FreeBytes < full.FreeBytes+grownBytes && r.looks < looksMax {
			return
		}
	}
	if !enough || !r.refusal.CompareAndSwap(why, nil) {
		return
	}
	r.looks = 0
	if full.Err == nil {
		d.tellRoom(usage.FreeBytes)
	}
}

// tellRoom ends what look has told, if it has.
func (d *Dir) tellRoom(freeBytes int64) {
	r := &d.room
	if r.told {
		r.told = false
		d.o.Logger.Info("log directory has room again: producers go on", "dir", d.o.Path, "free_bytes", freeBytes, "reserve_bytes", r.reserve.Load())
	}
}
