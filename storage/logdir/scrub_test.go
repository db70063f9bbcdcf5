// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

// scrubbed opens a directory that scrubs, with a log of five small segments.
func scrubbed(t *testing.T, fsys vfs.FS, rate int64) (*Dir, *commitlog.Log) {
	t.Helper()
	o := options(fsys)
	o.ScrubBytesPerSecond, o.ScrubInterval = rate, time.Hour
	d, err := Open(o)
	ok(t, err)
	t.Cleanup(d.Kill)
	log, err := d.OpenLog(tp("topic", 0), topicID, commitlog.Config{SegmentBytes: 500, IndexIntervalBytes: 100})
	ok(t, err)
	return d, log
}

func fillScrubbed(t *testing.T, log *commitlog.Log) {
	t.Helper()
	appendSome(t, log, 30)
	if segments, err := log.Segments(); err != nil || len(segments) < 4 {
		t.Fatal(segments, err)
	}
}

func flip(t *testing.T, fsys vfs.FS, name string, at int64) {
	t.Helper()
	f, err := fsys.Open(filepath.Join("/data/topic-0", name), vfs.ReadWrite, 0)
	ok(t, err)
	defer f.Close()
	var p [1]byte
	_, err = f.ReadAt(p[:], at)
	ok(t, err)
	p[0] ^= 4
	_, err = f.WriteAt(p[:], at)
	ok(t, err)
}

// unreadable lists the offsets that are CORRUPT_MESSAGE.
func unreadable(t *testing.T, log *commitlog.Log) (bad []kafka.Offset) {
	t.Helper()
	for off := kafka.Offset(0); off < log.Tail().LogEnd; off++ {
		r, err := log.Read(nil, off, 1, commitlog.ToLogEnd, true)
		if errors.Is(err, kafka.CorruptMessage) {
			bad = append(bad, off)
			continue
		}
		ok(t, err)
		r.File.Src.Release()
	}
	return bad
}

// A bit that flips while the node runs is found within a pass, though this very
// process wrote it; nobody is given it afterwards, and all else is served.
func TestScrubFindsAFlipWithinAPass(t *testing.T) {
	for _, rate := range []int64{1 << 20, 200} {
		synctest.Test(t, func(t *testing.T) {
			fsys := vfs.NewMemory()
			d, log := scrubbed(t, fsys, rate)
			fillScrubbed(t, log)
			synctest.Wait() // the scrub does not meet the flip before its time
			flip(t, fsys, "00000000000000000000.log", 70)
			if bad := unreadable(t, log); len(bad) != 0 {
				t.Fatal("what the process wrote was checked when read", bad)
			}
			total := log.Tail().SizeBytes
			time.Sleep(scrubDelay + 2*time.Duration(2*total/rate+2)*time.Second)
			if s := d.Scrub(); s.BadRanges != 1 || s.Bytes < total || s.LastFullPassMs == 0 {
				t.Fatalf("%+v of %d bytes", s, total)
			}
			if bad := unreadable(t, log); len(bad) != 1 {
				t.Fatal("unreadable:", bad)
			}
			before := d.Scrub()
			time.Sleep(3 * time.Hour)
			if s := d.Scrub(); s.BadRanges != 1 || s.Bytes < before.Bytes+2*total {
				t.Fatalf("%+v after %+v", s, before)
			}
			d.Kill()
		})
	}
}

// Checksums are there after a restart, and worth nothing for a file that changed.
// A file of them that is damaged, cut or gone costs only that they are made again.
func TestChecksumsSurviveARestart(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, fsys vfs.FS){
		"whole":   func(*testing.T, vfs.FS) {},
		"gone":    func(t *testing.T, fsys vfs.FS) { ok(t, fsys.Remove("/data/"+sumFile)) },
		"cut":     func(t *testing.T, fsys vfs.FS) { write(t, fsys, sumFile, read(t, fsys, sumFile)[:150]) },
		"garbage": func(t *testing.T, fsys vfs.FS) { write(t, fsys, sumFile, strings.Repeat("x", 5000)) },
		"empty":   func(t *testing.T, fsys vfs.FS) { write(t, fsys, sumFile, "") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fsys := vfs.NewMemory()
				d, log := scrubbed(t, fsys, 1<<20)
				fillScrubbed(t, log)
				time.Sleep(2 * scrubDelay)
				segments, err := log.Segments()
				ok(t, err)
				if s := d.Scrub(); s.Checksums != len(segments)-1 || s.WrongIndexes != 0 {
					t.Fatalf("%+v of %d segments", s, len(segments))
				}
				ok(t, d.Close(1))
				damage(t, fsys)
				flip(t, fsys, "00000000000000000000.index", 3)
				d, log = scrubbed(t, fsys, 1<<20)
				if bad := unreadable(t, log); len(bad) != 0 {
					t.Fatal("unreadable:", bad)
				}
				time.Sleep(2*time.Hour + 2*scrubDelay)
				found := d.Scrub()
				if found.WrongIndexes == 0 || found.BadRanges != 0 {
					t.Fatalf("%+v", found)
				}
				ok(t, log.Checkpoint())
				time.Sleep(time.Hour + scrubDelay)
				if s := d.Scrub(); s.Checksums != len(segments)-1 || s.WrongIndexes != found.WrongIndexes {
					t.Fatalf("mended: %+v", s)
				}
				d.Kill()
			})
		})
	}
}

// A stop in the middle of a pass is no reason to begin it again.
func TestAPassGoesOnAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMemory()
		d, log := scrubbed(t, fsys, 0)
		fillScrubbed(t, log)
		ok(t, d.Close(1))
		d, log = scrubbed(t, fsys, 100)
		use(t, log)
		total := log.Tail().SizeBytes
		time.Sleep(scrubDelay + time.Duration(total/100/2)*time.Second)
		first := d.Scrub().Bytes
		ok(t, d.Close(1))
		d, log = scrubbed(t, fsys, 100)
		use(t, log)
		for d.Scrub().LastFullPassMs == 0 {
			time.Sleep(time.Second)
		}
		if s := d.Scrub(); first < total/3 || s.Bytes > total*3/4 {
			t.Fatalf("%d bytes before and %d after the restart, of %d", first, s.Bytes, total)
		}
		d.Kill()
	})
}
