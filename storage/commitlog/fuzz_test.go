// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// fuzzFiles are the files of a folder that a fuzzed input fills in turn.
var fuzzFiles = []string{
	"00000000000000000000.log", "00000000000000000000.index", "00000000000000000000.timeindex", "00000000000000000000.txnindex",
	"00000000000000000003.log", "00000000000000000003.index", "00000000000000000003.timeindex", "00000000000000000003.snapshot", epochsFile,
}

// pack is the inverse of unpack.
func pack(files map[string][]byte) []byte {
	var b []byte
	for _, name := range fuzzFiles {
		b = binary.AppendUvarint(b, uint64(len(files[name])))
		b = append(b, files[name]...)
	}
	return b
}

func unpack(b []byte) map[string][]byte {
	files := map[string][]byte{}
	for _, name := range fuzzFiles {
		n, w := binary.Uvarint(b)
		if w <= 0 {
			break
		}
		b = b[w:]
		n = min(n, uint64(len(b)))
		if n > 0 {
			files[name] = b[:n]
		}
		b = b[n:]
	}
	return files
}

// FuzzOpen puts arbitrary bytes where a log's files are: opening never panics
// and never invents records, and what opens can be read and appended to.
func FuzzOpen(f *testing.F) {
	b := memoryBed(f)
	b.o.Config = Config{SegmentBytes: 300, IndexIntervalBytes: 60}
	b.mustOpen()
	for i := range 6 {
		s := plain(1, int64(1000+i))
		s.pid, s.pepoch, s.seq, s.txn = 1, 0, int32(i), i < 2
		if i == 2 {
			s = spec{marker: "abort", pid: 1, pepoch: 0, seq: -1, ts: 1002}
		}
		if a := b.append(s, 1, OriginCoordinator); a.Err != nil {
			f.Fatal(a.Err)
		}
	}
	b.stop(false)
	valid := map[string][]byte{}
	for _, name := range fuzzFiles {
		file, err := b.fs.Open(filepath.Join(b.o.Dir, name), vfs.ReadOnly, 0)
		if err != nil {
			continue
		}
		size, _ := file.Size()
		p := make([]byte, size)
		_, _ = file.ReadAt(p, 0)
		valid[name] = p
	}
	for _, clean := range []bool{true, false} {
		f.Add(pack(valid), clean, int64(0))
		f.Add(pack(valid), clean, int64(4))
		f.Add([]byte{}, clean, int64(9))
	}
	f.Fuzz(func(t *testing.T, input []byte, clean bool, recoveryPoint int64) {
		b := memoryBed(t)
		if err := b.fs.MkdirAll(b.o.Dir); err != nil {
			t.Fatal(err)
		}
		total := 0
		for name, p := range unpack(input) {
			file, err := b.fs.Open(filepath.Join(b.o.Dir, name), vfs.ReadWrite|vfs.Create, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt(p, 0); err != nil {
				t.Fatal(err)
			}
			file.Close()
			total += len(p)
		}
		b.o.CleanStart, b.o.RecoveryPoint = clean, kafka.Offset(max(recoveryPoint, 0))
		if err := b.open(); err != nil {
			return
		}
		defer b.l.Kill()
		tail := b.l.Tail()
		list, err := b.readAll(tail.LogStart, 200, ToLogEnd) // checks every CRC
		if err != nil && !errors.Is(err, kafka.CorruptMessage) {
			t.Fatal(err)
		}
		bytes, next := 0, kafka.Offset(0)
		for _, h := range list {
			if h.BaseOffset < next || h.LastOffset() >= tail.LogEnd {
				t.Fatalf("batch %d to %d behind %d in a log that ends at %d", h.BaseOffset, h.LastOffset(), next, tail.LogEnd)
			}
			next = h.NextOffset()
			bytes += h.SizeBytes()
		}
		if bytes > total {
			t.Fatalf("%d bytes of records in files of %d", bytes, total)
		}
		_, _ = b.l.OffsetForTime(1003)
		_, _ = b.l.MaxTimestamp()
		if tail.LogEnd > 1<<60 {
			return
		}
		if a := b.append(plain(1, 2000), tail.Epoch+1, OriginClient); a.Err != nil || a.BaseOffset != tail.LogEnd {
			t.Fatal(a.BaseOffset, a.Err)
		}
		var c Cursor
		r, err := b.l.Read(&c, tail.LogEnd, 1000, ToLogEnd, true)
		if err != nil || r.File.LenBytes == 0 {
			t.Fatalf("what was appended at %d cannot be read: %v", tail.LogEnd, err)
		}
		r.File.Src.Release()
	})
}

func FuzzEpochs(f *testing.F) {
	f.Add([]byte("0\n2\n1 0\n5 20\n"))
	f.Add([]byte("0\n99999999999\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseEpochs(b)
		if err != nil {
			return
		}
		again, err := parseEpochs(list.appendText(nil))
		if err != nil || len(again) != len(list) {
			t.Fatal(err)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	f.Add(appendMetadata(nil, kafka.TopicID{7}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, err := ParseMetadata(b); err == nil {
			if again, err := ParseMetadata(appendMetadata(nil, id)); err != nil || again != id {
				t.Fatal(again, err)
			}
		}
	})
}
