// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"gregor/cmd/gregor/groups"
)

const missing = "-"

func (t *groupTool) describe() error {
	_, list, err := t.described()
	if err != nil {
		return err
	}
	for i := range list {
		if g := &list[i]; g.Err != nil {
			message := ""
			if g.Err == error(kerr.GroupIDNotFound) {
				message = "Group " + g.Name + " not found."
			}
			return fmt.Errorf("%s", exception(g.Err, message))
		}
	}
	for i := range list {
		g := &list[i]
		switch {
		case t.has("members"):
			t.note(g)
			t.members(g)
		case t.has("state"):
			t.note(g)
			t.state(g)
		default:
			positions, err := groups.Positions(t.ctx, t.admin, g)
			if err != nil {
				return err
			}
			t.note(g)
			t.offsets(g, positions)
		}
	}
	return nil
}

// note says what is to be known of a group's state.
func (t *groupTool) note(g *groups.Group) {
	switch g.State {
	case groups.Empty:
		fmt.Fprintf(t.talk, "\nConsumer group '%s' has no active members.\n", g.Name)
	case groups.Preparing, groups.Completing, groups.Assigning, groups.Reconciling:
		fmt.Fprintf(t.talk, "\nWarning: Consumer group '%s' is rebalancing.\n", g.Name)
	}
}

// column is one column of a table: as wide as its widest cell, at least min.
// The last one of a table is not filled up, unless it says so.
type column struct {
	name string
	min  int
}

// table prints a header and rows with an empty line before, as Kafka's tool
// does.
func (t *groupTool) table(columns []column, rows [][]string, fillLast bool) {
	print := func(cells []string) {
		for i, c := range columns {
			width := max(c.min, len(c.name))
			if c.min == 0 {
				width = 0
			}
			for _, row := range rows {
				if c.min > 0 {
					width = max(width, len(row[i]))
				}
			}
			if i > 0 {
				fmt.Fprint(t.out, " ")
			}
			if i == len(columns)-1 && !fillLast {
				width = 0
			}
			fmt.Fprintf(t.out, "%-*s", width, cells[i])
		}
		fmt.Fprintln(t.out)
	}
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	fmt.Fprintln(t.out)
	print(header)
	for _, row := range rows {
		print(row)
	}
}

func known(n int64) string {
	if n < 0 {
		return missing
	}
	return strconv.FormatInt(n, 10)
}

// offsets prints partitions of members, those of the busiest first, then
// partitions that nobody has. Of a group without any there is no table.
func (t *groupTool) offsets(g *groups.Group, positions []groups.Position) {
	if len(positions) == 0 {
		return
	}
	rank := func(p *groups.Position) int {
		if p.Owner == nil {
			return 0
		}
		return -p.Owner.Assigned.Count()
	}
	slices.SortStableFunc(positions, func(a, b groups.Position) int { return cmp.Compare(rank(&a), rank(&b)) })
	columns := []column{{"GROUP", 15}, {"TOPIC", 15}, {"PARTITION", 10}}
	if t.has("verbose") {
		columns = append(columns, column{"LEADER-EPOCH", 15})
	}
	columns = append(columns, column{"CURRENT-OFFSET", 15}, column{"LOG-END-OFFSET", 15}, column{"LAG", 15}, column{"CONSUMER-ID", 15}, column{"HOST", 15}, column{"CLIENT-ID", 15})
	var rows [][]string
	for i := range positions {
		p := &positions[i]
		row := []string{g.Name, p.Topic, strconv.Itoa(int(p.Partition))}
		if t.has("verbose") {
			row = append(row, known(int64(p.LeaderEpoch)))
		}
		row = append(row, known(p.Committed), known(p.End), t.lag(p))
		if p.Owner == nil {
			row = append(row, missing, missing, missing)
		} else {
			row = append(row, p.Owner.ID, p.Owner.Host, p.Owner.ClientID)
		}
		rows = append(rows, row)
	}
	t.table(columns, rows, false)
}

// lag may be below zero: what was committed is not checked against the log.
func (t *groupTool) lag(p *groups.Position) string {
	if p.Committed < 0 || p.End < 0 {
		return missing
	}
	return strconv.FormatInt(p.End-p.Committed, 10)
}

func (t *groupTool) members(g *groups.Group) {
	static := slices.ContainsFunc(g.Members, func(m groups.Member) bool { return m.InstanceID != "" })
	upgraded := g.Kind == groups.Consumer && slices.ContainsFunc(g.Members, func(m groups.Member) bool { return m.Kind == groups.Classic })
	columns := []column{{"GROUP", 15}, {"CONSUMER-ID", 15}}
	if static {
		columns = append(columns, column{"GROUP-INSTANCE-ID", 17})
	}
	columns = append(columns, column{"HOST", 15}, column{"CLIENT-ID", 15}, column{"#PARTITIONS", 15})
	if !t.has("verbose") {
		columns[len(columns)-1].min++ // the blank before the columns that are not there
	} else {
		columns = append(columns, column{"CURRENT-EPOCH", 15}, column{"CURRENT-ASSIGNMENT", 20}, column{"TARGET-EPOCH", 15}, column{"TARGET-ASSIGNMENT", 20})
		if upgraded {
			columns = append(columns, column{"UPGRADED", 8})
		}
	}
	var rows [][]string
	for i := range g.Members {
		m := &g.Members[i]
		row := []string{g.Name, m.ID}
		if static {
			row = append(row, cmp.Or(m.InstanceID, missing))
		}
		row = append(row, m.Host, m.ClientID, strconv.Itoa(m.Assigned.Count()))
		if t.has("verbose") {
			target := int32(-1)
			if g.Kind == groups.Consumer {
				target = g.TargetEpoch
			}
			row = append(row, known(int64(m.Epoch)), assignmentText(m.Assigned), known(int64(target)), assignmentText(m.Target))
			if upgraded {
				row = append(row, strconv.FormatBool(m.Kind == groups.Consumer))
			}
		}
		rows = append(rows, row)
	}
	t.table(columns, rows, !(t.has("verbose") && upgraded))
}

// assignmentText is topic:0,1;other:2.
func assignmentText(p groups.Partitions) string {
	var all []string
	for _, topic := range p.Topics() {
		ids := make([]string, len(p[topic]))
		for i, id := range p[topic] {
			ids[i] = strconv.Itoa(int(id))
		}
		all = append(all, topic+":"+strings.Join(ids, ","))
	}
	return cmp.Or(strings.Join(all, ";"), missing)
}

func (t *groupTool) state(g *groups.Group) {
	coordinator := fmt.Sprintf("%s  (%d)", net.JoinHostPort(g.Coordinator.Host, strconv.Itoa(int(g.Coordinator.Port))), g.Coordinator.NodeID)
	columns := []column{{"GROUP", 15}, {"COORDINATOR (ID)", 25}, {"ASSIGNMENT-STRATEGY", 20}, {"STATE", 20}}
	row := []string{g.Name, coordinator, cmp.Or(g.Assignor, missing), g.State}
	if t.has("verbose") {
		columns = append(columns, column{"GROUP-EPOCH", 15}, column{"TARGET-ASSIGNMENT-EPOCH", 25})
		row = append(row, known(int64(g.Epoch)), known(int64(g.TargetEpoch)))
	}
	columns = append(columns, column{"#MEMBERS", 8})
	t.table(columns, [][]string{append(row, strconv.Itoa(len(g.Members)))}, false)
}
