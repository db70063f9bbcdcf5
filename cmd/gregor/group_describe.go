// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"gregor/cmd/gregor/groups"
)

// groupItem is a described group in JSON.
type groupItem struct {
	Name         string            `json:"name"`
	Type         string            `json:"type"`
	State        string            `json:"state"`
	ProtocolType string            `json:"protocolType"`
	Assignor     string            `json:"assignor"`
	Epoch        *int32            `json:"epoch,omitempty"`           // of a consumer group
	TargetEpoch  *int32            `json:"assignmentEpoch,omitempty"` // of a consumer group
	Coordinator  groupCoordinator  `json:"coordinator"`
	Members      []groupMemberItem `json:"members"`
	Offsets      []positionItem    `json:"offsets"`
}

type groupCoordinator struct {
	ID      int32  `json:"id"`
	Address string `json:"address"`
}

// groupMemberItem is a member of a group in JSON.
type groupMemberItem struct {
	ID          string             `json:"memberId"`
	InstanceID  string             `json:"instanceId,omitempty"`
	Rack        string             `json:"rack,omitempty"`
	ClientID    string             `json:"clientId"`
	Host        string             `json:"host"`
	Type        string             `json:"type,omitempty"`
	Epoch       *int32             `json:"epoch,omitempty"`
	Topics      []string           `json:"subscribedTopics"`
	Regex       string             `json:"subscribedRegex,omitempty"`
	Assigned    groups.Partitions  `json:"assignment"`
	Target      *groups.Partitions `json:"targetAssignment,omitempty"`
	Reconciling bool               `json:"reconciling,omitempty"`
}

// positionItem is what a group has of a partition, in JSON. Offsets are -1
// where nobody knows them.
type positionItem struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	Committed   int64  `json:"committedOffset"`
	LeaderEpoch int32  `json:"committedLeaderEpoch"`
	Metadata    string `json:"metadata"`
	LogStart    int64  `json:"logStartOffset"`
	End         int64  `json:"highWatermark"`
	Lag         int64  `json:"lag"`
	Member      string `json:"memberId,omitempty"`
	Note        string `json:"note,omitempty"`
}

func newGroupDescribeCommand(n *connection) *cobra.Command {
	var output string
	var members, offsets bool
	c := &cobra.Command{
		Use:   "describe GROUP...",
		Short: "Show members, what they are assigned, and offsets",
		Long: `Shows the state of groups, their members and what they are assigned, and the offsets that were committed, with the metadata that
the clients gave them.`,
		Args:    cobra.MinimumNArgs(1),
		Example: "  gregor group describe billing\n  gregor group describe billing audit --members\n  gregor group describe billing --offsets\n  gregor group describe billing -o json",
		RunE: func(c *cobra.Command, names []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if !members && !offsets {
				members, offsets = true, true
			}
			return n.withGroups(c, func(ctx context.Context, q *groupQuery) error {
				var problems problems
				l := listing{kind: "Group"}
				first := true
				err := q.each(ctx, names, false, &problems, func(g *groups.Group, positions []groups.Position) error {
					if output == "table" {
						if !first {
							fmt.Fprintln(c.OutOrStdout())
						}
						first = false
						return printGroup(c.OutOrStdout(), g, positions, members, offsets)
					}
					l.items, l.names = append(l.items, itemOf(g, positions)), append(l.names, g.Name)
					return nil
				})
				if err != nil {
					return err
				}
				if output != "table" {
					if err := l.print(c.OutOrStdout(), output); err != nil {
						return err
					}
				}
				return problems.end(c)
			})
		},
	}
	outputFlag(c, &output)
	c.Flags().BoolVar(&members, "members", false, "in a table, leave the offsets out")
	c.Flags().BoolVar(&offsets, "offsets", false, "in a table, leave the members out")
	return c
}

func itemOf(g *groups.Group, positions []groups.Position) groupItem {
	item := groupItem{Name: g.Name, Type: g.Kind, State: g.State, ProtocolType: g.ProtocolType, Assignor: g.Assignor,
		Coordinator: groupCoordinator{g.Coordinator.NodeID, coordinatorAddress(g)}, Members: []groupMemberItem{}, Offsets: []positionItem{}}
	if g.Kind == groups.Consumer {
		item.Epoch, item.TargetEpoch = &g.Epoch, &g.TargetEpoch
	}
	for i := range g.Members {
		m := &g.Members[i]
		member := groupMemberItem{ID: m.ID, InstanceID: m.InstanceID, Rack: m.Rack, ClientID: m.ClientID, Host: m.Host, Type: m.Kind, Topics: m.Topics, Regex: m.Regex, Assigned: m.Assigned}
		if member.Topics == nil {
			member.Topics = []string{}
		}
		if m.Target != nil {
			member.Epoch, member.Target, member.Reconciling = &m.Epoch, &m.Target, moving(m)
		}
		item.Members = append(item.Members, member)
	}
	for i := range positions {
		item.Offsets = append(item.Offsets, positionOf(&positions[i]))
	}
	return item
}

func positionOf(p *groups.Position) positionItem {
	item := positionItem{Topic: p.Topic, Partition: p.Partition, Committed: p.Committed, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata,
		LogStart: p.LogStart, End: p.End, Lag: p.Lag(), Note: noteOf(p)}
	if p.Owner != nil {
		item.Member = p.Owner.ID
	}
	return item
}

// noteOf says what is unusual about a position.
func noteOf(p *groups.Position) string {
	switch {
	case p.Gone:
		return "does not exist any more"
	case errors.Is(p.Err, kerr.UnstableOffsetCommit):
		return "a transaction is about to commit"
	case p.Err != nil:
		return p.Err.Error()
	case p.Committed >= 0 && p.Committed < p.LogStart:
		return strconv.FormatInt(p.LogStart-p.Committed, 10) + " offsets were deleted before they were read"
	case p.Committed > p.End && p.End >= 0:
		return "committed behind the end"
	}
	return ""
}

func coordinatorAddress(g *groups.Group) string {
	return net.JoinHostPort(g.Coordinator.Host, strconv.Itoa(int(g.Coordinator.Port)))
}

// moving reports whether a member does not yet have exactly what it shall have.
func moving(m *groups.Member) bool {
	return m.Target != nil && partitionsText(m.Assigned) != partitionsText(m.Target)
}

// printGroup writes the tables of one group.
func printGroup(w io.Writer, g *groups.Group, positions []groups.Position, members, offsets bool) error {
	fmt.Fprintf(w, "%s   %s   %s   %d members", g.Name, g.Kind, g.State, len(g.Members))
	if g.Assignor != "" {
		fmt.Fprintf(w, "   assignor %s", g.Assignor)
	}
	if g.Kind == groups.Consumer {
		fmt.Fprintf(w, "   epoch %d", g.Epoch)
	}
	fmt.Fprintf(w, "   coordinator %d at %s\n", g.Coordinator.NodeID, coordinatorAddress(g))
	if members && len(g.Members) > 0 {
		rows := make([][]string, 0, len(g.Members))
		for i := range g.Members {
			m := &g.Members[i]
			assigned, note := partitionsText(m.Assigned), ""
			switch {
			case m.Foreign:
				note = "no consumer: its assignment is its own matter"
			case moving(m):
				note = "moves to " + orDash(partitionsText(m.Target))
			}
			rows = append(rows, []string{m.ID, orDash(m.InstanceID), m.ClientID, m.Host, offset(int64(m.Epoch)), orDash(assigned), note})
		}
		if err := printTable(w, []string{"MEMBER", "INSTANCE", "CLIENT-ID", "HOST", "EPOCH", "ASSIGNED", ""}, rows); err != nil {
			return err
		}
	}
	if !offsets || len(positions) == 0 {
		return nil
	}
	rows := make([][]string, 0, len(positions))
	for i := range positions {
		p := &positions[i]
		rows = append(rows, []string{p.Topic, strconv.Itoa(int(p.Partition)), offset(p.Committed), offset(p.LogStart), offset(p.End), offset(p.Lag()),
			orDash(ownerText(p.Owner)), orDash(p.Metadata), noteOf(p)})
	}
	return printTable(w, []string{"TOPIC", "PARTITION", "COMMITTED", "LOG-START", "HIGH-WATERMARK", "LAG", "MEMBER", "METADATA", ""}, rows)
}

// ownerText is the shortest name by which a member is known.
func ownerText(m *groups.Member) string {
	switch {
	case m == nil:
		return ""
	case m.InstanceID != "":
		return m.InstanceID
	}
	return m.ID
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
