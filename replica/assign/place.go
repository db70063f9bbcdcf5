// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"fmt"
	"slices"

	"gregor/base/kafka"
	"gregor/replica"
)

// noDirectory is the home of a replica that lies in a directory that is not here.
const noDirectory = -1

// Home is where a log was found at the start.
type Home struct {
	Dir     int           // in Options.Dirs
	TopicID kafka.TopicID // zero where the folder does not tell
}

// homes chooses the directories of replicas, by Kafka's rules (KIP-858):
//
//	the log is here already ─► where it is; the controller is told, if it thinks otherwise
//	the controller names a directory of this broker ─► that one, be it offline
//	else ─► the directory with the fewest logs
//
// Rejected, of the last line, where a directory is offline: a replica whose
// directory is not among those that work may lie in the one that does not, and
// an empty log in its place would be a loss that nobody notices. It stays
// offline. One that was never assigned is new; but at a start, one that is
// counted as in sync may have been written before its assignment was known, so
// it is reported as lost until its directory is back.
type homes struct {
	placed []int // logs per directory
	found  map[kafka.TopicPartition][]Home
	// settled: what this broker had before it was started has been placed.
	settled bool
}

func newHomes(dirs int, found map[kafka.TopicPartition][]Home) homes {
	h := homes{placed: make([]int, dirs), found: make(map[kafka.TopicPartition][]Home, len(found))}
	for tp, list := range found {
		h.found[tp] = slices.Clone(list)
		for _, at := range list {
			h.placed[at.Dir]++
		}
	}
	return h
}

// take gives the directory in which the log of a partition was found, and
// forgets it; false if there is none of this topic's id.
func (h *homes) take(tp kafka.TopicPartition, id kafka.TopicID) (int, bool) {
	list := h.found[tp]
	at := slices.IndexFunc(list, func(f Home) bool { return f.TopicID.IsZero() || f.TopicID == id })
	if at < 0 {
		return 0, false
	}
	dir := list[at].Dir
	if len(list) == 1 {
		delete(h.found, tp)
	} else {
		h.found[tp] = slices.Delete(slices.Clone(list), at, at+1)
	}
	return dir, true
}

// aside forgets the log of another topic that was found in a directory.
func (h *homes) aside(tp kafka.TopicPartition, dir int) {
	list := h.found[tp]
	at := slices.IndexFunc(list, func(f Home) bool { return f.Dir == dir })
	if at < 0 {
		return
	}
	h.placed[dir]--
	if h.found[tp] = slices.Delete(slices.Clone(list), at, at+1); len(list) == 1 {
		delete(h.found, tp)
	}
}

// place chooses the directory of a replica.
func (x *Executor) place(s Step) int {
	if dir, ok := x.homes.take(s.TopicPartition, s.ID.TopicID); ok {
		return dir
	}
	named, offline, emptiest := noDirectory, false, noDirectory
	for i, d := range x.o.Dirs {
		if !s.Directory.IsZero() && d.ID() == s.Directory {
			named = i
		}
		if d.Offline() != nil {
			offline = true
		} else if emptiest < 0 || x.homes.placed[i] < x.homes.placed[emptiest] {
			emptiest = i
		}
	}
	dir := emptiest
	switch {
	case named >= 0:
		dir = named
	case !offline:
	case !s.Directory.IsZero():
		dir = noDirectory
	case !x.homes.settled && slices.Contains(s.Leadership.ISR, x.o.Self):
		dir = noDirectory
		x.report(s.ID, kafka.DirectoryLost)
	}
	if dir >= 0 {
		x.homes.placed[dir]++
	}
	return dir
}

// unplace forgets where a replica was.
func (x *Executor) unplace(p *replica.Partition) {
	if dir := p.Home(); dir >= 0 {
		x.homes.placed[dir]--
	}
}

// report tells the controller where a replica is.
func (x *Executor) report(id kafka.TopicIDPartition, dir kafka.DirectoryID) {
	if x.o.Assigned != nil {
		x.o.Assigned(id, dir)
	}
}

// FailDir takes all partitions of a directory offline.
func (x *Executor) FailDir(dir int, err error) {
	x.o.Table.All(func(p *replica.Partition) bool {
		if p.Home() == dir {
			p.Lose(err)
		}
		return true
	})
}

// awayError says that a replica lies in a directory that is not here.
type awayError struct{ directory kafka.DirectoryID }

func (e *awayError) Error() string {
	return fmt.Sprintf("its log directory %s is offline", e.directory)
}

// Unwrap makes errors.Is(err, kafka.KafkaStorageError) true.
func (e *awayError) Unwrap() error { return kafka.KafkaStorageError }
