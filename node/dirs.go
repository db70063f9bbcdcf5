// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"gregor/base/kafka"
	"gregor/config"
	"gregor/replica/assign"
	"gregor/storage/logdir"
	"gregor/storage/segment"
)

// metadataFolder is where the metadata log lies in its directory.
const metadataFolder = "__cluster_metadata-0"

// openDirs opens the log directories, all at a time, and the metadata log's. A
// log directory whose disk does not work is offline from the beginning while
// others serve; one that belongs to somebody else, or is not understood, stops
// the start, as in Kafka.
func (n *Node) openDirs(context.Context) error {
	c := n.o.Config
	open := int(c.Int(config.GregorOpenFilesMax))
	if open == 0 {
		open = n.o.OpenFilesMax
	}
	if open == 0 {
		open = openFilesDefault
	}
	n.files = segment.NewFiles(n.o.FS, open)
	paths := c.LogDirs()
	n.dirs = make([]*logdir.Dir, len(paths))
	errs := make([]error, len(paths))
	// That of the metadata log first, so that one without an identity, where
	// others have one, is not mistaken for a new node's; see identify.
	first := slices.Index(paths, c.MetadataLogDir())
	if first >= 0 {
		n.dirs[first], errs[first] = n.openDir(paths[first])
	} else if err := n.holdMetadata(); err != nil {
		return err
	}
	var opening sync.WaitGroup
	for i, path := range paths {
		if i != first && (first < 0 || errs[first] == nil) {
			opening.Go(func() { n.dirs[i], errs[i] = n.openDir(path) })
		}
	}
	opening.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if first >= 0 {
		n.metadataID = n.dirs[first].ID()
	}
	return n.checkDirs()
}

func (n *Node) dirOptions(path string) logdir.Options {
	c := n.o.Config
	o := logdir.Options{
		FS: n.o.FS, Path: path, Files: n.files, NodeID: n.ident.node, ClusterID: n.ident.cluster,
		Logger: n.o.Logger, Now: n.o.Now, Random: n.o.Random,
		FlushInterval:         millis(int64(c.Int(config.LogFlushOffsetCheckpointIntervalMs))),
		HighWatermarkInterval: millis(c.Long(config.ReplicaHighWatermarkCheckpointIntervalMs)),
		FileDeleteDelay:       deleteDelay(c.Long(config.LogSegmentDeleteDelayMs)),
		ReserveBytes:          c.Long(config.GregorLogReserveBytes),
		ScrubBytesPerSecond:   c.Long(config.GregorLogScrubBytesPerSecond),
		ScrubInterval:         millis(c.Long(config.GregorLogScrubIntervalMs)),
		Formatted:             n.ident.formed,
	}
	if _, set := c.IsSet(string(config.NumRecoveryThreadsPerDataDir)); set {
		o.Workers = int(c.Int(config.NumRecoveryThreadsPerDataDir))
		o.Recoveries = o.Workers
	}
	return o
}

// openDir opens a log directory, or stands in for one that does not work.
func (n *Node) openDir(path string) (*logdir.Dir, error) {
	o := n.dirOptions(path)
	err := n.ident.unreadable[path]
	if err == nil {
		var d *logdir.Dir
		if d, err = logdir.Open(o); err == nil {
			return d, nil
		}
	}
	var missing *logdir.UnformattedError
	if len(n.o.Config.LogDirs()) > 1 && path != n.o.Config.MetadataLogDir() && (errors.As(err, &missing) || isDiskError(err)) {
		return logdir.Broken(o, err), nil
	}
	return nil, err
}

// isDiskError reports whether the system has said no, not our own judgement of
// what was read.
func isDiskError(err error) bool {
	var path *fs.PathError
	var errno syscall.Errno
	return errors.As(err, &path) || errors.As(err, &errno)
}

// holdMetadata takes the directory of the metadata log, which is none of log.dirs.
func (n *Node) holdMetadata() error {
	path := n.o.Config.MetadataLogDir()
	o := n.dirOptions(path)
	_, found, err := logdir.ReadProperties(n.o.FS, path)
	if err != nil {
		return err
	}
	if !found && n.ident.formed {
		return fmt.Errorf("metadata.log.dir: %w", &logdir.UnformattedError{Path: path})
	}
	if n.held, err = logdir.Hold(o); err != nil {
		return err
	}
	n.metadataID = n.held.ID()
	return nil
}

// checkDirs holds what concerns several directories: no two are one, none
// holds another metadata log, no log is in two of them, and one works.
func (n *Node) checkDirs() error {
	metadata := n.o.Config.MetadataLogDir()
	owners := make(map[kafka.DirectoryID]string)
	working := false
	var why error
	for _, d := range n.dirs {
		if err := d.Offline(); err != nil {
			why = err
			continue
		}
		working = true
		if other, twice := owners[d.ID()]; twice {
			return fmt.Errorf("%s and %s have one directory.id, %s: they are one directory, or copies", other, d.Path(), d.ID())
		}
		owners[d.ID()] = d.Path()
		folder := filepath.Join(d.Path(), metadataFolder)
		if _, err := n.o.FS.Stat(folder); err == nil && d.Path() != metadata {
			return fmt.Errorf("unexpected metadata log in %s: metadata.log.dir is %s; move it there while the node is down", folder, metadata)
		}
	}
	if !working {
		return fmt.Errorf("no log directory works: %w", why)
	}
	if other, twice := owners[n.metadataID]; twice && other != metadata {
		return fmt.Errorf("%s and %s have one directory.id, %s: they are copies", other, metadata, n.metadataID)
	}
	_, err := n.homes()
	return err
}

// homes tells where logs were found. One topic's partition in two directories
// is for the operator to decide, as in Kafka: nobody else knows which is newer.
func (n *Node) homes() (map[kafka.TopicPartition][]assign.Home, error) {
	homes := make(map[kafka.TopicPartition][]assign.Home)
	for i, d := range n.dirs {
		for _, f := range d.Logs() {
			for _, h := range homes[f.TopicPartition] {
				if h.TopicID == f.TopicID || h.TopicID.IsZero() || f.TopicID.IsZero() {
					return nil, fmt.Errorf("the log of %s is in two directories, %s and %s: keep the one that is right and move the other away",
						f.TopicPartition, filepath.Join(n.dirs[h.Dir].Path(), f.TopicPartition.String()), f.Folder)
				}
			}
			homes[f.TopicPartition] = append(homes[f.TopicPartition], assign.Home{Dir: i, TopicID: f.TopicID})
		}
	}
	return homes, nil
}

// closeDirs ends the use of the directories cleanly. One that is offline has told
// why, and is left as it is.
func (n *Node) closeDirs() error {
	errs := make([]error, len(n.dirs))
	var closing sync.WaitGroup
	for i, d := range n.dirs {
		closing.Go(func() {
			if d.Offline() != nil {
				d.Kill()
				return
			}
			errs[i] = d.Close(n.brokerEpoch())
		})
	}
	closing.Wait()
	if n.held != nil {
		errs = append(errs, n.held.Close())
	}
	return errors.Join(errs...)
}

// onlineDirs are the ids of the directories that work.
func (n *Node) onlineDirs() []kafka.DirectoryID {
	var ids []kafka.DirectoryID
	for _, d := range n.dirs {
		if d.Offline() == nil {
			ids = append(ids, d.ID())
		}
	}
	return ids
}

// previousEpoch is the broker epoch under which all directories were stopped
// cleanly; -1 where they do not agree, or one is offline.
func (n *Node) previousEpoch() kafka.BrokerEpoch {
	epoch := n.dirs[0].PreviousBrokerEpoch()
	for _, d := range n.dirs {
		if d.Offline() != nil || d.PreviousBrokerEpoch() != epoch {
			return -1
		}
	}
	return epoch
}

// watchDir takes a directory's partitions offline with it, and tells the
// controller. Without a directory, or without that of the metadata log, there
// is nothing that the node could do.
func (n *Node) watchDir(ctx context.Context, i int) {
	d := n.dirs[i]
	select {
	case <-d.WentOffline():
	case <-ctx.Done():
		return
	}
	err := d.Offline()
	n.executor.FailDir(i, err)
	if d.Path() == n.o.Config.MetadataLogDir() {
		n.fail(fmt.Errorf("the directory of the metadata log is offline: %w", err))
		return
	}
	if len(n.onlineDirs()) == 0 {
		n.fail(fmt.Errorf("every log directory is offline: %w", err))
		return
	}
	if !d.ID().IsZero() {
		n.line.DirectoryOffline(d.ID())
	}
}
