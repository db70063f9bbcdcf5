// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin

package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

// OS is the operating system's file system through package os. It exists so
// that tools build everywhere; a broker is run on Linux or macOS, where OS
// works on raw descriptors. Lock only refuses a lock file that exists, and
// SyncFS reports that it cannot.
type OS struct{}

var _ FS = OS{}

// Open implements FS.
func (OS) Open(name string, flag OpenFlag, perm fs.FileMode) (File, error) {
	mode := os.O_RDONLY
	if flag != ReadOnly {
		mode = os.O_RDWR
	}
	if flag&Create != 0 {
		mode |= os.O_CREATE
	}
	if flag&Exclusive != 0 {
		mode |= os.O_EXCL
	}
	if flag&Truncate != 0 {
		mode |= os.O_TRUNC
	}
	f, err := os.OpenFile(name, mode, perm)
	if err != nil {
		return nil, err
	}
	return otherFile{f}, nil
}

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll implements FS.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename implements FS.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// SyncDir implements FS as far as the system lets a directory be opened.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // refused where directories are always durable
	return d.Close()
}

// OpenSyncer implements FS by refusing.
func (OS) OpenSyncer(dir string) (Syncer, error) {
	return nil, &fs.PathError{Op: "syncfs", Path: dir, Err: errors.ErrUnsupported}
}

// Stat implements FS.
func (OS) Stat(name string) (FileInfo, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return FileInfo{}, err
	}
	return otherInfo(info), nil
}

// ReadDir implements FS.
func (OS) ReadDir(dir string) ([]FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	infos := make([]FileInfo, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, otherInfo(info))
	}
	return infos, nil
}

// Lock implements FS with an exclusively created neighbour of name.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name+".held", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: ErrLocked}
	}
	if err != nil {
		return nil, err
	}
	return heldLock{f}, nil
}

type heldLock struct{ f *os.File }

func (l heldLock) Close() error {
	return errors.Join(l.f.Close(), os.Remove(l.f.Name()))
}

// Usage implements FS without knowing: nothing is ever short of room.
func (OS) Usage(string) (Usage, error) {
	return Usage{TotalBytes: math.MaxInt64, FreeBytes: math.MaxInt64}, nil
}

type otherFile struct{ *os.File }

func (f otherFile) WriteVAt(bufs [][]byte, off int64) (int64, error) {
	var n int64
	for _, b := range bufs {
		m, err := f.WriteAt(b, off+n)
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (f otherFile) Preallocate(int64, int64) error    { return nil }
func (f otherFile) SyncData() error                   { return f.Sync() }
func (f otherFile) SyncRange(int64, int64) error      { return nil }
func (f otherFile) Advise(int64, int64, Advice) error { return nil }
func (f otherFile) Fd() (int, bool)                   { return -1, false }

func (f otherFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func otherInfo(info fs.FileInfo) FileInfo {
	return FileInfo{
		Name:        filepath.Base(info.Name()),
		SizeBytes:   info.Size(),
		ModTimeNano: info.ModTime().UnixNano(),
		Mode:        info.Mode(),
	}
}
