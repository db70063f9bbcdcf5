// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Memory is a file system in memory that knows what a power cut would leave.
//
// Two states are kept side by side. Of a file: pages, each with its current and
// its durable bytes, and a durable size; SyncData makes the second the first.
// Of the tree: the current entries of each directory and the durable ones; a
// creation, rename or removal is one change that waits in order until SyncDir
// of a directory it touches, or SyncFS, makes it durable. CrashClone builds
// what a crash leaves from the two.
//
// The durable bytes of a page are shared with the current ones until the page
// is written again, so a log that is only appended to is held once.
//
// Memory is safe for concurrent use and inside synctest bubbles: its locks are
// held over memory only. Order of locks: Memory.mu before inode.mu. It follows
// no symbolic links, as it has none.
type Memory struct {
	mu         sync.Mutex // guards the tree and what follows
	root       *inode
	nextInode  uint64
	locked     map[*inode]bool
	totalBytes int64
	changes    []*change // not durable yet, oldest first

	clock struct {
		sync.Mutex
		lastNano int64
	}
}

var _ FS = (*Memory)(nil)

// NewMemory returns an empty file system that holds the directories "/" and ".".
func NewMemory() *Memory {
	m := &Memory{locked: map[*inode]bool{}, totalBytes: math.MaxInt64}
	m.root = m.newInodeLocked(true)
	return m
}

// inode is a file or a directory.
type inode struct {
	id      uint64
	entries map[string]*inode // of a directory; nil for a file. Guarded by Memory.mu
	durable map[string]*inode // likewise, what a crash leaves

	mu            sync.RWMutex // guards what follows
	perm          fs.FileMode
	modTimeNano   int64
	pages         map[int64]*page
	dirty         []int64 // pages that are dirty; may name some that are gone
	sizeBytes     int64
	durableBytes  int64
	shortestBytes int64 // the least size since it was durable
}

// The size of a page balances the cost of the copy that the first write after a
// sync makes against the number of map entries.
const pageBytes = 4096

type page struct {
	current []byte // nil: zeros
	durable []byte // nil: zeros; the same slice as current when the page is clean
	dirty   bool
}

func (n *inode) isDir() bool { return n.entries != nil }

func (m *Memory) newInodeLocked(dir bool) *inode {
	m.nextInode++
	n := &inode{id: m.nextInode, modTimeNano: m.nowNano()}
	if dir {
		n.perm = 0o755
		n.entries, n.durable = map[string]*inode{}, map[string]*inode{}
	} else {
		n.pages = map[int64]*page{}
	}
	return n
}

// nowNano never repeats a value: under virtual time two writes in one instant
// must still differ in modification time, as they would on a disk.
func (m *Memory) nowNano() int64 {
	m.clock.Lock()
	defer m.clock.Unlock()
	m.clock.lastNano = max(time.Now().UnixNano(), m.clock.lastNano+1)
	return m.clock.lastNano
}

// split takes a path apart. Relative paths start at the root, which stands for
// the working directory too.
func split(name string) []string {
	name = strings.TrimPrefix(filepath.ToSlash(filepath.Clean(name)), "/")
	if name == "." || name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

func (m *Memory) findLocked(name string) (*inode, error) {
	n := m.root
	for _, part := range split(name) {
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		child, ok := n.entries[part]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = child
	}
	return n, nil
}

func (m *Memory) parentLocked(name string) (dir *inode, base string, err error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", syscall.EINVAL
	}
	last := len(parts) - 1
	dir, err = m.findLocked(strings.Join(parts[:last], "/"))
	if err == nil && !dir.isDir() {
		err = syscall.ENOTDIR
	}
	return dir, parts[last], err
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements FS.
func (m *Memory) Open(name string, flag OpenFlag, perm fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked(name)
	switch {
	case err == nil && flag&(Create|Exclusive) == Create|Exclusive:
		return nil, pathError("open", name, fs.ErrExist)
	case err == nil && n.isDir():
		return nil, pathError("open", name, syscall.EISDIR)
	case err == fs.ErrNotExist && flag&Create != 0:
		dir, base, err := m.parentLocked(name)
		if err != nil {
			return nil, pathError("open", name, err)
		}
		n = m.newInodeLocked(false)
		n.perm = perm.Perm()
		m.applyLocked(entrySet{dir, base, n})
	case err != nil:
		return nil, pathError("open", name, err)
	}
	f := &memoryFile{fs: m, node: n, name: name, writes: flag != ReadOnly}
	if flag&Truncate != 0 {
		f.truncate(0)
	}
	return f, nil
}

// MkdirAll implements FS.
func (m *Memory) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, part := range split(dir) {
		child, ok := n.entries[part]
		if !ok {
			child = m.newInodeLocked(true)
			m.applyLocked(entrySet{n, part, child})
		}
		if !child.isDir() {
			return pathError("mkdir", dir, syscall.ENOTDIR)
		}
		n = child
	}
	return nil
}

// Remove implements FS.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n, ok := dir.entries[base]
	if !ok {
		return pathError("remove", name, fs.ErrNotExist)
	}
	if n.isDir() && len(n.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.applyLocked(entrySet{dir, base, nil})
	return nil
}

// RemoveAll implements FS. As on a disk, a crash may leave a part of the tree.
func (m *Memory) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parentLocked(name)
	if err == fs.ErrNotExist {
		return nil
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	if n, ok := dir.entries[base]; ok {
		m.clearLocked(n)
		m.applyLocked(entrySet{dir, base, nil})
	}
	return nil
}

func (m *Memory) clearLocked(n *inode) {
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		m.clearLocked(n.entries[name])
		m.applyLocked(entrySet{n, name, nil})
	}
}

// Rename implements FS.
func (m *Memory) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error) error { return pathError("rename", oldName, err) }
	oldDir, oldBase, err := m.parentLocked(oldName)
	if err != nil {
		return fail(err)
	}
	n, ok := oldDir.entries[oldBase]
	if !ok {
		return fail(fs.ErrNotExist)
	}
	newDir, newBase, err := m.parentLocked(newName)
	if err != nil {
		return fail(err)
	}
	for _, part := range ancestors(newName) {
		if in, err := m.findLocked(part); err == nil && in == n {
			return fail(syscall.EINVAL) // into itself
		}
	}
	if target, ok := newDir.entries[newBase]; ok {
		switch {
		case target == n:
			return nil
		case target.isDir() && !n.isDir():
			return fail(fs.ErrExist) // as package os has it for EISDIR
		case n.isDir() && !target.isDir():
			return fail(syscall.ENOTDIR)
		case target.isDir():
			return fail(fs.ErrExist)
		}
	}
	m.applyLocked(entrySet{oldDir, oldBase, nil}, entrySet{newDir, newBase, n})
	return nil
}

func ancestors(name string) []string {
	parts := split(name)
	var all []string
	for i := 1; i < len(parts); i++ {
		all = append(all, strings.Join(parts[:i], "/"))
	}
	return all
}

// Stat implements FS.
func (m *Memory) Stat(name string) (FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked(name)
	if err != nil {
		return FileInfo{}, pathError("stat", name, err)
	}
	return n.info(filepath.Base(name)), nil
}

func (n *inode) info(name string) FileInfo {
	n.mu.RLock()
	defer n.mu.RUnlock()
	info := FileInfo{Name: name, SizeBytes: n.sizeBytes, ModTimeNano: n.modTimeNano, Inode: n.id, Mode: n.perm}
	if n.isDir() {
		info.Mode |= fs.ModeDir
	}
	return info
}

// ReadDir implements FS.
func (m *Memory) ReadDir(dir string) ([]FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.findLocked(dir)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", dir, err)
	}
	names := slices.Sorted(maps.Keys(n.entries))
	infos := make([]FileInfo, len(names))
	for i, name := range names {
		infos[i] = n.entries[name].info(name)
	}
	return infos, nil
}

// Lock implements FS.
func (m *Memory) Lock(name string) (io.Closer, error) {
	f, err := m.Open(name, Create, 0o644)
	if err != nil {
		return nil, err
	}
	n := f.(*memoryFile).node
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[n] {
		return nil, pathError("lock", name, ErrLocked)
	}
	m.locked[n] = true
	return &memoryLock{fs: m, node: n}, nil
}

type memoryLock struct {
	fs   *Memory
	node *inode
}

func (l *memoryLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locked, l.node)
	return nil
}

// SetTotalBytes tells Usage how large the disk is. It limits nothing: see Fault.
func (m *Memory) SetTotalBytes(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.totalBytes = n
}

// Usage implements FS.
func (m *Memory) Usage(dir string) (Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.findLocked(dir); err != nil {
		return Usage{}, pathError("statfs", dir, err)
	}
	used := int64(0)
	walk(m.root, func(n *inode) {
		n.mu.RLock()
		used += int64(len(n.pages)) * pageBytes
		n.mu.RUnlock()
	})
	return Usage{TotalBytes: m.totalBytes, FreeBytes: max(0, m.totalBytes-used)}, nil
}
