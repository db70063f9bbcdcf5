// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"gregor/base/vfs"
	"gregor/storage/logdir"
)

func newStorageFormatCommand() *cobra.Command {
	var like string
	c := &cobra.Command{
		Use:   "format DIR... --like DIR",
		Short: "Give new log directories the identity of a node",
		Long: `Writes a meta.properties with a directory.id of its own into each directory, for the node and the cluster that --like, another
log directory of the node, belongs to. A node that has directories already begins to use a new one only after this, so
that a disk that was not mounted is not mistaken for an empty one. Directories that have an identity are refused. The
first start of a node needs none of this.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor storage format /mnt/disk3/gregor --like ./data",
		RunE: func(c *cobra.Command, dirs []string) error {
			if like == "" {
				return usage("--like is missing: another log directory of the node")
			}
			of, found, err := logdir.ReadProperties(vfs.OS{}, like)
			if err == nil && !found {
				err = fmt.Errorf("%s has no meta.properties: it is no log directory", like)
			}
			if err != nil {
				return failed(err)
			}
			for _, dir := range dirs {
				id, err := logdir.Format(logdir.Options{FS: vfs.OS{}, Path: dir, NodeID: of.NodeID, ClusterID: of.ClusterID,
					Logger: slog.New(slog.DiscardHandler), Now: time.Now})
				var inUse *logdir.InUseError
				if errors.As(err, &inUse) {
					return failed(fmt.Errorf("%s is in use by a running broker: stop that first", dir))
				}
				if err != nil {
					return failed(err)
				}
				fmt.Fprintf(c.OutOrStdout(), "%s is log directory %s of node %d in cluster %s\n", dir, id, of.NodeID, of.ClusterID)
			}
			return nil
		},
	}
	c.Flags().StringVar(&like, "like", "", "another log directory of the node")
	_ = c.MarkFlagDirname("like")
	return c
}
