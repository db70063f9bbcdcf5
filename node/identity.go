// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"fmt"

	"gregor/base/kafka"
	"gregor/storage/logdir"
)

// identity is who this node is: what its directories say, else its
// configuration, else chance.
type identity struct {
	node        kafka.NodeID
	cluster     string
	incarnation kafka.UUID // of this process
}

func (n *Node) identify(context.Context) error {
	configured, fixed := n.o.Config.NodeID()
	n.ident.node = configured
	dirs := append([]string{n.o.Config.MetadataLogDir()}, n.o.Config.LogDirs()...)
	for _, dir := range dirs {
		p, found, err := logdir.ReadProperties(n.o.FS, dir)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if n.ident.cluster == "" {
			n.ident.cluster = p.ClusterID
		}
		if !fixed {
			n.ident.node, fixed = p.NodeID, true
		}
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
