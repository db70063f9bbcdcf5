// SPDX-License-Identifier: Apache-2.0

package vfs

import "syscall"

// change is one atomic update of the tree: every entry it sets becomes durable
// with it or not at all. A nil inode removes the entry.
type change struct{ sets []entrySet }

type entrySet struct {
	dir  *inode
	name string
	node *inode
}

// applyLocked changes the tree and notes the change as not durable.
func (m *Memory) applyLocked(sets ...entrySet) {
	now := m.nowNano()
	for _, s := range sets {
		if s.node == nil {
			delete(s.dir.entries, s.name)
		} else {
			s.dir.entries[s.name] = s.node
		}
		s.dir.mu.Lock()
		s.dir.modTimeNano = now
		s.dir.mu.Unlock()
	}
	m.changes = append(m.changes, &change{sets: sets})
}

// SyncDir implements FS.
func (m *Memory) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked(dir)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("fsync", dir, err)
	}
	kept := closure(m.changes, func(_ int, c *change) bool { return c.touches(n) })
	rest := m.changes[:0]
	for i, c := range m.changes {
		if !kept[i] {
			rest = append(rest, c)
			continue
		}
		c.persist()
	}
	clear(m.changes[len(rest):])
	m.changes = rest
	return nil
}

// closure marks the changes that want wants, and every older one of the same
// entries: no file system forgets a creation and remembers the rename after it.
func closure(changes []*change, want func(int, *change) bool) []bool {
	type key struct {
		dir  *inode
		name string
	}
	kept := make([]bool, len(changes))
	touched := map[key]bool{}
	for i := len(changes) - 1; i >= 0; i-- {
		c := changes[i]
		keep := want(i, c)
		for _, s := range c.sets {
			keep = keep || touched[key{s.dir, s.name}]
		}
		if !keep {
			continue
		}
		kept[i] = true
		for _, s := range c.sets {
			touched[key{s.dir, s.name}] = true
		}
	}
	return kept
}

func (c *change) touches(dir *inode) bool {
	for _, s := range c.sets {
		if s.dir == dir {
			return true
		}
	}
	return false
}

func (c *change) persist() {
	for _, s := range c.sets {
		if s.node == nil {
			delete(s.dir.durable, s.name)
		} else {
			s.dir.durable[s.name] = s.node
		}
	}
}

// OpenSyncer implements FS.
func (m *Memory) OpenSyncer(dir string) (Syncer, error) {
	if _, err := m.Stat(dir); err != nil {
		return nil, err
	}
	return memorySyncer{m}, nil
}

type memorySyncer struct{ fs *Memory }

func (s memorySyncer) SyncFS() error {
	s.fs.syncAll()
	return nil
}

func (s memorySyncer) Close() error { return nil }

func (m *Memory) syncAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.changes {
		c.persist()
	}
	m.changes = nil
	walk(m.root, func(n *inode) { n.sync() })
}

func walk(n *inode, visit func(*inode)) {
	if !n.isDir() {
		visit(n)
		return
	}
	for _, child := range n.entries {
		walk(child, visit)
	}
}
