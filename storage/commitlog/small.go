// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/segment"
)

const (
	metadataFile  = "partition.metadata"
	smallBytesMax = 16 << 20
	tmpSuffix     = ".tmp"
)

// snapshotBytesMax is what a snapshot of 23 million producers needs.
const snapshotBytesMax = 1 << 30

// readSmall reads a whole file of the partition's folder.
func (l *Log) readSmall(name string) ([]byte, error) { return l.readWhole(name, smallBytesMax) }

// readSnapshot reads a producer snapshot. How many producers there are is not
// bounded, as in Kafka: expiry alone keeps them few.
func (l *Log) readSnapshot(at kafka.Offset) ([]byte, error) {
	return l.readWhole(segment.Name(at, segment.SnapshotSuffix), snapshotBytesMax)
}

func (l *Log) readWhole(name string, bytesMax int64) ([]byte, error) {
	path := filepath.Join(l.dir(), name)
	f, err := l.o.FS.Open(path, vfs.ReadOnly, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err == nil && size > bytesMax {
		err = fmt.Errorf("%d bytes, at most %d are expected", size, bytesMax)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	} else {
		b = b[:n]
	}
	return b, nil
}

// writeSmall replaces a whole file of the partition's folder, unsynced.
func (l *Log) writeSmall(name string, b []byte) error {
	return l.replaceSmall(name, b, func(vfs.File) error { return nil })
}

// replaceSmall replaces a whole file, and calls finish before it takes its place.
func (l *Log) replaceSmall(name string, b []byte, finish func(vfs.File) error) error {
	path := filepath.Join(l.dir(), name)
	f, err := l.o.FS.Open(path+tmpSuffix, vfs.ReadWrite|vfs.Create|vfs.Truncate, 0o644)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if _, err = f.WriteAt(b, 0); err == nil {
		err = finish(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := l.o.FS.Rename(path+tmpSuffix, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// checkMetadata compares partition.metadata with the topic id, or writes it.
// It is not synced before the first flush: one that is torn after a crash
// belongs to a folder that was new then, and is written again.
func (l *Log) checkMetadata() error {
	path := filepath.Join(l.dir(), metadataFile)
	b, err := l.readSmall(metadataFile)
	if err != nil && !missing(err) {
		return err
	}
	id, bad := kafka.TopicID{}, err
	if err == nil {
		id, bad = ParseMetadata(b)
	}
	switch {
	case bad == nil && l.o.TopicID.IsZero():
		l.o.TopicID = id
		return nil
	case bad == nil && id != l.o.TopicID:
		return &TopicIDError{File: path, Has: id, Want: l.o.TopicID}
	case bad == nil:
		return nil
	case l.o.TopicID.IsZero() && missing(err):
		return nil
	case l.o.TopicID.IsZero() || l.o.CleanStart && err == nil:
		return fmt.Errorf("%s: %w", path, bad)
	}
	if err == nil {
		l.log().Warn("partition.metadata was torn by a crash and is written again", "file", path, "reason", bad)
	}
	l.lane.dirUnsynced = true
	if err := l.writeSmall(metadataFile, appendMetadata(nil, l.o.TopicID)); err != nil {
		return l.notCreated(path, err)
	}
	return nil
}

// notCreated: what a new log is made of could not be written. A full disk
// passes, and the next use tries again.
func (l *Log) notCreated(path string, err error) error {
	if passing(err) {
		return storageError("create "+path, err)
	}
	return l.fail("create "+path, err)
}

func (l *Log) syncMetadata() error {
	f, err := l.o.FS.Open(filepath.Join(l.dir(), metadataFile), vfs.ReadWrite, 0)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.SyncData(), f.Close())
}

func appendMetadata(b []byte, id kafka.TopicID) []byte {
	return fmt.Appendf(b, "version: 0\ntopic_id: %s", id)
}

// ParseMetadata reads a partition.metadata file.
func ParseMetadata(b []byte) (kafka.TopicID, error) {
	var id kafka.UUID
	version, found := "", false
	for _, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "version":
			version = value
		case "topic_id":
			var err error
			if id, err = kafka.ParseUUID(value); err != nil {
				return kafka.TopicID{}, fmt.Errorf("partition metadata: %w", err)
			}
			found = true
		}
	}
	if version != "0" || !found || id.IsZero() {
		return kafka.TopicID{}, errors.New("partition metadata: want version 0 and a topic id")
	}
	return kafka.TopicID(id), nil
}
