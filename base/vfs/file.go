// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// ErrTooLarge is returned by ReadFile for a file beyond its limit.
var ErrTooLarge = errors.New("vfs: file is larger than allowed")

// ReadFile reads a whole small file. A file of more than bytesMax bytes is
// refused before anything is allocated for it.
func ReadFile(fsys FS, name string, bytesMax int64) ([]byte, error) {
	f, err := fsys.Open(name, ReadOnly, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > bytesMax {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w: %d bytes of at most %d", ErrTooLarge, size, bytesMax)}
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err == io.EOF {
		err = nil // it shrank since; what is there is what it holds
	}
	return b[:n], err
}

// MakeDir makes a directory, and durably so: a power cut takes neither it nor any
// of the parents that were missing. One that is there is left as it is.
func MakeDir(fsys FS, dir string) error {
	var changed []string // innermost first
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		if _, err := fsys.Stat(at); err == nil || at == filepath.Dir(at) {
			break
		}
		changed = append(changed, filepath.Dir(at))
	}
	if len(changed) == 0 {
		return nil
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	for _, parent := range changed {
		if err := fsys.SyncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// WriteFileAtomic replaces name by data so that a crash at any moment leaves
// the old or the new content, and the new one once it has returned: write
// name.tmp, fdatasync, rename, sync the directory. Only one caller may write a
// given name at a time.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	if err := ReplaceFile(fsys, name, data); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// ReplaceFile is WriteFileAtomic without the sync of the directory, for callers
// that replace several files and sync their directory once: until then a crash
// may leave the old content.
func ReplaceFile(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	f, err := fsys.Open(tmp, Create|Truncate, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.SyncData()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(fsys.Remove(tmp)))
	}
	return fsys.Rename(tmp, name)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
