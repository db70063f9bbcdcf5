// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package vfs

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"

	"golang.org/x/sys/unix"
)

// iovecsMax is IOV_MAX of Linux and macOS.
const iovecsMax = 1024

// OS is the operating system's file system. Files are raw descriptors: an
// os.File would bring a position, a lock and a finaliser that closes a
// descriptor which sendfile still uses.
type OS struct{}

var _ FS = OS{}

// Open implements FS.
func (OS) Open(name string, flag OpenFlag, perm fs.FileMode) (File, error) {
	mode := unix.O_CLOEXEC | unix.O_RDONLY
	if flag != ReadOnly {
		mode = unix.O_CLOEXEC | unix.O_RDWR
	}
	if flag&Create != 0 {
		mode |= unix.O_CREAT
	}
	if flag&Exclusive != 0 {
		mode |= unix.O_EXCL
	}
	if flag&Truncate != 0 {
		mode |= unix.O_TRUNC
	}
	fd, err := openRetry(name, mode, uint32(perm.Perm()))
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if flag == ReadOnly { // a directory opens read-only: it is no file
		var st unix.Stat_t
		if err := retry(func() error { return unix.Fstat(fd, &st) }); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			unix.Close(fd)
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
		}
	}
	return &osFile{fd: fd, name: name}, nil
}

// MkdirAll implements FS.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll implements FS.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename implements FS.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	fd, err := openRetry(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	err = retry(func() error { return unix.Fsync(fd) })
	unix.Close(fd)
	// Some network file systems cannot sync a directory and say so.
	if err != nil && err != unix.EINVAL && err != unix.ENOTSUP {
		return &fs.PathError{Op: "fsync", Path: dir, Err: err}
	}
	return nil
}

// OpenSyncer implements FS.
func (OS) OpenSyncer(dir string) (Syncer, error) {
	fd, err := openRetry(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	return &osSyncer{fd: fd, dir: dir}, nil
}

type osSyncer struct {
	fd  int
	dir string
}

func (s *osSyncer) SyncFS() error {
	if err := syncFS(s.fd); err != nil {
		return &fs.PathError{Op: "syncfs", Path: s.dir, Err: err}
	}
	return nil
}

func (s *osSyncer) Close() error {
	if err := unix.Close(s.fd); err != nil {
		return &fs.PathError{Op: "close", Path: s.dir, Err: err}
	}
	return nil
}

// Stat implements FS.
func (OS) Stat(name string) (FileInfo, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(name, &st) }); err != nil {
		return FileInfo{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return infoOf(filepath.Base(name), &st), nil
}

// ReadDir implements FS. An entry that vanishes while it is listed is left out.
func (o OS) ReadDir(dir string) ([]FileInfo, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	infos := make([]FileInfo, 0, len(names))
	for _, name := range names {
		info, err := o.Stat(filepath.Join(dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Lock implements FS. It excludes, and is excluded by, java.nio's FileLock,
// and a second Lock within this process.
func (OS) Lock(name string) (io.Closer, error) {
	fd, err := openRetry(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	err = retry(func() error { return lockFile(fd) })
	if err != nil {
		unix.Close(fd)
		if err == unix.EAGAIN || err == unix.EACCES {
			err = ErrLocked
		}
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return &osFile{fd: fd, name: name}, nil
}

// Usage implements FS.
func (OS) Usage(dir string) (Usage, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Statfs(dir, &st) }); err != nil {
		return Usage{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return Usage{
		TotalBytes: int64(st.Blocks) * int64(st.Bsize),
		FreeBytes:  int64(st.Bavail) * int64(st.Bsize),
	}, nil
}

type osFile struct {
	fd   int
	name string
}

func (f *osFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, f.fail("read", err)
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pwrite(f.fd, p[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err == nil && m == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, f.fail("write", err)
		}
		n += m
	}
	return n, nil
}

func (f *osFile) WriteVAt(bufs [][]byte, off int64) (int64, error) {
	var written int64
	for len(bufs) > 0 {
		if len(bufs) == 1 { // the common case after combining
			n, err := f.WriteAt(bufs[0], off+written)
			return written + int64(n), err
		}
		want := int64(0)
		batch := bufs[:min(len(bufs), iovecsMax)]
		for _, b := range batch {
			want += int64(len(b))
		}
		if want == 0 {
			bufs = bufs[len(batch):]
			continue
		}
		n, err := unix.Pwritev(f.fd, batch, off+written)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, f.fail("write", err)
		}
		written += int64(n)
		bufs = skip(bufs, n)
	}
	return written, nil
}

// skip returns what is left of bufs behind n written bytes. The caller's slice
// stays as it is: a buffer that was cut in the middle is replaced in a copy.
func skip(bufs [][]byte, n int) [][]byte {
	for len(bufs) > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n == 0 {
		return bufs
	}
	rest := make([][]byte, len(bufs))
	copy(rest, bufs)
	rest[0] = rest[0][n:]
	return rest
}

func (f *osFile) Truncate(sizeBytes int64) error {
	if err := retry(func() error { return unix.Ftruncate(f.fd, sizeBytes) }); err != nil {
		return f.fail("truncate", err)
	}
	return nil
}

func (f *osFile) Preallocate(off, lengthBytes int64) error {
	if lengthBytes <= 0 {
		return nil
	}
	err := retry(func() error { return preallocate(f.fd, off, lengthBytes) })
	if err != nil && err != unix.EOPNOTSUPP && err != unix.ENOTSUP && err != unix.ENOSYS {
		return f.fail("preallocate", err)
	}
	return nil
}

func (f *osFile) SyncData() error {
	if err := retry(func() error { return syncData(f.fd) }); err != nil {
		return f.fail("fdatasync", err)
	}
	return nil
}

func (f *osFile) SyncRange(off, lengthBytes int64) error {
	if err := retry(func() error { return syncRange(f.fd, off, lengthBytes) }); err != nil {
		return f.fail("sync_file_range", err)
	}
	return nil
}

func (f *osFile) Advise(off, lengthBytes int64, advice Advice) error {
	if err := retry(func() error { return advise(f.fd, off, lengthBytes, advice) }); err != nil {
		return f.fail("fadvise", err)
	}
	return nil
}

func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(f.fd, &st) }); err != nil {
		return 0, f.fail("stat", err)
	}
	return st.Size, nil
}

func (f *osFile) Fd() (int, bool) { return f.fd, true }

// Close does not retry on EINTR: Linux has released the descriptor by then.
func (f *osFile) Close() error {
	if f.fd < 0 {
		return f.fail("close", fs.ErrClosed)
	}
	err := unix.Close(f.fd)
	f.fd = -1
	if err != nil && err != unix.EINTR {
		return f.fail("close", err)
	}
	return nil
}

func openRetry(name string, mode int, perm uint32) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Open(name, mode, perm)
		return err
	})
	return fd, err
}

func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func infoOf(name string, st *unix.Stat_t) FileInfo {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	}
	sec, nsec := st.Mtim.Unix()
	return FileInfo{
		Name:        name,
		SizeBytes:   st.Size,
		ModTimeNano: sec*1e9 + nsec,
		Inode:       st.Ino,
		Mode:        mode,
	}
}
