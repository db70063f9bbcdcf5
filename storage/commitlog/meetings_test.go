// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/scrub"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// meeting is of what reads a log, every file operation of which takes a second, and
// what the lane does.
type meeting struct {
	prepare      func(*bed) // a log of five segments
	unused       bool       // the reader is the first to use it
	reader, lane func(*bed) error
	check        func(*testing.T, *bed, error) // with what the reader got
}

// run lets the lane come in half a second later each time, until the reader is the
// quicker. Then the file system stays slow, or is quick but for the operation that
// is under way.
func (m meeting) run(t *testing.T) {
	t.Helper()
	for name, quick := range map[string]bool{"slow": false, "quick": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				halves := 0
				for met := true; met; halves++ {
					met = m.after(t, halves, quick)
					if t.Failed() {
						t.Fatalf("after %d half seconds", halves)
					}
				}
				if halves < 3 {
					t.Errorf("%d moments", halves)
				}
			})
		})
	}
}

func (m meeting) after(t *testing.T, halves int, quick bool) bool {
	t.Helper()
	b := memoryBed(t)
	b.o.Config.IndexIntervalBytes = 1
	filled(b, 5000, 4000, 3000, 2000, 1000)
	if m.prepare != nil {
		m.prepare(b)
	}
	if b.l != nil {
		b.stop(true)
	}
	slow := vfs.NewFault(b.fs)
	b.fs, b.o.FS = slow, slow
	b.mustOpen()
	if !m.unused {
		if _, err := b.l.Segments(); err != nil {
			t.Fatal(err)
		}
	}
	slow.Add(vfs.Rule{Ops: vfs.OpAny, Path: "/t-0", Delay: time.Second})
	done := make(chan error, 1)
	go func() { done <- m.reader(b) }()
	time.Sleep(time.Duration(halves) * time.Second / 2)
	synctest.Wait()
	met := len(done) == 0
	if quick {
		slow.Clear()
	}
	if err := m.lane(b); err != nil {
		t.Error(err)
	}
	err := <-done
	slow.Clear()
	if len(b.failed) > 0 {
		t.Errorf("the directory goes offline: %v", b.failed)
	}
	m.check(t, b, err)
	b.l.Kill()
	_ = b.files.Close()
	return met
}

func withoutIndexes(b *bed) {
	b.stop(true)
	b.l = nil
	for _, name := range b.names() {
		if strings.HasSuffix(name, "index") {
			if err := b.fs.Remove(b.o.Dir + "/" + name); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

// lookUp needs the indexes of all segments.
func lookUp(b *bed) error {
	_, err := b.l.OffsetForTime(b.now.UnixMilli() - 1500)
	return err
}

func scrubAll(b *bed) error {
	for after, more := kafka.NoOffset, true; more; {
		found, done, err := b.l.Scrub(&Scrub{After: after, Read: func(int64) bool { return true },
			Sum: func(kafka.Offset) (scrub.Sum, bool) { return scrub.Sum{}, false }})
		if err != nil {
			return err
		}
		if found.Indexes != nil || found.Rotten {
			return errors.Join(errors.New("a log that is whole is found to be wrong"), found.Indexes)
		}
		after, more = found.Base, done
	}
	return nil
}

func dropThree(b *bed) error {
	_, err := b.l.DropSegments(3)
	return err
}

func deleted(b *bed) error {
	defer b.l.Kill()
	return b.l.RenameDir(b.o.Dir + ".0-delete")
}

// A segment that retention takes, or a topic that is deleted, while the scrub
// looks at it is no damage.
func TestScrubMeetsItsEnd(t *testing.T) {
	for name, verb := range map[string]func(*bed) error{"segments": dropThree, "topic": deleted} {
		t.Run(name, func(t *testing.T) {
			meeting{reader: scrubAll, lane: verb, check: func(t *testing.T, _ *bed, err error) {
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("the scrub: %v", err)
				}
			}}.run(t)
		})
	}
}

// A reader that opens the indexes of segments, or builds them again, while they
// are deleted gets its answer, and makes no file that nobody looks for.
func TestIndexesMeetRetention(t *testing.T) {
	for name, prepare := range map[string]func(*bed){"there": nil, "lost": withoutIndexes} {
		t.Run(name, func(t *testing.T) {
			meeting{prepare: prepare, reader: lookUp, lane: dropThree, check: func(t *testing.T, b *bed, err error) {
				if err != nil {
					t.Errorf("the reader: %v", err)
				}
				for _, name := range b.names() {
					if strings.HasSuffix(name, "index") && baseOf(name) < 3 {
						t.Errorf("%s is there", name)
					}
				}
			}}.run(t)
		})
	}
}

// Whoever reads committed records is told of the aborted ones among them, or gets
// none, where retention takes their segment.
func TestAbortedMeetsRetention(t *testing.T) {
	var from kafka.Offset
	aborted := func(b *bed) {
		from = b.l.Tail().LogEnd
		b.mustAppend(inTxn(0))
		if a := b.append(spec{n: 1, ts: 1, pid: 7, marker: "abort", seq: batch.NoSequence}, 0, OriginCoordinator); a.Err != nil {
			b.t.Fatal(a.Err)
		}
		b.mustAppend(plain(1, 1))
		b.l.AdvanceHighWatermark(b.l.Tail().LogEnd)
	}
	reader := func(b *bed) error {
		r, err := b.l.Read(nil, from, 1<<20, ToLastStable, true)
		if r.File.Src != nil {
			r.File.Src.Release()
			if len(r.Aborted) == 0 {
				return errors.New("aborted records without a word")
			}
		}
		return err
	}
	verb := func(b *bed) error {
		_, err := b.l.DropSegments(from + 2)
		return err
	}
	meeting{prepare: aborted, reader: reader, lane: verb, check: func(t *testing.T, _ *bed, err error) {
		if err != nil && !errors.Is(err, kafka.OffsetOutOfRange) {
			t.Errorf("the reader: %v", err)
		}
	}}.run(t)
}

// Where a truncation takes a segment that tells of aborted records while a reader
// looks for those among what it has read, the read begins again.
func TestAbortedMeetsTruncation(t *testing.T) {
	for name, committed := range map[string]bool{"of what is committed": true, "of what is not": false} {
		t.Run(name, func(t *testing.T) {
			var from, cut kafka.Offset
			prepare := func(b *bed) {
				add := func(s spec) kafka.Offset {
					origin := OriginClient
					if s.marker != "" {
						origin = OriginCoordinator
					}
					if a := b.append(s, 0, origin); a.Err != nil {
						b.t.Fatal(a.Err)
					}
					return b.l.Tail().LogEnd
				}
				marker := func(pid kafka.ProducerID, what string) spec {
					return spec{n: 1, ts: 1, pid: pid, marker: what, seq: batch.NoSequence}
				}
				long := inTxn(0)
				long.pid = 8
				from = add(long)
				cut = add(inTxn(0))
				add(plain(1, 1))
				add(marker(7, "abort"))
				end := add(marker(8, "commit"))
				if !committed {
					cut = end
				}
				add(inTxn(1))
				add(marker(7, "abort"))
				if end = add(plain(1, 1)); !committed {
					end = cut
				}
				b.l.AdvanceHighWatermark(end)
			}
			reader := func(b *bed) error {
				r, err := b.l.Read(nil, from, 1, ToLastStable, true)
				switch {
				case r.File.Src == nil && !committed && err == nil:
					return errors.New("no records")
				case r.File.Src == nil:
					return err
				}
				r.File.Src.Release()
				if len(r.Aborted) == 0 {
					return errors.New("aborted records without a word")
				}
				return err
			}
			verb := func(b *bed) error { return b.l.TruncateTo(cut) }
			meeting{prepare: prepare, reader: reader, lane: verb, check: func(t *testing.T, _ *bed, err error) {
				if err != nil {
					t.Errorf("the reader: %v", err)
				}
			}}.run(t)
		})
	}
}

// A reader that opens the indexes of a log, or builds them again, while its topic
// is deleted leaves the next topic of that name alone.
func TestIndexesMeetTheNextTopic(t *testing.T) {
	for name, prepare := range map[string]func(*bed){"there": nil, "lost": withoutIndexes} {
		t.Run(name, func(t *testing.T) {
			var next map[string]string
			verb := func(b *bed) error {
				if err := deleted(b); err != nil {
					return err
				}
				other := &bed{t: t, fs: b.fs, now: b.now, o: b.o}
				other.o.TopicID, other.o.New, other.o.Hint = kafka.TopicID{2}, true, nil
				other.o.RecoveryPoint, other.o.HighWatermark, other.o.LogStart = 0, 0, 0
				filled(other, 9000, 8000, 7000)
				other.stop(true)
				next = contents(b)
				return nil
			}
			meeting{prepare: prepare, reader: lookUp, lane: verb, check: func(t *testing.T, b *bed, err error) {
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("the reader: %v", err)
				}
				if now := contents(b); !maps.Equal(now, next) {
					t.Errorf("the next topic's files were\n%q\nand are\n%q", next, now)
				}
			}}.run(t)
		})
	}
}

// contents are the files of the folder.
func contents(b *bed) map[string]string {
	all := map[string]string{}
	names := b.names()
	slices.Sort(names)
	for _, name := range names {
		p, err := vfs.ReadFile(b.fs, b.o.Dir+"/"+name, 1<<20)
		if err != nil {
			b.t.Error(err)
		}
		all[name] = string(p)
	}
	return all
}

// What a load that finds something to mend has still to write when it has found
// the log end is written before an append comes in.
func TestLoadMeetsAppend(t *testing.T) {
	touched := func(b *bed) {
		b.stop(true)
		b.l = nil
		f, err := b.fs.Open(b.o.Dir+"/00000000000000000004.log", vfs.ReadWrite, 0)
		if err == nil {
			var p [1]byte
			_, err = f.ReadAt(p[:], 0)
			if err == nil {
				time.Sleep(time.Second) // another modification time
				_, err = f.WriteAt(p[:], 0)
			}
			err = errors.Join(err, f.Close(), b.fs.Remove(b.o.Dir+"/"+epochsFile))
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	load := func(b *bed) error {
		_, err := b.l.Segments()
		return err
	}
	lane := func(b *bed) error {
		if err := b.l.StartEpoch(5); err != nil {
			return err
		}
		a := b.append(plain(1, b.now.UnixMilli()), 5, OriginClient)
		return errors.Join(a.Err, b.l.Flush())
	}
	meeting{prepare: touched, unused: true, reader: load, lane: lane, check: func(t *testing.T, b *bed, err error) {
		if err != nil {
			t.Errorf("the reader: %v", err)
		}
		if got, want := string(b.get(epochsFile)), "0\n2\n0 0\n5 5\n"; got != want {
			t.Errorf("leader epochs are %q, want %q", got, want)
		}
		if tail := b.l.Tail(); tail.LogEnd != 6 || tail.Flushed != 6 {
			t.Errorf("%+v", tail)
		}
	}}.run(t)
}

// A truncation that takes the end of a transaction, and nothing below the last
// stable offset, does not have its records given as if they had been committed.
func TestAbortedMeetsTheEndOfATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memoryBed(t)
		filled(b, 5000)
		add := func(s spec, origin Origin) kafka.Offset {
			if a := b.append(s, 0, origin); a.Err != nil {
				t.Fatal(a.Err)
			}
			return b.l.Tail().LogEnd
		}
		from := b.l.Tail().LogEnd
		long := inTxn(0)
		long.pid = 8
		add(inTxn(0), OriginClient)
		stable := add(plain(1, 1), OriginClient)
		cut := add(long, OriginClient) // never ends
		add(plain(1, 1), OriginClient)
		add(spec{n: 1, ts: 1, pid: 7, marker: "abort", seq: batch.NoSequence}, OriginCoordinator)
		b.l.AdvanceHighWatermark(add(plain(1, 1), OriginClient))
		b.stop(true)
		slow := vfs.NewFault(b.fs)
		b.fs, b.o.FS = slow, slow
		b.mustOpen()
		if _, err := b.l.Segments(); err != nil {
			t.Fatal(err)
		}
		if got := b.l.Tail().LastStable; got != stable {
			t.Fatalf("last stable offset %d, want %d", got, stable)
		}
		slow.Add(vfs.Rule{Ops: vfs.OpRead, Path: segment.Name(from, segment.LogSuffix), Delay: time.Second})
		slow.Add(vfs.Rule{Ops: vfs.OpRename, Delay: time.Minute})
		done := make(chan error, 1)
		go func() {
			time.Sleep(time.Second / 2)
			done <- b.l.TruncateTo(cut)
		}()
		r, err := b.l.Read(nil, from, 1, ToLastStable, true)
		if err != nil {
			t.Error("the reader:", err)
		}
		if r.File.Src != nil {
			r.File.Src.Release()
			if len(r.Aborted) == 0 {
				t.Error("aborted records without a word")
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.l.Kill()
		_ = b.files.Close()
	})
}
