// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/storage/commitlog"
)

const (
	deleteSuffix = "-delete"
	futureSuffix = "-future"
	straySuffix  = "-stray"

	metadataFolder    = "__cluster_metadata-0"
	remoteIndexFolder = "remote-log-index-cache" // of Kafka's tiered storage

	folderNameBytesMax    = 255
	partitionMetadataFile = "partition.metadata"
	partitionMetadataMax  = 4 << 10
)

// ForeignFolderError says that a log directory holds a folder that is no
// partition's. Like Kafka, gregor does not start over one: it may be the mark of
// a wrong log.dirs, and guessing could destroy somebody's data.
type ForeignFolderError struct {
	Path   string
	Reason string
}

func (e *ForeignFolderError) Error() string {
	return fmt.Sprintf("%s is not the folder of a partition (%s): names are topic-partition, optionally with "+
		".<id>-delete, .<id>-future or .<id>-stray; move it out of the log directory, or correct log.dirs", e.Path, e.Reason)
}

// folders are the folders of a directory by what has to be done with them.
type folders struct {
	partitions []partitionFolder
	deleted    []string // to be removed later
	ignored    []string // future and stray ones: somebody has to look
}

type partitionFolder struct {
	tp   kafka.TopicPartition
	path string
}

func sortFolders(dir string, infos []vfs.FileInfo) (folders, error) {
	var found folders
	for _, info := range infos {
		if !info.IsDir() || info.Name == metadataFolder || info.Name == remoteIndexFolder {
			continue
		}
		path := filepath.Join(dir, info.Name)
		tp, suffix, err := parseFolder(info.Name)
		if err != nil {
			return found, &ForeignFolderError{Path: path, Reason: err.Error()}
		}
		switch suffix {
		case "":
			found.partitions = append(found.partitions, partitionFolder{tp, path})
		case deleteSuffix:
			found.deleted = append(found.deleted, path)
		default:
			found.ignored = append(found.ignored, path)
		}
	}
	return found, nil
}

// parseFolder takes a folder's name apart, as Kafka's
// UnifiedLog.parseTopicPartitionName does.
func parseFolder(name string) (tp kafka.TopicPartition, suffix string, err error) {
	base := name
	for _, s := range []string{deleteSuffix, futureSuffix, straySuffix} {
		if !strings.HasSuffix(name, s) {
			continue
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 || dot == len(name)-len(s)-1 {
			return tp, "", fmt.Errorf("there is no .<id> before %s", s)
		}
		base, suffix = name[:dot], s
	}
	dash := strings.LastIndexByte(base, '-')
	if dash <= 0 || dash == len(base)-1 {
		return tp, "", errors.New("there is no topic and partition around a dash")
	}
	n, err := strconv.ParseUint(base[dash+1:], 10, 31)
	if err != nil {
		return tp, "", fmt.Errorf("%q is no partition", base[dash+1:])
	}
	tp = kafka.TopicPartition{Topic: base[:dash], Partition: kafka.PartitionID(n)}
	if tp.String() != base {
		return tp, "", fmt.Errorf("partition %q is not written as a plain number", base[dash+1:])
	}
	return tp, suffix, nil
}

// asideName makes the name that a partition's folder gets on its way out:
// topic-partition.<32 hex><suffix>, with the topic cut so that it fits.
func (d *Dir) asideName(tp kafka.TopicPartition, suffix string) (string, error) {
	id, err := kafka.NewUUID(d.o.Random)
	if err != nil {
		return "", err
	}
	end := "-" + strconv.Itoa(int(tp.Partition)) + "." + hex.EncodeToString(id[:]) + suffix
	topic := tp.Topic[:min(len(tp.Topic), folderNameBytesMax-len(end))]
	return d.path(topic + end), nil
}

// readTopicID reads partition.metadata. A folder without a readable one is of
// no known topic; opening the log will say why.
func (d *Dir) readTopicID(folder string) kafka.TopicID {
	path := filepath.Join(folder, partitionMetadataFile)
	b, err := vfs.ReadFile(d.o.FS, path, partitionMetadataMax)
	if err == nil && len(b) > 0 {
		var id kafka.TopicID
		if id, err = commitlog.ParseMetadata(b); err == nil {
			return id
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.o.Logger.Warn("topic id of a partition cannot be read", "file", path, "err", err)
	}
	return kafka.TopicID{}
}
