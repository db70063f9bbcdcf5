// SPDX-License-Identifier: Apache-2.0

package vfs

import "golang.org/x/sys/unix"

// lockFile takes a flock. macOS keeps flock and fcntl locks of a file in one
// list, where they conflict, so this excludes Java's FileLock as well as a
// second lock taken by this process.
func lockFile(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }

// syncFS: macOS has no syncfs, and its sync only starts the writing. The full
// flush of one descriptor drains the drive's cache after it.
func syncFS(fd int) error {
	if err := unix.Sync(); err != nil {
		return err
	}
	return syncData(fd)
}

func syncData(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0)
	if err == unix.ENOTSUP || err == unix.EINVAL || err == unix.ENOTTY {
		return unix.Fsync(fd)
	}
	return err
}

func syncRange(int, int64, int64) error { return nil }

func preallocate(fd int, off, lengthBytes int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	more := off + lengthBytes - int64(st.Blocks)*512
	if more <= 0 {
		return nil
	}
	return unix.FcntlFstore(uintptr(fd), unix.F_PREALLOCATE, &unix.Fstore_t{
		Flags:   unix.F_ALLOCATEALL,
		Posmode: unix.F_PEOFPOSMODE,
		Length:  more,
	})
}

func advise(int, int64, int64, Advice) error { return nil }
