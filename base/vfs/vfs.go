// SPDX-License-Identifier: Apache-2.0

// Package vfs is gregor's seam to file systems. OS is the real one, on raw
// descriptors; Memory, Crash and Fault are its twins for tests: they can be
// cut at any call, drop what was not synced, tear writes and fail the n-th
// call.
//
// A File has no position and no lock of its own: every read and write names
// its offset, so readers and one writer share it freely. Names are paths as
// the operating system takes them; the twins take them apart with
// path/filepath.
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// ErrLocked is returned by Lock when somebody else holds the lock.
var ErrLocked = errors.New("vfs: lock is held by another process")

// OpenFlag says how a file is opened.
type OpenFlag int

// Flags may be or'ed. ReadOnly is the zero flag; every other implies writing.
const (
	ReadOnly  OpenFlag = 0
	ReadWrite OpenFlag = 1 << iota
	Create             // create it if it is not there; implies ReadWrite
	Exclusive          // with Create: fail with fs.ErrExist if it is there
	Truncate           // cut to zero bytes; implies ReadWrite
)

// Advice is a hint to the page cache.
type Advice int

// Hints, as posix_fadvise(2) knows them.
const (
	AdviseSequential Advice = iota
	AdviseWillNeed
	AdviseDontNeed
)

// FileInfo is what Stat and ReadDir tell.
type FileInfo struct {
	Name        string
	SizeBytes   int64
	ModTimeNano int64
	Inode       uint64 // 0 where the file system has none
	Mode        fs.FileMode
}

// IsDir reports whether the entry is a directory.
func (i FileInfo) IsDir() bool { return i.Mode.IsDir() }

// Usage is the room of the file system under a path.
type Usage struct {
	TotalBytes int64
	FreeBytes  int64 // free to this process
}

// FS opens and arranges files. All methods are safe for concurrent use.
// Errors are *fs.PathError where a path is to blame, and errors.Is finds
// fs.ErrNotExist, fs.ErrExist, syscall.ENOSPC and syscall.EIO in them.
type FS interface {
	// Open opens a regular file. perm counts when the file is created.
	Open(name string, flag OpenFlag, perm fs.FileMode) (File, error)
	// MkdirAll makes a directory and its parents with mode 0o755.
	MkdirAll(dir string) error
	// Remove deletes one file or empty directory.
	Remove(name string) error
	// RemoveAll deletes a tree; a missing one is no error.
	RemoveAll(name string) error
	// Rename replaces newName atomically. It is durable after SyncDir.
	Rename(oldName, newName string) error
	// SyncDir makes creations, renames and deletions in dir durable.
	SyncDir(dir string) error
	// OpenSyncer opens the file system that holds dir for SyncFS. Keep it
	// open: Linux reports a write-back error once to each handle that was
	// open when it happened, and may not report it to one opened later.
	OpenSyncer(dir string) (Syncer, error)
	// Stat follows no symbolic link at the end of name.
	Stat(name string) (FileInfo, error)
	// ReadDir lists dir, sorted by name.
	ReadDir(dir string) ([]FileInfo, error)
	// Lock takes an fcntl lock on a file that it creates when missing, and
	// holds it until closed. ErrLocked when another process (or, in the
	// twins, another Lock) has it.
	Lock(name string) (io.Closer, error)
	// Usage tells the room of the file system under dir.
	Usage(dir string) (Usage, error)
}

// Syncer is a held handle on a whole file system.
type Syncer interface {
	// SyncFS makes everything on the file system durable and reports
	// write-back errors (syncfs(2)). After an error nothing is known about
	// what is durable.
	SyncFS() error
	io.Closer
}

// File is one open regular file. All methods but Close are safe for
// concurrent use; the caller keeps Close away from calls in flight (package
// segment counts references for that).
type File interface {
	// ReadAt and WriteAt are as in io; both loop over short counts and EINTR.
	io.ReaderAt
	io.WriterAt
	// WriteVAt writes bufs back to back at off with as few system calls as
	// possible (pwritev(2)). n counts what was written before an error.
	WriteVAt(bufs [][]byte, off int64) (n int64, err error)
	// Truncate sets the size.
	Truncate(sizeBytes int64) error
	// Preallocate reserves blocks for a range without changing the size.
	// Where the file system cannot, it does nothing.
	Preallocate(off, lengthBytes int64) error
	// SyncData is fdatasync(2): data, and what of the inode is needed to read it.
	SyncData() error
	// SyncRange starts write-back of a range and returns without waiting.
	SyncRange(off, lengthBytes int64) error
	// Advise hints the page cache about a range; length 0 is to the end.
	Advise(off, lengthBytes int64, advice Advice) error
	// Size in bytes.
	Size() (int64, error)
	// Fd gives the descriptor for sendfile; false where there is none.
	Fd() (fd int, ok bool)
	// Close releases the file. It syncs nothing.
	Close() error
}
