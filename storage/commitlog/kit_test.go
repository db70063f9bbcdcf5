// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

// bed is a log on some file system that a test opens, stops and opens again.
type bed struct {
	t      testing.TB
	fs     vfs.FS
	files  *segment.Files
	o      Options
	l      *Log
	now    time.Time
	failed []string
}

func newBed(t testing.TB, fs vfs.FS, dir string) *bed {
	b := &bed{t: t, fs: fs, now: time.UnixMilli(1_700_000_000_000)}
	b.o = Options{
		FS: fs, Dir: dir, TopicPartition: kafka.TopicPartition{Topic: "t", Partition: 0}, TopicID: kafka.TopicID{1},
		Now:    func() time.Time { return b.now },
		Failed: func(op string, err error) { b.failed = append(b.failed, op) },
	}
	return b
}

func memoryBed(t testing.TB) *bed { return newBed(t, vfs.NewMemory(), "/data/t-0") }

// diskWithData is a disk whose /data is there after a power cut.
func diskWithData(t testing.TB) *vfs.Memory {
	t.Helper()
	m := vfs.NewMemory()
	for _, dir := range []string{"/data", "/"} {
		if err := errors.Join(m.MkdirAll(dir), m.SyncDir(dir)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (b *bed) open() error {
	b.files = segment.NewFiles(b.fs, 64)
	b.o.Files = b.files
	l, err := Open(b.o)
	b.l = l
	return err
}

func (b *bed) mustOpen() *bed {
	b.t.Helper()
	if err := b.open(); err != nil {
		b.t.Fatal(err)
	}
	return b
}

// stop closes cleanly; the next open has the hint if hinted.
func (b *bed) stop(hinted bool) {
	b.t.Helper()
	hint, err := b.l.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	t := b.l.Tail()
	b.o.CleanStart, b.o.Hint = true, nil
	if hinted {
		b.o.Hint = &hint
	}
	b.o.RecoveryPoint, b.o.HighWatermark, b.o.LogStart = t.LogEnd, t.HighWatermark, t.LogStart
	if err := b.files.Close(); err != nil {
		b.t.Fatal(err)
	}
}

// crash forgets what is in memory; files stay as they are.
func (b *bed) crash() {
	t := b.l.Tail()
	b.l.Kill()
	_ = b.files.Close()
	b.o.CleanStart, b.o.Hint = false, nil
	b.o.RecoveryPoint, b.o.HighWatermark, b.o.LogStart = t.Flushed, t.HighWatermark, t.LogStart
}

// spec describes a batch.
type spec struct {
	n             int
	ts            int64
	size          int
	pid           kafka.ProducerID
	pepoch        kafka.ProducerEpoch
	seq           int32
	txn           bool
	marker        string // commit or abort
	coordinator   int32
	base          kafka.Offset // for replicas
	epoch         kafka.LeaderEpoch
	logAppendTime bool
	value         string
}

func plain(n int, ts int64) spec {
	return spec{n: n, ts: ts, pid: kafka.NoProducerID, pepoch: kafka.NoProducerEpoch, seq: batch.NoSequence, size: 10}
}

func (s spec) build() []byte {
	var b batch.Builder
	o := batch.Options{BaseOffset: s.base, LeaderEpoch: s.epoch, Transactional: s.txn || s.marker != "", Control: s.marker != "",
		ProducerID: s.pid, ProducerEpoch: s.pepoch, BaseSequence: s.seq}
	if s.logAppendTime {
		o.AppendTimeMs = s.ts
	}
	b.Begin(o)
	if s.marker != "" {
		key, value := make([]byte, 4), make([]byte, 6)
		if s.marker == "commit" {
			key[3] = 1
		}
		binary.BigEndian.PutUint32(value[2:], uint32(s.coordinator))
		b.Add(s.ts, key, value)
	} else {
		for i := range s.n {
			v := []byte(s.value)
			if s.value == "" {
				v = append(bytes.Repeat([]byte{'.'}, max(s.size-1, 0)), byte('0'+i%10))
			}
			b.Add(s.ts+int64(i), nil, v)
		}
	}
	out, err := b.Finish(nil, nil)
	if err != nil {
		panic(err)
	}
	return out
}

func (b *bed) append(s spec, epoch kafka.LeaderEpoch, origin Origin) Append {
	a := Append{Batches: s.build(), Origin: origin, ExpectedEpoch: kafka.NoLeaderEpoch}
	b.l.Append(&a, epoch)
	return a
}

func (b *bed) mustAppend(s spec) Append {
	b.t.Helper()
	a := b.append(s, 0, OriginClient)
	if a.Err != nil {
		b.t.Fatal(a.Err)
	}
	return a
}

// readAll reads batches from an offset on, in pieces.
func (b *bed) readAll(from kafka.Offset, bytesMax int, bound Bound) ([]batch.Header, error) {
	var c Cursor
	var list []batch.Header
	for {
		r, err := b.l.Read(&c, from, bytesMax, bound, true)
		if err != nil {
			return list, err
		}
		if r.File.LenBytes == 0 {
			if r.File.Src != nil {
				return list, fmt.Errorf("a source without bytes")
			}
			return list, nil
		}
		p := make([]byte, r.File.LenBytes)
		_, err = r.File.Src.ReadAt(p, r.File.PosBytes)
		r.File.Src.Release()
		if err != nil {
			return list, err
		}
		for len(p) > 0 {
			h, err := batch.Parse(p)
			if err != nil {
				return list, err
			}
			if err := batch.VerifyCRC(p[:h.SizeBytes()]); err != nil {
				return list, err
			}
			list = append(list, h)
			p = p[h.SizeBytes():]
		}
		if r.Next <= from {
			return list, fmt.Errorf("next %d is not behind %d", r.Next, from)
		}
		from = r.Next
	}
}

func appendOld(b, message []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(message)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(message))
	return append(b, message...)
}
