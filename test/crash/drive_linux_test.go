// SPDX-License-Identifier: Apache-2.0

package crash

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// drive is a disk with a cache of its own that forgets: what was written since the
// last flush may be gone after a power cut, any pages of it and in any order. The
// kernel sees it as a file of a FUSE file system with nothing else in
// it, under a loop device, which turns the flushes of a file system into fsyncs.
//
//	ext4, xfs, … ─► loop device ─► FUSE ─► serve ─► pages, fresh
//
// A cut is an image taken at one moment; the kernel and its file system go on
// upon the old drive, and do not notice. So an acknowledgement that was noted
// before the cut rests on what the drive had acknowledged before it.
type drive struct {
	t       *testing.T
	path    string // the file that the drive is
	fd      int
	served  chan struct{}
	mounted bool

	mu    sync.Mutex       // guards what follows
	pages map[int64][]byte // as the kernel sees them; missing ones are zero
	fresh []freshWrite     // since the last flush, oldest first
}

// freshWrite is a page as it was before a write since the last flush.
type freshWrite struct {
	page int64
	old  []byte // nil: it was zero
}

const (
	driveBytes     = 400 << 20
	drivePageBytes = 4096
	driveSector    = 512
)

// newDrive serves pages, which it takes over, at a file named path, which exists.
func newDrive(t *testing.T, path string, pages map[int64][]byte) *drive {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("SKIPPED: no FUSE: %v", err)
	}
	d := &drive{t: t, path: path, fd: fd, served: make(chan struct{}), pages: pages}
	options := "fd=" + strconv.Itoa(fd) + ",rootmode=100600,user_id=0,group_id=0,allow_other"
	if err := unix.Mount("drive", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Close(fd)
		t.Skipf("SKIPPED: mounting a FUSE file system: %v", err)
	}
	d.mounted = true
	go d.serve()
	return d
}

// unplug ends the drive, which nobody uses any more.
func (d *drive) unplug() {
	if !d.mounted {
		return
	}
	d.mounted = false
	err := unix.Unmount(d.path, 0)
	for try := 0; errors.Is(err, unix.EBUSY) && try < 1500; try++ { // the loop device lets go a little later
		time.Sleep(20 * time.Millisecond)
		err = unix.Unmount(d.path, 0)
	}
	if err != nil {
		d.t.Errorf("unmount the drive: %v", err)
		_ = unix.Unmount(d.path, unix.MNT_DETACH|unix.MNT_FORCE)
	}
	<-d.served
	unix.Close(d.fd)
}

// cut is what the drive holds after a power cut at this moment, and how many writes
// it might have lost.
func (d *drive) cut(keep string, random *rand.Rand) (image map[int64][]byte, fresh int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	image = make(map[int64][]byte, len(d.pages))
	for n, b := range d.pages {
		image[n] = b // pages are replaced, never changed in place
	}
	from := 0 // the writes in front of it are kept
	switch keep {
	case "all":
		from = len(d.fresh)
	case "prefix":
		from = random.IntN(len(d.fresh) + 1)
	case "torn":
		return d.torn(image, random), len(d.fresh)
	}
	for _, w := range slices.Backward(d.fresh[from:]) {
		image[w.page] = w.old
	}
	return image, len(d.fresh)
}

// torn keeps of each page a state that it had since the last flush. A page arrives
// whole: file systems count on that of the blocks that tell where their logs are.
func (d *drive) torn(image map[int64][]byte, random *rand.Rand) map[int64][]byte {
	states := map[int64][][]byte{}
	for _, w := range d.fresh {
		states[w.page] = append(states[w.page], w.old)
	}
	for _, page := range slices.Sorted(maps.Keys(states)) {
		if had := states[page]; random.IntN(2) == 0 {
			image[page] = had[random.IntN(len(had))]
		}
	}
	return image
}

func (d *drive) write(b []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(b) > 0 {
		page, at := off/drivePageBytes, int(off%drivePageBytes)
		n := min(len(b), drivePageBytes-at)
		old := d.pages[page]
		now := make([]byte, drivePageBytes)
		copy(now, old)
		copy(now[at:], b[:n])
		d.fresh = append(d.fresh, freshWrite{page, old})
		d.pages[page] = now
		b, off = b[n:], off+int64(n)
	}
}

func (d *drive) read(b []byte, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(b)
	for len(b) > 0 {
		page, at := off/drivePageBytes, int(off%drivePageBytes)
		n := min(len(b), drivePageBytes-at)
		if p := d.pages[page]; p != nil {
			copy(b[:n], p[at:])
		}
		b, off = b[n:], off+int64(n)
	}
}

func (d *drive) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.fresh)
	d.fresh = d.fresh[:0]
}

// The part of the FUSE protocol (7.31) that a loop device on one file needs.
const (
	fuseForget, fuseGetattr, fuseSetattr, fuseOpen     = 2, 3, 4, 14
	fuseRead, fuseWrite, fuseStatfs, fuseRelease       = 15, 16, 17, 18
	fuseFsync, fuseFlush, fuseInit, fuseDestroy        = 20, 25, 26, 38
	fuseAccess, fuseInterrupt, fuseBatchForget         = 34, 36, 42
	fuseInHeader, fuseOutHeader, fuseWriteMax          = 40, 16, 1 << 20
	fuseBigWrites, fuseMaxPages, fuseAsyncDio, fuseDio = 1 << 5, 1 << 22, 1 << 15, 1
)

func (d *drive) serve() {
	defer close(d.served)
	in := make([]byte, fuseWriteMax+drivePageBytes)
	for {
		n, err := unix.Read(d.fd, in)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOENT):
			continue
		case err != nil: // ENODEV: unmounted
			return
		}
		out, answer := d.request(in[:n])
		if !answer {
			continue
		}
		if _, err := unix.Write(d.fd, out); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, io.EOF) {
			d.t.Errorf("answer of the drive: %v", err)
		}
	}
}

// request answers one request.
func (d *drive) request(in []byte) (out []byte, answer bool) {
	le := binary.LittleEndian
	opcode, unique, body := le.Uint32(in[4:]), le.Uint64(in[8:]), in[fuseInHeader:]
	out = make([]byte, fuseOutHeader, fuseOutHeader+128)
	no := unix.Errno(0)
	switch opcode {
	case fuseForget, fuseBatchForget, fuseInterrupt:
		return nil, false
	case fuseInit:
		out = le.AppendUint32(le.AppendUint32(out, 7), 31)
		out = le.AppendUint32(out, le.Uint32(body[8:])) // readahead
		out = le.AppendUint32(out, fuseBigWrites|fuseMaxPages|fuseAsyncDio)
		out = le.AppendUint16(le.AppendUint16(out, 64), 48)
		out = le.AppendUint32(le.AppendUint32(out, fuseWriteMax), 1)
		out = le.AppendUint16(le.AppendUint16(out, fuseWriteMax/drivePageBytes), 0)
		out = append(out, make([]byte, 32)...)
	case fuseGetattr, fuseSetattr:
		out = append(le.AppendUint64(out, 3600), make([]byte, 8)...)
		out = le.AppendUint64(le.AppendUint64(le.AppendUint64(out, 1), driveBytes), driveBytes/driveSector)
		out = append(out, make([]byte, 3*8+3*4)...)
		out = le.AppendUint32(le.AppendUint32(out, unix.S_IFREG|0o600), 1)
		out = append(out, make([]byte, 3*4)...)
		out = le.AppendUint32(le.AppendUint32(out, drivePageBytes), 0)
	case fuseOpen:
		out = le.AppendUint32(le.AppendUint64(out, 1), fuseDio)
		out = append(out, 0, 0, 0, 0)
	case fuseRead:
		b := make([]byte, min(le.Uint32(body[16:]), fuseWriteMax))
		d.read(b, int64(le.Uint64(body[8:])))
		out = append(out, b...)
	case fuseWrite:
		size := le.Uint32(body[16:])
		d.write(body[40:40+size], int64(le.Uint64(body[8:])))
		out = le.AppendUint64(out, uint64(size))
	case fuseFsync:
		d.flush()
	case fuseStatfs:
		out = append(out, make([]byte, 80)...)
	case fuseFlush, fuseRelease, fuseDestroy, fuseAccess:
	default:
		no = unix.ENOSYS
	}
	le.PutUint32(out, uint32(len(out)))
	le.PutUint32(out[4:], uint32(-int32(no)))
	le.PutUint64(out[8:], unique)
	return out, true
}
