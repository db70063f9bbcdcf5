// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"gregor/base/kafka"
	"gregor/storage/logdir"
)

// identity is who this node is: what its directories say, else its
// configuration, else chance.
type identity struct {
	node        kafka.NodeID
	cluster     string
	incarnation kafka.UUID // of this process
	// formed: the node has been part of its cluster, so each of its directories
	// must have an identity. The first start gives it to the metadata log's
	// directory first, to the others next, and then begins the metadata log: a
	// crash in between leaves a node that is still to be formed.
	formed bool
	// unreadable are the directories whose meta.properties the disk does not give.
	unreadable map[string]error
}

func (n *Node) identify(context.Context) error {
	configured, fixed := n.o.Config.NodeID()
	n.ident.node = configured
	n.ident.unreadable = make(map[string]error)
	metadata := n.o.Config.MetadataLogDir()
	dirs := append([]string{metadata}, n.o.Config.LogDirs()...)
	identified := false // the metadata log's directory
	for _, dir := range dirs {
		p, found, err := logdir.ReadProperties(n.o.FS, dir)
		if err != nil && dir != metadata && isDiskError(err) {
			n.ident.unreadable[dir] = err
			continue
		}
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if dir == metadata {
			identified = true
		} else {
			n.ident.formed = true
		}
		if n.ident.cluster == "" {
			n.ident.cluster = p.ClusterID
		}
		if !fixed {
			n.ident.node, fixed = p.NodeID, true
		}
	}
	if identified {
		_, err := n.o.FS.Stat(filepath.Join(metadata, metadataFolder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		n.ident.formed = err == nil
	}
	if n.ident.cluster == "" {
		id, err := kafka.NewUUID(n.o.Random)
		if err != nil {
			return fmt.Errorf("choose a cluster id: %w", err)
		}
		n.ident.cluster = id.String()
	}
	incarnation, err := kafka.NewUUID(n.o.Random)
	if err != nil {
		return fmt.Errorf("choose an incarnation id: %w", err)
	}
	n.ident.incarnation = incarnation
	return nil
}
