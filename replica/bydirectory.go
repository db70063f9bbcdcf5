// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"path/filepath"
	"sync"

	"gregor/storage/commitlog"
)

// byDirectory does what all partitions of a node are to have done now and then,
// in a goroutine for each of their log directories, which lives as long as there
// is something to do. A disk that hangs holds up its own partitions only, and
// the next pass goes by it.
type byDirectory struct {
	work sync.WaitGroup

	mu   sync.Mutex // guards busy
	busy map[string]bool
}

func newByDirectory() byDirectory { return byDirectory{busy: make(map[string]bool)} }

// directoryOf is the log directory in which a log lies.
func directoryOf(log *commitlog.Log) string { return filepath.Dir(log.Dir()) }

// each calls do for the partitions of every directory in which no earlier pass is
// still at work. It does not wait.
func (b *byDirectory) each(partitions map[string][]*Partition, do func(*Partition)) {
	for dir, list := range partitions {
		if !b.begin(dir) {
			continue
		}
		b.work.Go(func() {
			defer b.end(dir)
			for _, p := range list {
				do(p)
			}
		})
	}
}

func (b *byDirectory) begin(dir string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.busy[dir] {
		return false
	}
	b.busy[dir] = true
	return true
}

func (b *byDirectory) end(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.busy, dir)
}
