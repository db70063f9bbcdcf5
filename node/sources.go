// SPDX-License-Identifier: Apache-2.0

package node

import (
	"gregor/broker/telemetry"
	"gregor/config"
	"gregor/ops"
)

// sources are the parts that the metrics are read from.
func (n *Node) sources() ops.Sources {
	s := ops.Sources{
		Node:          n.ident.node,
		TopicsMax:     int(n.o.Config.Int(config.GregorMetricsTopicsMax)),
		Connections:   n.server.Stats,
		Requests:      n.api.Stats,
		FetchSessions: n.sessions.Stats,
		Quotas:        n.quotas.Stats,
		Telemetry:     func() telemetry.Stats { return n.telemetry.Stats(n.o.Now()) },
		Pushed:        func() []telemetry.Series { return n.telemetry.Exposed(n.o.Now()) },
		Groups:        n.groups.Stats,
		GroupCounts:   n.groups.counts,
		Partitions:    n.table,
		Image:         n.images.Load,
		Active:        n.control.Active,
		Leader:        n.raft.Leader,
		Metadata:      n.raft.Log(),
		Files:         n.files.Stats,
	}
	s.Assignments = n.line.AssignmentsPending
	for _, d := range n.dirs {
		s.Directories = append(s.Directories, d)
	}
	return s
}
