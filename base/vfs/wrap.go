// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"io"
	"io/fs"
	"time"
)

// Op is a set of kinds of calls, for Fault and Crash.
type Op uint32

// Kinds of calls. OpCreate is an Open that may create or cut a file.
const (
	OpOpen Op = 1 << iota
	OpCreate
	OpMkdir
	OpRemove
	OpRename
	OpSyncDir
	OpSyncFS
	OpStat
	OpReadDir
	OpLock
	OpRead
	OpWrite
	OpTruncate
	OpPreallocate
	OpSyncData
	OpSyncRange

	// OpAny is every call.
	OpAny Op = 1<<iota - 1
	// OpChanges are the calls after which a crash may leave something else.
	OpChanges = OpCreate | OpMkdir | OpRemove | OpRename | OpWrite | OpTruncate
	// OpSyncs are the calls that promise durability.
	OpSyncs = OpSyncDir | OpSyncFS | OpSyncData
)

// Call is one call of a file system or a file of it.
type Call struct {
	Op    Op
	Path  string
	Bytes int64 // of a write, preallocation or read
}

// verdict is what a judge lets a call do: with an error, a write still writes
// shortBytes, every other call does nothing.
type verdict struct {
	err        error
	shortBytes int64
	delay      time.Duration
}

// wrapped lets a judge look at every call of inner before it happens. The judge
// runs on the caller's goroutine and holds no lock when it returns.
type wrapped struct {
	inner FS
	judge func(Call) verdict
}

func (w *wrapped) ask(op Op, path string, bytes int64) verdict {
	v := w.judge(Call{Op: op, Path: path, Bytes: bytes})
	if v.delay > 0 {
		time.Sleep(v.delay)
	}
	if v.err != nil {
		v.err = pathError(op.name(), path, v.err)
	}
	return v
}

func (o Op) name() string {
	for _, n := range [...]struct {
		op   Op
		name string
	}{
		{OpOpen, "open"}, {OpCreate, "create"}, {OpMkdir, "mkdir"}, {OpRemove, "remove"},
		{OpRename, "rename"}, {OpSyncDir, "fsync"}, {OpSyncFS, "syncfs"}, {OpStat, "stat"},
		{OpReadDir, "readdir"}, {OpLock, "lock"}, {OpRead, "read"}, {OpWrite, "write"},
		{OpTruncate, "truncate"}, {OpPreallocate, "preallocate"}, {OpSyncData, "fdatasync"},
		{OpSyncRange, "sync_file_range"},
	} {
		if o == n.op {
			return n.name
		}
	}
	return "call"
}

func (w *wrapped) Open(name string, flag OpenFlag, perm fs.FileMode) (File, error) {
	op := OpOpen
	if flag&(Create|Truncate) != 0 {
		op = OpCreate
	}
	if v := w.ask(op, name, 0); v.err != nil {
		return nil, v.err
	}
	f, err := w.inner.Open(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &wrappedFile{File: f, w: w, name: name}, nil
}

func (w *wrapped) MkdirAll(dir string) error {
	if v := w.ask(OpMkdir, dir, 0); v.err != nil {
		return v.err
	}
	return w.inner.MkdirAll(dir)
}

func (w *wrapped) Remove(name string) error {
	if v := w.ask(OpRemove, name, 0); v.err != nil {
		return v.err
	}
	return w.inner.Remove(name)
}

func (w *wrapped) RemoveAll(name string) error {
	if v := w.ask(OpRemove, name, 0); v.err != nil {
		return v.err
	}
	return w.inner.RemoveAll(name)
}

func (w *wrapped) Rename(oldName, newName string) error {
	if v := w.ask(OpRename, oldName, 0); v.err != nil {
		return v.err
	}
	return w.inner.Rename(oldName, newName)
}

func (w *wrapped) SyncDir(dir string) error {
	if v := w.ask(OpSyncDir, dir, 0); v.err != nil {
		return v.err
	}
	return w.inner.SyncDir(dir)
}

func (w *wrapped) OpenSyncer(dir string) (Syncer, error) {
	if v := w.ask(OpOpen, dir, 0); v.err != nil {
		return nil, v.err
	}
	s, err := w.inner.OpenSyncer(dir)
	if err != nil {
		return nil, err
	}
	return &wrappedSyncer{Syncer: s, w: w, dir: dir}, nil
}

type wrappedSyncer struct {
	Syncer
	w   *wrapped
	dir string
}

func (s *wrappedSyncer) SyncFS() error {
	if v := s.w.ask(OpSyncFS, s.dir, 0); v.err != nil {
		return v.err
	}
	return s.Syncer.SyncFS()
}

func (w *wrapped) Stat(name string) (FileInfo, error) {
	if v := w.ask(OpStat, name, 0); v.err != nil {
		return FileInfo{}, v.err
	}
	return w.inner.Stat(name)
}

func (w *wrapped) ReadDir(dir string) ([]FileInfo, error) {
	if v := w.ask(OpReadDir, dir, 0); v.err != nil {
		return nil, v.err
	}
	return w.inner.ReadDir(dir)
}

func (w *wrapped) Lock(name string) (io.Closer, error) {
	if v := w.ask(OpLock, name, 0); v.err != nil {
		return nil, v.err
	}
	return w.inner.Lock(name)
}

func (w *wrapped) Usage(dir string) (Usage, error) {
	if v := w.ask(OpStat, dir, 0); v.err != nil {
		return Usage{}, v.err
	}
	return w.inner.Usage(dir)
}

// wrappedFile gives no descriptor: sendfile would pass the judge by.
type wrappedFile struct {
	File
	w    *wrapped
	name string
}

func (f *wrappedFile) Fd() (int, bool) { return -1, false }

func (f *wrappedFile) ReadAt(p []byte, off int64) (int, error) {
	if v := f.w.ask(OpRead, f.name, int64(len(p))); v.err != nil {
		return 0, v.err
	}
	return f.File.ReadAt(p, off)
}

func (f *wrappedFile) WriteAt(p []byte, off int64) (int, error) {
	v := f.w.ask(OpWrite, f.name, int64(len(p)))
	if v.err == nil {
		return f.File.WriteAt(p, off)
	}
	n, err := f.File.WriteAt(p[:min(v.shortBytes, int64(len(p)))], off)
	if err != nil {
		return n, err
	}
	return n, v.err
}

func (f *wrappedFile) WriteVAt(bufs [][]byte, off int64) (int64, error) {
	total := int64(0)
	for _, b := range bufs {
		total += int64(len(b))
	}
	v := f.w.ask(OpWrite, f.name, total)
	if v.err == nil {
		return f.File.WriteVAt(bufs, off)
	}
	written := int64(0)
	for _, b := range bufs {
		n, err := f.File.WriteAt(b[:min(v.shortBytes-written, int64(len(b)))], off+written)
		written += int64(n)
		if err != nil {
			return written, err
		}
		if written == v.shortBytes {
			break
		}
	}
	return written, v.err
}

func (f *wrappedFile) Truncate(sizeBytes int64) error {
	if v := f.w.ask(OpTruncate, f.name, 0); v.err != nil {
		return v.err
	}
	return f.File.Truncate(sizeBytes)
}

func (f *wrappedFile) Preallocate(off, lengthBytes int64) error {
	if v := f.w.ask(OpPreallocate, f.name, lengthBytes); v.err != nil {
		return v.err
	}
	return f.File.Preallocate(off, lengthBytes)
}

func (f *wrappedFile) SyncData() error {
	if v := f.w.ask(OpSyncData, f.name, 0); v.err != nil {
		return v.err
	}
	return f.File.SyncData()
}

func (f *wrappedFile) SyncRange(off, lengthBytes int64) error {
	if v := f.w.ask(OpSyncRange, f.name, lengthBytes); v.err != nil {
		return v.err
	}
	return f.File.SyncRange(off, lengthBytes)
}

func (f *wrappedFile) Size() (int64, error) {
	if v := f.w.ask(OpStat, f.name, 0); v.err != nil {
		return 0, v.err
	}
	return f.File.Size()
}
