// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"gregor/base/kafka"
	"gregor/base/vfs"
)

// syncedName is the file that tells how far the log was made durable:
//
//	version u32, end offset i64, epoch of the batch before it i32, CRC-32C of these u32
//
// It is written behind each append and not synced: a process that is killed
// leaves it exact, and a power cut leaves an older one. So it never tells too
// much, as long as it is turned back, durably, before the log is cut. Without it
// a start knows less and loses nothing. Kafka does not know it, and may cut the
// log: it is not believed where Kafka wrote last.
const (
	syncedName    = "gregor.synced"
	syncedVersion = 1
	syncedBytes   = 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// synced is the file in memory; of the writer alone.
type synced struct {
	file   vfs.File // nil while there is none
	end    kafka.Offset
	epoch  kafka.LeaderEpoch
	failed bool // said once
}

func (s *synced) marshal() []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, syncedBytes), syncedVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(s.end))
	b = binary.BigEndian.AppendUint32(b, uint32(s.epoch))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func parseSynced(b []byte) (s synced, err error) {
	if len(b) != syncedBytes || binary.BigEndian.Uint32(b[syncedBytes-4:]) != crc32.Checksum(b[:syncedBytes-4], castagnoli) {
		return s, errors.New("checksum does not fit")
	}
	if v := binary.BigEndian.Uint32(b); v != syncedVersion {
		return s, fmt.Errorf("version %d is not known", v)
	}
	s.end, s.epoch = kafka.Offset(binary.BigEndian.Uint64(b[4:])), kafka.LeaderEpoch(binary.BigEndian.Uint32(b[12:]))
	return s, nil
}

// loadSynced reads the file; one that cannot be read counts as none.
func (l *Log) loadSynced() {
	name := l.path(syncedName)
	b, err := vfs.ReadFile(l.fs, name, syncedBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var s synced
	if err == nil {
		s, err = parseSynced(b)
	}
	if err != nil {
		l.o.Logger.Warn("how far the metadata log was durable cannot be read, it is written anew", "file", name, "err", err)
		return
	}
	if l.quorum.HasCommit {
		l.synced = s
	}
}

// renewSynced has the file tell where the log ends now that it is open. What it
// says must be gone, durably, if that is more.
func (l *Log) renewSynced() error {
	if err := l.closeSynced(); err != nil { // it is open where metadata was given up
		return fmt.Errorf("write %s: %w", syncedName, err)
	}
	was := l.synced
	l.synced = synced{}
	end, epoch := l.tail()
	if was.end == 0 || was.end > end || was.end == end && was.epoch != epoch {
		err := l.fs.Remove(l.path(syncedName))
		if err == nil {
			err = l.syncDir()
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", syncedName, err)
		}
	}
	if end > 0 {
		return l.raiseSynced()
	}
	return nil
}

func (l *Log) writeSynced() error {
	s := &l.synced
	if s.file == nil {
		f, err := l.fs.Open(l.path(syncedName), vfs.Create, 0o644)
		if err != nil {
			return err
		}
		s.file = f
	}
	_, err := s.file.WriteAt(s.marshal(), 0)
	return err
}

// tail is where the log ends.
func (l *Log) tail() (kafka.Offset, kafka.LeaderEpoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, _ := l.positionLocked(l.lastIndexLocked())
	return p.end, p.epoch
}

// raiseSynced follows an append, which counts even where there is no room for it.
func (l *Log) raiseSynced() error {
	l.synced.end, l.synced.epoch = l.tail()
	err := l.writeSynced()
	if isFull(err) {
		if !l.synced.failed {
			l.synced.failed = true
			l.o.Logger.Warn("no room to write how far the metadata log is durable", "file", l.path(syncedName), "err", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", syncedName, err)
	}
	return nil
}

// lowerSynced turns the file back before what lies behind end is cut away.
func (l *Log) lowerSynced(end kafka.Offset, epoch kafka.LeaderEpoch) error {
	if l.synced.end <= end {
		return nil
	}
	was := l.synced
	l.synced.end, l.synced.epoch = end, epoch
	err := l.writeSynced()
	if err == nil {
		err = l.synced.file.SyncData()
	}
	if err != nil {
		l.synced.end, l.synced.epoch = was.end, was.epoch
		return fmt.Errorf("write %s: %w", syncedName, err)
	}
	return nil
}

// closeSynced makes the file durable: behind a clean stop it is exact.
func (l *Log) closeSynced() error {
	f := l.synced.file
	if f == nil {
		return nil
	}
	l.synced.file = nil
	return errors.Join(f.SyncData(), f.Close())
}
