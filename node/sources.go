// SPDX-License-Identifier: Apache-2.0

package node

import (
	"gregor/broker/conn"
	"gregor/ops"
)

// sources read the counters of the parts for the metrics.
func (n *Node) sources() ops.Sources {
	return ops.Sources{
		Connections: func() map[string]conn.Stats { return map[string]conn.Stats{"all": n.server.Stats()} },
		Files:       n.files.Stats,
	}
}
