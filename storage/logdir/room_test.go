// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
)

// gauge is a disk that says what a test wants of its room, and counts who asks.
type gauge struct {
	*vfs.Memory
	free, total, asked atomic.Int64
	fail               atomic.Bool
}

func (g *gauge) Usage(string) (vfs.Usage, error) {
	g.asked.Add(1)
	if g.fail.Load() {
		return vfs.Usage{}, syscall.EIO
	}
	return vfs.Usage{TotalBytes: g.total.Load(), FreeBytes: g.free.Load()}, nil
}

// said is what the directory has logged.
type said struct {
	mu sync.Mutex
	b  strings.Builder // guarded by mu
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// reserved opens a directory with a reserve on a disk of a thousand bytes.
func reserved(t *testing.T, reserve int64) (*Dir, *gauge, *said) {
	t.Helper()
	g := &gauge{Memory: vfs.NewMemory()}
	g.total.Store(1000)
	g.free.Store(500)
	log := &said{}
	d, err := Open(Options{FS: g, Path: "/data", Files: segment.NewFiles(g, 16), NodeID: 1, ClusterID: "c", ReserveBytes: reserve,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(log, t.Output()), nil)), Now: time.Now})
	ok(t, err)
	t.Cleanup(d.Kill)
	return d, g, log
}

func refused(d *Dir) bool {
	err := d.Refuses()
	if err != nil && !errors.Is(err, kafka.KafkaStorageError) {
		panic(err)
	}
	return err != nil
}

func TestReserveOf(t *testing.T) {
	for _, tc := range []struct{ configured, total, want int64 }{
		{-1, 100 << 30, 1 << 30}, {-1, 20 << 30, 1 << 30}, {-1, 200 << 20, 10 << 20}, {-1, 0, 0}, {0, 1 << 40, 0}, {5 << 30, 6 << 30, 5 << 30},
	} {
		if got := ReserveOf(tc.configured, tc.total); got != tc.want {
			t.Errorf("reserve of %d on %d bytes: %d, want %d", tc.configured, tc.total, got, tc.want)
		}
	}
}

// Who writes beyond the room there was at the last look is refused before the
// next; then the file system's word counts, in both directions, with a tenth of
// the reserve between them.
func TestReserveIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, g, log := reserved(t, 100)
		look := func(free int64, want bool) {
			t.Helper()
			g.free.Store(free)
			time.Sleep(1001 * time.Millisecond)
			synctest.Wait()
			if refused(d) != want {
				t.Errorf("with %d bytes free: refused is %v", free, !want)
			}
		}
		d.spend(400)
		if refused(d) {
			t.Fatal("what was free is refused")
		}
		d.spend(1)
		if !refused(d) {
			t.Fatal("the reserve is not kept")
		}
		look(100, true)
		look(50, true)
		look(109, true)
		look(110, false)
		d.spend(5)
		look(104, false) // above the reserve it goes on
		d.spend(1)
		look(99, true)
		look(300, false)
		if full, again := strings.Count(log.String(), "is full"), strings.Count(log.String(), "has room again"); full != 2 || again != 2 {
			t.Errorf("%d lines when it was full, %d when it was not:\n%s", full, again, log)
		}
	})
}

// What was written by others, or was not written in the end, is no reason for a
// line: the next look knows better.
func TestAnEstimateThatWasWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, log := reserved(t, 100)
		d.spend(401) // into blocks that were there already
		if !refused(d) {
			t.Fatal("not refused")
		}
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		if refused(d) || strings.Contains(log.String(), "full") {
			t.Errorf("refused: %v, log %s", d.Refuses(), log)
		}
	})
}

// The file system is asked once a second while something is written, and not at
// all while nothing is.
func TestNobodyLooksWhileNothingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, g, _ := reserved(t, 100)
		time.Sleep(time.Hour)
		if n := g.asked.Load(); n != 1 {
			t.Errorf("an idle directory asked %d times in an hour", n)
		}
		for range 10_000 {
			d.spend(0)
			time.Sleep(time.Millisecond)
		}
		if n := g.asked.Load(); n < 9 || n > 12 {
			t.Errorf("asked %d times in 10 s of writes", n)
		}
		g.fail.Store(true) // it keeps what it knows
		d.spend(1)
		time.Sleep(5 * time.Second)
		if refused(d) {
			t.Error("a file system that does not answer is taken for a full one")
		}
	})
}

// A write that found no room counts, whatever the reserve; an offline directory
// stays so.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, g, log := reserved(t, 0)
		if d.spend(1 << 40); refused(d) {
			t.Fatal("without a reserve nothing is kept back")
		}
		g.free.Store(0)
		for range 100 {
			d.noRoom(syscall.ENOSPC)
		}
		time.Sleep(10500 * time.Millisecond)
		if !refused(d) {
			t.Fatal("producers go on without room")
		}
		g.free.Store(2 << 20)
		time.Sleep(time.Second)
		synctest.Wait()
		if refused(d) || strings.Contains(log.String(), "has room again") {
			t.Errorf("%v, log:\n%s", d.Refuses(), log)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if refused(d) || strings.Count(log.String(), "is full") != 1 || strings.Count(log.String(), "has room again") != 1 {
			t.Errorf("%v, log:\n%s", d.Refuses(), log)
		}
		d.noRoom(syscall.ENOSPC)
		d.Fail("write", syscall.EIO)
		time.Sleep(time.Minute)
		var offline *OfflineError
		if !errors.As(d.Refuses(), &offline) {
			t.Errorf("an offline directory says %v", d.Refuses())
		}
	})
}

// A file system that claims room where writes find none (its inodes are out) is
// tried every few seconds, with one line at the beginning and one at the end.
func TestNoRoomThoughSomeIsClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _, log := reserved(t, 0)
		tries := 0
		for range 600 {
			if time.Sleep(100 * time.Millisecond); !refused(d) {
				tries++
				d.noRoom(syscall.ENOSPC)
			}
		}
		if tries < 15 || tries > 25 {
			t.Errorf("%d tries in a minute", tries)
		}
		synctest.Wait()
		if full, again := strings.Count(log.String(), "is full"), strings.Count(log.String(), "has room again"); full != 1 || again != 0 {
			t.Errorf("%d lines when it was full, %d when it was not:\n%s", full, again, log)
		}
		time.Sleep(6500 * time.Millisecond)
		synctest.Wait()
		if refused(d) || strings.Count(log.String(), "has room again") != 1 {
			t.Errorf("%v, log:\n%s", d.Refuses(), log)
		}
	})
}

// A directory that a node has had before must bring its identity.
func TestFormatted(t *testing.T) {
	fsys := vfs.NewMemory()
	o := Options{FS: fsys, Path: "/b", Files: segment.NewFiles(fsys, 16), NodeID: 1, ClusterID: "c", Formatted: true,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now}
	var missing *UnformattedError
	if _, err := Open(o); !errors.As(err, &missing) || !strings.Contains(err.Error(), "gregor storage format /b") {
		t.Errorf("open: %v", err)
	}
	if _, err := fsys.Stat("/b"); err == nil {
		t.Error("the place of a missing disk was made")
	}
	id, err := Format(o)
	ok(t, err)
	if _, err := Format(o); err == nil {
		t.Error("formatted twice")
	}
	d, err := Open(o)
	ok(t, err)
	if d.ID() != id || id.IsZero() {
		t.Errorf("id %v, formatted with %v", d.ID(), id)
	}
	if _, err := Hold(o); err == nil {
		t.Error("held by two")
	}
	d.Kill()
	broken := Broken(o, syscall.EIO)
	if broken.Offline() == nil || len(broken.Logs()) != 0 || !refused(broken) {
		t.Error("a broken directory works")
	}
	broken.Kill()
}
