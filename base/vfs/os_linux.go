// SPDX-License-Identifier: Apache-2.0

package vfs

import "golang.org/x/sys/unix"

// lockFile takes an open-file-description lock over the whole file. It
// conflicts with the process-owned POSIX lock that Java's FileLock takes and,
// unlike that, with a second lock taken by this process; and it does not
// vanish when some other descriptor of the file is closed.
func lockFile(fd int) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
}

func syncFS(fd int) error { return retry(func() error { return unix.Syncfs(fd) }) }

func syncData(fd int) error { return unix.Fdatasync(fd) }

func syncRange(fd int, off, lengthBytes int64) error {
	return unix.SyncFileRange(fd, off, lengthBytes, unix.SYNC_FILE_RANGE_WRITE)
}

func preallocate(fd int, off, lengthBytes int64) error {
	return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, lengthBytes)
}

func advise(fd int, off, lengthBytes int64, advice Advice) error {
	how := unix.FADV_SEQUENTIAL
	switch advice {
	case AdviseWillNeed:
		how = unix.FADV_WILLNEED
	case AdviseDontNeed:
		how = unix.FADV_DONTNEED
	}
	return unix.Fadvise(fd, off, lengthBytes, how)
}

func (f *osFile) cached(off, lengthBytes int64) bool {
	var b [1]byte
	for at := off; at < off+lengthBytes; at += cachedStepBytes {
		n, err := unix.Preadv2(f.fd, [][]byte{b[:]}, at, unix.RWF_NOWAIT)
		switch {
		case err == unix.EAGAIN:
			return false
		case err != nil || n == 0: // no such call here, or the end of the file
			return true
		}
	}
	return true
}
