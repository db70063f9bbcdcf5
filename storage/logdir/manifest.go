// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

// The manifest lets a start after a clean stop open nothing: it holds what
// every log's own files would tell. It is a cache that may be deleted at any
// time and is worth nothing without the marker it belongs to.
// Numbers are big endian.
//
//	"GREGMANI"  version u16 = 3
//	marker:     inode u64, modification time i64 (ns), length u32, content
//	count u32, then for each partition
//	            topic length u16, topic, partition u32, topic id 16
//	            recovery point, high watermark, log start: i64 each
//	            has hint u8; if 1: LogStart, LocalLogStart, LogEnd, LastStable i64,
//	            Epoch, StartEpoch i32, SizeBytes, LastBase, LastSizeBytes, LastModTimeNano,
//	            OldestEnd, OldestSizeBytes, OldestNewestMs i64
//	CRC-32C of everything before it, u32
const (
	manifestFile     = "gregor.manifest"
	manifestMagic    = "GREGMANI"
	manifestVersion  = 3
	manifestBytesMax = 1 << 30
	manifestEntryMin = 2 + 1 + 4 + 16 + 3*8 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// remembered is one partition of a manifest.
type remembered struct {
	topicID kafka.TopicID
	kept    kept
	hint    *commitlog.Hint
}

// ManifestError says why a manifest is not used.
type ManifestError struct{ Reason string }

func (e *ManifestError) Error() string { return "manifest is not used: " + e.Reason }

type manifestWriter struct {
	b     []byte
	count int
	at    int // of the count
}

func newManifest(m marker) *manifestWriter {
	w := &manifestWriter{b: []byte(manifestMagic)}
	w.b = binary.BigEndian.AppendUint16(w.b, manifestVersion)
	w.b = binary.BigEndian.AppendUint64(w.b, m.inode)
	w.b = binary.BigEndian.AppendUint64(w.b, uint64(m.modTimeNano))
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(m.content)))
	w.b = append(w.b, m.content...)
	w.at = len(w.b)
	w.b = append(w.b, 0, 0, 0, 0)
	return w
}

func (w *manifestWriter) add(tp kafka.TopicPartition, r remembered) {
	w.count++
	b := binary.BigEndian.AppendUint16(w.b, uint16(len(tp.Topic)))
	b = append(b, tp.Topic...)
	b = binary.BigEndian.AppendUint32(b, uint32(tp.Partition))
	b = append(b, r.topicID[:]...)
	for _, o := range [...]kafka.Offset{r.kept.recoveryPoint, r.kept.highWatermark, r.kept.logStart} {
		b = binary.BigEndian.AppendUint64(b, uint64(o))
	}
	if r.hint == nil {
		w.b = append(b, 0)
		return
	}
	h := r.hint
	b = append(b, 1)
	for _, o := range [...]kafka.Offset{h.LogStart, h.LocalLogStart, h.LogEnd, h.LastStable} {
		b = binary.BigEndian.AppendUint64(b, uint64(o))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(h.Epoch))
	b = binary.BigEndian.AppendUint32(b, uint32(h.StartEpoch))
	for _, n := range [...]int64{h.SizeBytes, int64(h.LastBase), h.LastSizeBytes, h.LastModTimeNano,
		int64(h.OldestEnd), h.OldestSizeBytes, h.OldestNewestMs} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	w.b = b
}

func (w *manifestWriter) bytes() []byte {
	binary.BigEndian.PutUint32(w.b[w.at:], uint32(w.count))
	return appendCRC(w.b)
}

func appendCRC(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// manifestReader takes fields off the front; after a short read it only gives
// zeros.
type manifestReader struct {
	b     []byte
	short bool
}

func (r *manifestReader) take(n int) []byte {
	if n > len(r.b) {
		r.short, r.b = true, nil
		return make([]byte, min(n, 16))
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *manifestReader) u16() uint16     { return binary.BigEndian.Uint16(r.take(2)) }
func (r *manifestReader) u32() uint32     { return binary.BigEndian.Uint32(r.take(4)) }
func (r *manifestReader) i64() int64      { return int64(binary.BigEndian.Uint64(r.take(8))) }
func (r *manifestReader) o() kafka.Offset { return kafka.Offset(r.i64()) }
func (r *manifestReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	return r.take(n)
}

// parseManifest checks that b is whole and belongs to m.
func parseManifest(b []byte, m marker) (map[kafka.TopicPartition]remembered, error) {
	if len(b) < len(manifestMagic)+2+4 || string(b[:len(manifestMagic)]) != manifestMagic {
		return nil, &ManifestError{"it is none"}
	}
	body := b[:len(b)-4]
	if binary.BigEndian.Uint32(b[len(body):]) != crc32.Checksum(body, castagnoli) {
		return nil, &ManifestError{"its checksum is wrong"}
	}
	r := &manifestReader{b: body[len(manifestMagic):]}
	if version := r.u16(); version != manifestVersion {
		return nil, &ManifestError{fmt.Sprintf("its version is %d, this release writes %d", version, manifestVersion)}
	}
	inode, modTimeNano := uint64(r.i64()), r.i64()
	content := r.bytes(int(r.u32()))
	if !m.found || inode != m.inode || modTimeNano != m.modTimeNano || string(content) != m.content {
		return nil, &ManifestError{"it belongs to another clean stop"}
	}
	count := int(r.u32())
	if count > len(r.b)/manifestEntryMin {
		return nil, &ManifestError{"it is cut off"}
	}
	all := make(map[kafka.TopicPartition]remembered, count)
	for range count {
		tp := kafka.TopicPartition{Topic: string(r.bytes(int(r.u16()))), Partition: kafka.PartitionID(r.u32())}
		var e remembered
		copy(e.topicID[:], r.take(16))
		e.kept = kept{recoveryPoint: r.o(), highWatermark: r.o(), logStart: r.o()}
		if r.take(1)[0] == 1 {
			e.hint = &commitlog.Hint{LogStart: r.o(), LocalLogStart: r.o(), LogEnd: r.o(), LastStable: r.o(),
				Epoch: kafka.LeaderEpoch(r.u32()), StartEpoch: kafka.LeaderEpoch(r.u32()), SizeBytes: r.i64(), LastBase: r.o(), LastSizeBytes: r.i64(), LastModTimeNano: r.i64(),
				OldestEnd: r.o(), OldestSizeBytes: r.i64(), OldestNewestMs: r.i64()}
		}
		all[tp] = e
	}
	if r.short || len(r.b) > 0 {
		return nil, &ManifestError{"its length does not fit its content"}
	}
	return all, nil
}

// readManifest returns nil where there is none that can be used.
func (d *Dir) readManifest(m marker) (map[kafka.TopicPartition]remembered, error) {
	if !m.found {
		return nil, nil
	}
	path := d.path(manifestFile)
	b, err := vfs.ReadFile(d.o.FS, path, manifestBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all map[kafka.TopicPartition]remembered
	if err == nil {
		all, err = parseManifest(b, m)
	}
	if err != nil {
		d.o.Logger.Warn("every log of the directory is loaded from its own files", "file", path, "err", err)
		return nil, nil
	}
	return all, nil
}
