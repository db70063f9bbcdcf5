// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Keep says how much of what was not made durable survives a crash.
type Keep int

// What survives.
const (
	// KeepAll: everything, as when the process dies and the machine lives.
	KeepAll Keep = iota
	// KeepNone: nothing.
	KeepNone
	// KeepPrefix: the older part, as when write-back went in order. Of a file
	// that is a prefix of what was appended, cut at any byte.
	KeepPrefix
	// KeepTorn: any part. Of a file each sector of 512 bytes is old or new by
	// itself, and the size may be the new one over sectors that never came.
	KeepTorn
)

// Loss describes one crash. The same Loss of the same state gives the same
// image.
type Loss struct {
	Data    Keep // bytes and sizes without SyncData
	Entries Keep // creations, renames and removals without SyncDir
	Seed    uint64
}

const sectorBytes = 512

// CrashClone returns a file system as a crash at this moment would leave it,
// where everything is durable and no lock is held. The original goes on.
func (m *Memory) CrashClone(loss Loss) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := cloner{loss: loss, random: rand.New(rand.NewPCG(loss.Seed, 0x9e3779b97f4a7c15)), seen: map[*inode]*inode{}}
	c.tree = c.entriesAfter(m)

	clone := &Memory{nextInode: m.nextInode, locked: map[*inode]bool{}, totalBytes: m.totalBytes}
	m.clock.Lock()
	clone.clock.lastNano = m.clock.lastNano
	m.clock.Unlock()
	clone.root = c.clone(m.root)
	return clone
}

type cloner struct {
	loss   Loss
	random *rand.Rand
	tree   map[*inode]map[string]*inode // entries of the directories that changed
	seen   map[*inode]*inode
}

// entriesAfter applies the changes that survive to the durable entries.
func (c *cloner) entriesAfter(m *Memory) map[*inode]map[string]*inode {
	prefix := 0
	if c.loss.Entries == KeepPrefix {
		prefix = c.random.IntN(len(m.changes) + 1)
	}
	kept := closure(m.changes, func(i int, _ *change) bool {
		switch c.loss.Entries {
		case KeepAll:
			return true
		case KeepPrefix:
			return i < prefix
		case KeepTorn:
			return c.random.IntN(2) == 0
		}
		return false
	})
	tree := map[*inode]map[string]*inode{}
	for i, change := range m.changes {
		if !kept[i] {
			continue
		}
		for _, s := range change.sets {
			entries := tree[s.dir]
			if entries == nil {
				entries = map[string]*inode{}
				for name, n := range s.dir.durable {
					entries[name] = n
				}
				tree[s.dir] = entries
			}
			if s.node == nil {
				delete(entries, s.name)
			} else {
				entries[s.name] = s.node
			}
		}
	}
	return tree
}

func (c *cloner) clone(n *inode) *inode {
	if twin := c.seen[n]; twin != nil {
		return twin
	}
	twin := &inode{id: n.id}
	c.seen[n] = twin
	n.mu.RLock()
	defer n.mu.RUnlock()
	twin.perm, twin.modTimeNano = n.perm, n.modTimeNano
	if !n.isDir() {
		c.cloneData(n, twin)
		return twin
	}
	entries, changed := c.tree[n]
	if !changed {
		entries = n.durable
	}
	twin.entries, twin.durable = map[string]*inode{}, map[string]*inode{}
	for _, name := range slices.Sorted(maps.Keys(entries)) { // in order: the seed decides
		child := c.clone(entries[name])
		twin.entries[name], twin.durable[name] = child, child
	}
	return twin
}

func (c *cloner) cloneData(n, twin *inode) {
	keepTo, size := c.sizes(n)
	twin.pages = make(map[int64]*page, len(n.pages))
	twin.sizeBytes, twin.durableBytes, twin.shortestBytes = size, size, size
	for _, i := range slices.Sorted(maps.Keys(n.pages)) {
		pg, start := n.pages[i], i*pageBytes
		b := pg.durable
		if pg.dirty {
			b = c.mix(pg, start, keepTo)
		}
		if b == nil || start >= size {
			continue
		}
		pg = &page{current: b, durable: b}
		if end := size - start; end < pageBytes && !allZero(b[end:]) {
			// What was written behind the end that survives stays in its block, and is
			// in the file again if the next crash keeps a new size and no new bytes.
			pg.current = append([]byte(nil), b...)
			clear(pg.current[end:])
		}
		twin.pages[i] = pg
	}
}

// sizes draws the size that the file has after the crash, and up to which
// position its new bytes survive. A position below zero stands for "drawn by
// sector".
func (c *cloner) sizes(n *inode) (keepTo, size int64) {
	low := min(n.shortestBytes, n.durableBytes)
	high := max(n.sizeBytes, n.durableBytes)
	between := func(a, b int64) int64 { return a + c.random.Int64N(b-a+1) }
	switch c.loss.Data {
	case KeepAll:
		return n.sizeBytes, n.sizeBytes
	case KeepNone:
		return 0, n.durableBytes
	case KeepPrefix:
		if low < n.durableBytes && c.random.IntN(2) == 0 {
			return 0, n.durableBytes // not even the cut was written
		}
		cut := between(low, max(low, n.sizeBytes))
		return cut, cut
	default:
		switch c.random.IntN(3) {
		case 0:
			return -1, n.durableBytes
		case 1:
			return -1, n.sizeBytes
		}
		return -1, between(low, high)
	}
}

// mix puts a page together from its current and its durable bytes.
func (c *cloner) mix(pg *page, start, keepTo int64) []byte {
	b := make([]byte, pageBytes)
	copy(b, pg.durable)
	for at := 0; at < pageBytes; at += sectorBytes {
		new := b[at : at+sectorBytes]
		switch {
		case keepTo < 0 && c.random.IntN(2) == 0:
			continue
		case keepTo >= 0 && start+int64(at) >= keepTo:
			return b
		case keepTo >= 0:
			new = new[:min(sectorBytes, keepTo-start-int64(at))]
		}
		if pg.current == nil {
			clear(new)
		} else {
			copy(new, pg.current[at:])
		}
	}
	return b
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
