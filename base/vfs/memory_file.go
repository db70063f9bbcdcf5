// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
)

// memoryFile is one open handle; it works on after its name is gone.
type memoryFile struct {
	fs     *Memory
	node   *inode
	name   string
	writes bool
	closed atomic.Bool
}

var _ File = (*memoryFile)(nil)

// check refuses a handle that was closed, and a write to one opened for reading.
func (f *memoryFile) check(op string, write bool) error {
	if f.closed.Load() {
		return pathError(op, f.name, fs.ErrClosed)
	}
	if write && !f.writes {
		return pathError(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.name, syscall.EINVAL)
	}
	n := f.node
	n.mu.RLock()
	defer n.mu.RUnlock()
	done := 0
	for done < len(p) {
		pos := off + int64(done)
		if pos >= n.sizeBytes {
			return done, io.EOF
		}
		in := int(pos % pageBytes)
		part := p[done:min(len(p), done+pageBytes-in)]
		part = part[:min(int64(len(part)), n.sizeBytes-pos)]
		if pg := n.pages[pos/pageBytes]; pg != nil && pg.current != nil {
			copy(part, pg.current[in:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return done, nil
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	now := f.fs.nowNano()
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	f.node.writeLocked(p, off, now)
	return len(p), nil
}

func (f *memoryFile) WriteVAt(bufs [][]byte, off int64) (int64, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", f.name, syscall.EINVAL)
	}
	now := f.fs.nowNano()
	f.node.mu.Lock()
	defer f.node.mu.Unlock()
	n := int64(0)
	for _, b := range bufs {
		f.node.writeLocked(b, off+n, now)
		n += int64(len(b))
	}
	return n, nil
}

func (n *inode) writeLocked(p []byte, off, now int64) {
	if len(p) == 0 {
		return
	}
	n.modTimeNano = now
	n.sizeBytes = max(n.sizeBytes, off+int64(len(p)))
	for len(p) > 0 {
		in := int(off % pageBytes)
		pg := n.writableLocked(off / pageBytes)
		c := copy(pg.current[in:], p)
		p, off = p[c:], off+int64(c)
	}
}

// writableLocked returns page i with bytes of its own to write to.
func (n *inode) writableLocked(i int64) *page {
	pg := n.pages[i]
	if pg == nil {
		pg = &page{}
		n.pages[i] = pg
	}
	if pg.dirty && pg.current != nil {
		return pg
	}
	fresh := make([]byte, pageBytes)
	copy(fresh, pg.current)
	pg.current = fresh
	n.markLocked(i, pg)
	return pg
}

func (n *inode) markLocked(i int64, pg *page) {
	if !pg.dirty {
		pg.dirty = true
		n.dirty = append(n.dirty, i)
	}
}

func (f *memoryFile) Truncate(sizeBytes int64) error {
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if sizeBytes < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	f.truncate(sizeBytes)
	return nil
}

func (f *memoryFile) truncate(sizeBytes int64) {
	now := f.fs.nowNano()
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if sizeBytes < n.sizeBytes {
		n.shortestBytes = min(n.shortestBytes, sizeBytes)
		for i, pg := range n.pages {
			switch start := i * pageBytes; {
			case start >= sizeBytes && pg.durable == nil:
				delete(n.pages, i)
			case start >= sizeBytes:
				pg.current = nil
				n.markLocked(i, pg)
			case start+pageBytes > sizeBytes && pg.current != nil:
				clear(n.writableLocked(i).current[sizeBytes-start:])
			}
		}
	}
	n.dropStaleLocked(sizeBytes)
	n.sizeBytes, n.modTimeNano = sizeBytes, now
}

// dropStaleLocked forgets what an earlier crash left behind the end in its block: no
// later size reaches the disk before the zeros that a truncation to the present
// size writes there.
func (n *inode) dropStaleLocked(sizeBytes int64) {
	start := sizeBytes - sizeBytes%pageBytes
	pg := n.pages[start/pageBytes]
	if sizeBytes != n.durableBytes || pg == nil || pg.durable == nil || allZero(pg.durable[sizeBytes-start:]) {
		return
	}
	pg.durable = append([]byte(nil), pg.durable...)
	clear(pg.durable[sizeBytes-start:])
}

// sync makes the current content the durable one.
func (n *inode) sync() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range n.dirty {
		pg := n.pages[i]
		if pg == nil {
			continue // cut off before it was ever durable
		}
		pg.durable, pg.dirty = pg.current, false
		if pg.current == nil {
			delete(n.pages, i)
		}
	}
	n.dirty = n.dirty[:0]
	n.durableBytes, n.shortestBytes = n.sizeBytes, n.sizeBytes
}

func (f *memoryFile) SyncData() error {
	if err := f.check("fdatasync", false); err != nil {
		return err
	}
	f.node.sync()
	return nil
}

func (f *memoryFile) Preallocate(off, lengthBytes int64) error {
	return f.check("preallocate", true)
}

func (f *memoryFile) SyncRange(off, lengthBytes int64) error {
	return f.check("sync_file_range", false)
}

func (f *memoryFile) Advise(off, lengthBytes int64, advice Advice) error {
	return f.check("fadvise", false)
}

func (f *memoryFile) Size() (int64, error) {
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	f.node.mu.RLock()
	defer f.node.mu.RUnlock()
	return f.node.sizeBytes, nil
}

func (f *memoryFile) Fd() (int, bool) { return -1, false }

func (f *memoryFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, fs.ErrClosed)
	}
	return nil
}
