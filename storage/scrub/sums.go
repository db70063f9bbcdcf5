// SPDX-License-Identifier: Apache-2.0

// Package scrub is what looking for bit rot needs to know and to decide: the
// checksums of sealed segments in a file of our own, the judgement of indexes
// against their log, and the pace. It does no I/O.
//
// The file of checksums is a cache: it may be cut, damaged or
// deleted at any time, and an entry counts only for the very files that it was
// made for, by inode, size and modification time, so whoever rewrites one of them
// thereby disowns its checksum. Records are appended; a later one of the same
// segment replaces an earlier one. Numbers are big endian.
//
//	"GREGSUMS"  version u16 = 1
//	records     length u16 of what follows up to the CRC, kind u8, content, CRC-32C of kind and content u32
//	kind 1      a segment: topic length u16, topic, partition u32, base offset i64, then for each of
//	            .log .index .timeindex .txnindex: inode u64, size i64 (-1: no file), modification time i64 (ns), CRC-32C u32
//	kind 2      where the pass is: started at i64 (ms), last full pass i64 (ms), topic length u16, topic, partition u32, base offset i64
package scrub

import (
	"encoding/binary"
	"hash/crc32"

	"gregor/base/kafka"
)

// The files of a segment, in the order of a record.
const (
	Log = iota
	OffsetIndex
	TimeIndex
	TxnIndex
	FileKinds
)

// Missing is the size of a file that is not there.
const Missing = -1

// FileSum is one version of a file and the CRC-32C of its content.
type FileSum struct {
	Inode       uint64
	SizeBytes   int64
	ModTimeNano int64
	CRC         uint32
}

// Same reports whether both are of one version of a file.
func (f FileSum) Same(g FileSum) bool {
	return f.Inode == g.Inode && f.SizeBytes == g.SizeBytes && f.ModTimeNano == g.ModTimeNano
}

// Sum is what is known of a sealed segment.
type Sum [FileKinds]FileSum

// Key names a segment.
type Key struct {
	kafka.TopicPartition
	Base kafka.Offset
}

// Progress is how far the passes over a directory have come: the segment that
// was done last, and when passes began and ended.
type Progress struct {
	StartedMs int64 // of the pass under way; 0: there is none
	FullMs    int64 // end of the last full pass; 0: there was none
	Last      Key
}

const (
	magic       = "GREGSUMS"
	version     = 1
	headBytes   = len(magic) + 2
	kindSegment = 1
	kindPass    = 2
	fileBytes   = 8 + 8 + 8 + 4
)

// RecordsMax bounds what Parse reads: some five million segments.
const RecordsMax = 1 << 30

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Update goes on with a checksum.
func Update(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }

// AppendHead begins a file.
func AppendHead(b []byte) []byte {
	return binary.BigEndian.AppendUint16(append(b, magic...), version)
}

// AppendSum appends a segment's record.
func AppendSum(b []byte, k Key, s Sum) []byte {
	b, at := begin(b, kindSegment)
	b = appendKey(b, k)
	for _, f := range s {
		b = binary.BigEndian.AppendUint64(b, f.Inode)
		b = binary.BigEndian.AppendUint64(b, uint64(f.SizeBytes))
		b = binary.BigEndian.AppendUint64(b, uint64(f.ModTimeNano))
		b = binary.BigEndian.AppendUint32(b, f.CRC)
	}
	return end(b, at)
}

// AppendProgress appends a record of how far a pass has come.
func AppendProgress(b []byte, p Progress) []byte {
	b, at := begin(b, kindPass)
	b = binary.BigEndian.AppendUint64(b, uint64(p.StartedMs))
	b = binary.BigEndian.AppendUint64(b, uint64(p.FullMs))
	return end(appendKey(b, p.Last), at)
}

func begin(b []byte, kind byte) ([]byte, int) { return append(b, 0, 0, kind), len(b) }

func end(b []byte, at int) []byte {
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-2))
	return binary.BigEndian.AppendUint32(b, Update(0, b[at+2:]))
}

func appendKey(b []byte, k Key) []byte {
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(k.Topic))), k.Topic...)
	b = binary.BigEndian.AppendUint32(b, uint32(k.Partition))
	return binary.BigEndian.AppendUint64(b, uint64(k.Base))
}

// Parsed is what a file says.
type Parsed struct {
	Sums     map[Key]Sum
	Progress Progress
	Records  int   // that were read, replaced ones too
	Bytes    int64 // up to the end of the last good record: 0 where the file is none
}

// Parse reads as many records as are whole. It never fails: what is not there
// is not known.
func Parse(b []byte) Parsed {
	p := Parsed{Sums: map[Key]Sum{}}
	if len(b) < headBytes || string(b[:len(magic)]) != magic || binary.BigEndian.Uint16(b[len(magic):]) != version {
		return p
	}
	p.Bytes = int64(headBytes)
	for rest := b[headBytes:]; len(rest) >= 2; {
		n := int(binary.BigEndian.Uint16(rest))
		if n < 1 || len(rest) < 2+n+4 {
			break
		}
		body := rest[2 : 2+n]
		if binary.BigEndian.Uint32(rest[2+n:]) != Update(0, body) || !p.take(body) {
			break
		}
		p.Records++
		p.Bytes += int64(2 + n + 4)
		rest = rest[2+n+4:]
	}
	return p
}

func (p *Parsed) take(body []byte) bool {
	kind, b := body[0], body[1:]
	switch kind {
	case kindSegment:
		k, b, ok := takeKey(b)
		if !ok || len(b) != FileKinds*fileBytes {
			return false
		}
		var s Sum
		for i := range s {
			f := b[i*fileBytes:]
			s[i] = FileSum{Inode: binary.BigEndian.Uint64(f), SizeBytes: int64(binary.BigEndian.Uint64(f[8:])),
				ModTimeNano: int64(binary.BigEndian.Uint64(f[16:])), CRC: binary.BigEndian.Uint32(f[24:])}
		}
		p.Sums[k] = s
		return true
	case kindPass:
		if len(b) < 16 {
			return false
		}
		k, rest, ok := takeKey(b[16:])
		if !ok || len(rest) > 0 {
			return false
		}
		p.Progress = Progress{StartedMs: int64(binary.BigEndian.Uint64(b)), FullMs: int64(binary.BigEndian.Uint64(b[8:])), Last: k}
		return true
	}
	return false
}

func takeKey(b []byte) (k Key, rest []byte, ok bool) {
	if len(b) < 2 {
		return k, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n+12 {
		return k, nil, false
	}
	k.Topic = string(b[:n])
	k.Partition = kafka.PartitionID(binary.BigEndian.Uint32(b[n:]))
	k.Base = kafka.Offset(binary.BigEndian.Uint64(b[n+4:]))
	return k, b[n+12:], true
}
