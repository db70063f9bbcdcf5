// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"gregor/cluster/metalog"
)

// errImageBehind says that the image has not got as far as a checkpoint needs.
var errImageBehind = errors.New("the metadata image is behind")

// writeCheckpoint writes the image down, at least up to index least. It touches
// nothing of the core but the log, and may run beside the loop.
func (c *core) writeCheckpoint(img Applied, least uint64, forget bool) error {
	index, ok := c.log.IndexBefore(img.End)
	if !ok || index < least {
		return errImageBehind
	}
	conf, err := confAt(c.log, index)
	if err != nil {
		return err
	}
	ck, err := c.log.WriteCheckpoint(metalog.State{
		End: img.End, ConfState: marshalConf(conf), MetadataVersion: img.MetadataVersion, Records: img.Records, Forget: forget,
	})
	if errors.Is(err, metalog.ErrCurrent) {
		if least == 0 || ck.Index < least || ck.ConfState == nil {
			return errImageBehind
		}
		return nil
	}
	return err
}

// fetchCheckpoint takes in a checkpoint from another node, beside the loop.
func (c *core) fetchCheckpoint(ctx context.Context, from Identity, ck metalog.Checkpoint) error {
	src, err := c.o.Transport.FetchCheckpoint(ctx, from, ck)
	if err != nil {
		return err
	}
	defer src.Close()
	in, err := c.log.Receive(ck, c.o.CheckpointBytesMax)
	if err != nil {
		return err
	}
	if _, err := io.Copy(in, src); err != nil {
		return errors.Join(err, in.Abort())
	}
	got, err := in.Finish()
	if err != nil {
		return err
	}
	if got.Index != ck.Index {
		return fmt.Errorf("checkpoint %s is of raft index %d, not %d", ck.Name(), got.Index, ck.Index)
	}
	return nil
}

// heir is the voter that could lead next: the one that has most of the log;
// None if there is none.
func (c *core) heir() uint64 {
	best, match := uint64(raft.None), uint64(0)
	c.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if id != c.id && typ == raft.ProgressTypePeer && pr.RecentActive && pr.Match >= match {
			best, match = id, pr.Match
		}
	})
	return best
}
