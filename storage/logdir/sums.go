// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"gregor/base/vfs"
)

// Kafka's checkpoint files are text without a checksum: a flipped bit makes one
// number into another. Their checksums stand in a file of our own, which is a
// cache: an entry counts only for the very file that it was made
// for, by inode and modification time, so one that Kafka or an operator has
// written since is taken as it is. Numbers are big endian.
//
//	"GREGCKPT"  version u16 = 1  count u32
//	name length u16, name, inode u64, modification time i64 (ns), CRC-32C of the content u32
//	CRC-32C of everything before it, u32
const (
	sumsFile     = "gregor.checkpoints"
	sumsMagic    = "GREGCKPT"
	sumsVersion  = 1
	sumsBytesMax = 64 << 10
	sumsHead     = len(sumsMagic) + 2 + 4
	sumsEntryMin = 2 + 8 + 8 + 4
)

// sum is the checksum of one version of a checkpoint file.
type sum struct {
	inode       uint64
	modTimeNano int64
	crc         uint32
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func appendSums(b []byte, all map[string]sum) []byte {
	b = append(b, sumsMagic...)
	b = binary.BigEndian.AppendUint16(b, sumsVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(all)))
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := all[name]
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
		b = binary.BigEndian.AppendUint64(b, s.inode)
		b = binary.BigEndian.AppendUint64(b, uint64(s.modTimeNano))
		b = binary.BigEndian.AppendUint32(b, s.crc)
	}
	return appendCRC(b)
}

// parseSums gives nothing where the file is not whole: it is not synced before
// it is renamed, so a crash may tear it.
func parseSums(b []byte) map[string]sum {
	if len(b) < sumsHead+4 || string(b[:len(sumsMagic)]) != sumsMagic {
		return nil
	}
	body := b[:len(b)-4]
	if binary.BigEndian.Uint32(b[len(body):]) != checksum(body) {
		return nil
	}
	r := &manifestReader{b: body[len(sumsMagic):]}
	if r.u16() != sumsVersion {
		return nil
	}
	count := int(r.u32())
	if count > len(r.b)/sumsEntryMin {
		return nil
	}
	all := make(map[string]sum, count)
	for range count {
		name := string(r.bytes(int(r.u16())))
		all[name] = sum{inode: uint64(r.i64()), modTimeNano: r.i64(), crc: r.u32()}
	}
	if r.short || len(r.b) > 0 {
		return nil
	}
	return all
}

// readSums never fails: without checksums the files are taken as they are.
func readSums(fsys vfs.FS, path string) map[string]sum {
	b, err := vfs.ReadFile(fsys, path, sumsBytesMax)
	if err != nil {
		return nil
	}
	return parseSums(b)
}

// judge compares a checkpoint file with its checksum, if there is one for it.
func (s sum) judge(info vfs.FileInfo, b []byte) error {
	if s.inode != info.Inode || s.modTimeNano != info.ModTimeNano || s.crc == checksum(b) {
		return nil
	}
	return fmt.Errorf("its checksum is %08x, and %08x was written", checksum(b), s.crc)
}

// noteSum writes down the checksum of a checkpoint file that was just replaced.
// Nothing depends on it, so it is neither synced nor is its failure one.
func (d *Dir) noteSum(name string, content []byte) {
	info, err := d.o.FS.Stat(d.path(name))
	if err != nil {
		return
	}
	d.flusher.sums[name] = sum{inode: info.Inode, modTimeNano: info.ModTimeNano, crc: checksum(content)}
	path := d.path(sumsFile)
	f, err := d.o.FS.Open(path+".tmp", vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		return
	}
	_, err = f.WriteAt(appendSums(nil, d.flusher.sums), 0)
	if closed := f.Close(); err == nil && closed == nil {
		err = d.o.FS.Rename(path+".tmp", path)
	}
	if err != nil {
		d.o.Logger.Warn("checksums of the checkpoint files are not written", "file", path, "err", err)
	}
}
