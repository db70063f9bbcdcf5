// SPDX-License-Identifier: Apache-2.0

// Package segment holds the files of one log segment: reference counted raw
// descriptors that an LRU opens and closes behind the callers' backs, Kafka's
// file names, and the walk over the record batches of a log file.
//
// Files is shared by all logs of a node and safe for concurrent use. A File is
// safe for concurrent use too, except that Truncate, Rename and Remove belong
// to the one goroutine that owns the log (its lane).
package segment

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"gregor/base/vfs"
)

// ErrClosed is what operations on the files of a closed or killed node get.
var ErrClosed = errors.New("segment files are closed")

// Files keeps at most openMax descriptors open at once for any number of File
// values (more only while more are in use at this moment).
//
// A File with references is never closed. One without is closed when its turn
// comes on a clock: a ring of the open files with a second chance for those
// used since the hand last passed. Taking a reference is two atomic
// operations; the mutex is taken only to open and to close, and no system call
// happens under it. Rejected: a list in order of use, which would make
// every read of every partition take one lock.
type Files struct {
	fs      vfs.FS
	openMax int
	scratch sync.Pool // of *[ScratchBytes]byte; per node, not per process

	opens, evictions atomic.Int64

	mu     sync.Mutex // guards what follows
	ring   []*File
	hand   int
	closed bool
}

// ScratchBytes is the size of the buffers that Scratch lends.
const ScratchBytes = 64 << 10

// NewFiles returns the descriptors' keeper of one node. openMax below 8 is
// taken as 8.
func NewFiles(fs vfs.FS, openMax int) *Files {
	f := &Files{fs: fs, openMax: max(openMax, 8)}
	f.scratch.New = func() any { return new([ScratchBytes]byte) }
	return f
}

// Scratch lends a buffer; give it back with Unscratch.
func (fs *Files) Scratch() *[ScratchBytes]byte { return fs.scratch.Get().(*[ScratchBytes]byte) }

// Unscratch takes a buffer back.
func (fs *Files) Unscratch(b *[ScratchBytes]byte) { fs.scratch.Put(b) }

// Stats is read by the metrics endpoint.
type Stats struct {
	Open      int   // descriptors open now
	Opens     int64 // since the start
	Evictions int64 // closed to make room
}

// Stats tells how the descriptors are used.
func (fs *Files) Stats() Stats {
	fs.mu.Lock()
	open := len(fs.ring)
	fs.mu.Unlock()
	return Stats{Open: open, Opens: fs.opens.Load(), Evictions: fs.evictions.Load()}
}

// Close closes every descriptor that no reader holds and makes later opens
// fail with ErrClosed; those that are held close with their last reference.
func (fs *Files) Close() error {
	fs.mu.Lock()
	fs.closed = true
	var idle []*opened
	for _, f := range append([]*File(nil), fs.ring...) {
		f.dropped.Store(true)
		if o := fs.takeIdleLocked(f); o != nil {
			idle = append(idle, o)
		}
	}
	fs.mu.Unlock()
	var errs []error
	for _, o := range idle {
		errs = append(errs, o.f.Close())
	}
	return errors.Join(errs...)
}

// open makes f's descriptor exist. The caller holds a reference on f. A file
// that was moved meanwhile is opened again: its old name may be another's now.
func (fs *Files) open(f *File) (*opened, error) {
	for {
		fs.mu.Lock()
		if o := f.open.Load(); o != nil {
			fs.mu.Unlock()
			return o, nil
		}
		closed, path, flag := fs.closed, f.path, f.flag
		fs.mu.Unlock()
		if closed {
			return nil, fmt.Errorf("open %s: %w", path, ErrClosed)
		}
		file, err := fs.fs.Open(path, flag, 0o644)
		switch {
		case f.Path() != path:
			if err == nil {
				_ = file.Close()
			}
		case err != nil:
			return nil, fmt.Errorf("open %s: %w", path, err)
		default:
			return fs.opened(f, path, file)
		}
	}
}

// opened puts a descriptor into the ring, if f has none yet.
func (fs *Files) opened(f *File, path string, file vfs.File) (*opened, error) {
	fs.opens.Add(1)
	o := &opened{f: file}
	o.fd, o.hasFd = file.Fd()

	var idle []*opened
	var err error
	fs.mu.Lock()
	switch first := f.open.Load(); {
	case first != nil: // another reader was quicker
		idle, o = append(idle, o), first
	case fs.closed:
		idle, err = append(idle, o), fmt.Errorf("open %s: %w", path, ErrClosed)
	default:
		f.open.Store(o)
		f.place = len(fs.ring)
		fs.ring = append(fs.ring, f)
		idle = fs.makeRoomLocked(idle)
	}
	fs.mu.Unlock()
	for _, i := range idle {
		_ = i.f.Close() // nothing was lost: close reports no write-back errors that a sync would not
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// makeRoomLocked turns the clock's hand until few enough files are open, at
// most twice round.
func (fs *Files) makeRoomLocked(idle []*opened) []*opened {
	for turns := 2 * len(fs.ring); len(fs.ring) > fs.openMax && turns > 0; turns-- {
		if fs.hand >= len(fs.ring) {
			fs.hand = 0
		}
		f := fs.ring[fs.hand]
		if f.used.Swap(false) {
			fs.hand++
			continue
		}
		o := fs.takeIdleLocked(f)
		if o == nil {
			fs.hand++
			continue
		}
		fs.evictions.Add(1)
		idle = append(idle, o)
	}
	return idle
}

// takeIdleLocked takes f's descriptor away from it if nobody references f.
// A reference is counted before the descriptor is looked at, so one of the
// two sides always sees the other.
func (fs *Files) takeIdleLocked(f *File) *opened {
	o := f.open.Load()
	if o == nil || f.refs.Load() != 0 {
		return nil
	}
	f.open.Store(nil)
	if f.refs.Load() != 0 {
		f.open.Store(o)
		return nil
	}
	last := len(fs.ring) - 1
	fs.ring[f.place] = fs.ring[last]
	fs.ring[f.place].place = f.place
	fs.ring[last] = nil
	fs.ring = fs.ring[:last]
	return o
}

// closeIfIdle closes f's descriptor unless somebody references f.
func (fs *Files) closeIfIdle(f *File) error {
	fs.mu.Lock()
	o := fs.takeIdleLocked(f)
	fs.mu.Unlock()
	if o == nil {
		return nil
	}
	return o.f.Close()
}

// File is one file of a segment under the keeper's descriptors. It is also
// one generation of that file: a truncation marks it as cut and makes another
// File for what follows, so whoever reads a cut File knows that bytes under
// it may have changed (Intact).
//
// As a reply.Source it stands for one reference: Acquire, then Release.
type File struct {
	files *Files

	open    atomic.Pointer[opened]
	refs    atomic.Int32
	used    atomic.Bool // since the clock's hand last passed
	cut     atomic.Bool // a truncation made another generation
	dropped atomic.Bool // close with the last reference

	// Guarded by files.mu.
	path  string
	flag  vfs.OpenFlag
	place int // in files.ring
}

type opened struct {
	f     vfs.File
	fd    int
	hasFd bool
}

// File names a file that exists, or that the first use creates when create
// is set. Nothing is opened yet.
func (fs *Files) File(path string, create bool) *File {
	f := &File{files: fs, path: path, flag: vfs.ReadWrite}
	if create {
		f.flag |= vfs.Create
	}
	return f
}

// Files is the keeper that f belongs to.
func (f *File) Files() *Files { return f.files }

// Path is the file's present name.
func (f *File) Path() string {
	f.files.mu.Lock()
	defer f.files.mu.Unlock()
	return f.path
}

// Ref counts a reference without opening anything; it may be called under a
// leaf mutex. Release gives it back.
func (f *File) Ref() { f.refs.Add(1) }

// Opened makes sure that the descriptor of a referenced file is open.
func (f *File) Opened() error {
	_, err := f.held()
	return err
}

// Release gives one reference back.
func (f *File) Release() {
	if f.refs.Add(-1) == 0 && f.dropped.Load() {
		_ = f.files.closeIfIdle(f) // only readers were left: nothing was written that this could lose
	}
}

// held gives the descriptor of a file that the caller references.
func (f *File) held() (*opened, error) {
	if !f.used.Load() {
		f.used.Store(true)
	}
	if o := f.open.Load(); o != nil {
		return o, nil
	}
	return f.files.open(f)
}

// ReadAt is io.ReaderAt. It takes its own reference.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.Ref()
	defer f.Release()
	o, err := f.held()
	if err != nil {
		return 0, err
	}
	return o.f.ReadAt(p, off)
}

// WriteAt is io.WriterAt. It takes its own reference.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	f.Ref()
	defer f.Release()
	o, err := f.held()
	if err != nil {
		return 0, err
	}
	return o.f.WriteAt(p, off)
}

// WriteVAt writes bufs back to back at off.
func (f *File) WriteVAt(bufs [][]byte, off int64) (int64, error) {
	f.Ref()
	defer f.Release()
	o, err := f.held()
	if err != nil {
		return 0, err
	}
	return o.f.WriteVAt(bufs, off)
}

// With calls do with the raw file.
func (f *File) With(do func(vfs.File) error) error {
	f.Ref()
	defer f.Release()
	o, err := f.held()
	if err != nil {
		return err
	}
	return do(o.f)
}

// SyncData is fdatasync.
func (f *File) SyncData() error { return f.With(vfs.File.SyncData) }

// SizeBytes asks the file system.
func (f *File) SizeBytes() (n int64, err error) {
	err = f.With(func(file vfs.File) error {
		n, err = file.Size()
		return err
	})
	return n, err
}

// Fd gives the descriptor for sendfile; false where there is none, or where
// the file is not open.
func (f *File) Fd() (int, bool) {
	if o := f.open.Load(); o != nil {
		return o.fd, o.hasFd
	}
	return -1, false
}

// Intact is false once a truncation has cut this generation: bytes read
// through it may no longer be the log's.
func (f *File) Intact() bool { return !f.cut.Load() }

// MarkCut makes the file's readers see that the log was truncated.
func (f *File) MarkCut() { f.cut.Store(true) }

// Close closes the descriptor now, or with the last reference. The File may
// be used no more.
func (f *File) Close() error {
	f.dropped.Store(true)
	return f.files.closeIfIdle(f)
}

// Rename moves the file. Open descriptors and readers go on undisturbed.
func (f *File) Rename(path string) error {
	old := f.Path()
	if err := f.files.fs.Rename(old, path); err != nil {
		return err
	}
	f.moved(path)
	return nil
}

// moved notes that the file was moved, with its folder for instance.
func (f *File) moved(path string) {
	f.files.mu.Lock()
	f.path = path
	f.files.mu.Unlock()
}

// Retire notes that the file was moved for removal: it is not made again.
func (f *File) Retire(path string) {
	f.files.mu.Lock()
	f.path, f.flag = path, f.flag&^vfs.Create
	f.files.mu.Unlock()
}

// MovedTo notes that the file's folder is now dir.
func (f *File) MovedTo(dir string) { f.moved(filepath.Join(dir, filepath.Base(f.Path()))) }

// Truncate cuts the file to sizeBytes and returns the generation that takes
// f's place. f is marked as cut first. Readers that hold f keep the old bytes:
// if there are any, the kept part is copied to a new file that replaces the
// old one; otherwise the file is cut in place. The caller must have made f
// unreachable for new readers, and closes f's part by using the result only.
func (f *File) Truncate(sizeBytes int64) (*File, error) {
	next := f.files.File(f.Path(), false)
	f.cut.Store(true)
	if f.refs.Load() == 0 {
		if err := f.With(func(file vfs.File) error { return file.Truncate(sizeBytes) }); err != nil {
			return nil, fmt.Errorf("cut %s to %d bytes: %w", f.Path(), sizeBytes, err)
		}
		return next, f.Close()
	}
	if err := f.copyTo(f.Path()+CutSuffix, sizeBytes); err != nil {
		return nil, fmt.Errorf("cut %s to %d bytes by copying: %w", f.Path(), sizeBytes, err)
	}
	// Else a power cut could bring the old file back, in place of all that is
	// written to the new one.
	err := f.files.fs.Rename(f.Path()+CutSuffix, f.Path())
	if err == nil {
		err = f.files.fs.SyncDir(filepath.Dir(f.Path()))
	}
	if err != nil {
		return nil, fmt.Errorf("cut %s to %d bytes by copying: %w", f.Path(), sizeBytes, err)
	}
	return next, f.Close()
}

// copyTo writes f's first sizeBytes to a new, synced file.
func (f *File) copyTo(path string, sizeBytes int64) error {
	to, err := f.files.fs.Open(path, vfs.ReadWrite|vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		return err
	}
	defer to.Close()
	buf := f.files.Scratch()
	defer f.files.Unscratch(buf)
	for off := int64(0); off < sizeBytes; {
		n, err := f.ReadAt(buf[:min(ScratchBytes, sizeBytes-off)], off)
		if n == 0 {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := to.WriteAt(buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return to.SyncData()
}
