// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// quorumItem is the metadata quorum in JSON.
type quorumItem struct {
	Leader        int32        `json:"leader"`
	LeaderEpoch   int32        `json:"leaderEpoch"`
	HighWatermark int64        `json:"highWatermark"`
	Members       []memberItem `json:"members"`
}

// memberItem is a member of the quorum in JSON. Offsets and times are -1 where
// the leader does not know them.
type memberItem struct {
	Node         int32    `json:"node"`
	Role         string   `json:"role"`
	DirectoryID  string   `json:"directoryId"`
	LogEndOffset int64    `json:"logEndOffset"`
	Lag          int64    `json:"lag"`
	LastFetch    int64    `json:"lastFetchTimestamp"`
	LastCaughtUp int64    `json:"lastCaughtUpTimestamp"`
	Listeners    []string `json:"listeners,omitempty"`
}

func newClusterQuorumCommand(n *connection) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "quorum",
		Short: "Show the controllers and how far each is",
		Long: `Shows the leader of the metadata quorum, its voters and observers, and how far each has read. LAST-FETCH is how long ago
the leader heard of a member, CAUGHT-UP how long ago the member had all that the leader had.`,
		Args:    cobra.NoArgs,
		Example: "  gregor cluster quorum\n  gregor cluster quorum -o jsonl",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
				item, err := quorumInfo(ctx, client)
				if err != nil {
					return failed(fmt.Errorf("describe the metadata quorum: %w", err))
				}
				return printQuorum(c.OutOrStdout(), output, item)
			})
		},
	}
	outputFlag(c, &output)
	return c
}

func quorumInfo(ctx context.Context, client *kgo.Client) (*quorumItem, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	rt := kmsg.NewDescribeQuorumRequestTopic()
	rt.Topic = "__cluster_metadata"
	rt.Partitions = append(rt.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = withText(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("the answer is for %d topics", len(resp.Topics))
	}
	p := &resp.Topics[0].Partitions[0]
	if err := withText(p.ErrorCode, p.ErrorMessage); err != nil {
		return nil, err
	}
	item := &quorumItem{Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch, HighWatermark: p.HighWatermark}
	item.add("voter", p.CurrentVoters)
	item.add("observer", p.Observers)
	item.lags()
	for _, n := range resp.Nodes {
		for i := range item.Members {
			if item.Members[i].Node == n.NodeID && item.Members[i].Role != "observer" {
				for _, l := range n.Listeners {
					item.Members[i].Listeners = append(item.Members[i].Listeners, fmt.Sprintf("%s://%s:%d", l.Name, l.Host, l.Port))
				}
			}
		}
	}
	return item, nil
}

func (q *quorumItem) add(role string, replicas []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) {
	for _, r := range replicas {
		m := memberItem{Node: r.ReplicaID, Role: role, DirectoryID: kafka.UUID(r.ReplicaDirectoryID).String(), LogEndOffset: r.LogEndOffset,
			LastFetch: r.LastFetchTimestamp, LastCaughtUp: r.LastCaughtUpTimestamp}
		if role == "voter" && r.ReplicaID == q.Leader {
			m.Role = "leader"
		}
		q.Members = append(q.Members, m)
	}
}

// leader is the leader among the members, nil if it is none.
func (q *quorumItem) leader() *memberItem {
	for i := range q.Members {
		if q.Members[i].Role == "leader" {
			return &q.Members[i]
		}
	}
	return nil
}

func (q *quorumItem) lags() {
	leader := q.leader()
	for i := range q.Members {
		m := &q.Members[i]
		if m.Lag = -1; leader != nil && m.LogEndOffset >= 0 {
			m.Lag = max(leader.LogEndOffset-m.LogEndOffset, 0)
		}
	}
}

func printQuorum(w io.Writer, output string, q *quorumItem) error {
	l := listing{kind: "Quorum", items: []any{q}}
	for _, m := range q.Members {
		l.names = append(l.names, strconv.Itoa(int(m.Node)))
	}
	if output != "table" {
		return l.print(w, output)
	}
	fmt.Fprintf(w, "leader %d   epoch %d   high watermark %d\n\n", q.Leader, q.LeaderEpoch, q.HighWatermark)
	nowMs := int64(-1) // by the leader's clock, as the times are
	if leader := q.leader(); leader != nil {
		nowMs = leader.LastFetch
	}
	rows := make([][]string, 0, len(q.Members))
	for _, m := range q.Members {
		rows = append(rows, []string{strconv.Itoa(int(m.Node)), m.Role, m.DirectoryID, offset(m.LogEndOffset), offset(m.Lag),
			age(nowMs, m.LastFetch), age(nowMs, m.LastCaughtUp), strings.Join(m.Listeners, ",")})
	}
	return printTable(w, []string{"NODE", "ROLE", "DIRECTORY", "LOG-END", "LAG", "LAST-FETCH", "CAUGHT-UP", "LISTENERS"}, rows)
}

// age is how long before nowMs something was.
func age(nowMs, thenMs int64) string {
	if nowMs < 0 || thenMs < 0 {
		return "-"
	}
	return (time.Duration(max(nowMs-thenMs, 0)) * time.Millisecond).String()
}
