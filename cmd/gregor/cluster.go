// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newClusterCommand() *cobra.Command {
	n := &connection{}
	c := &cobra.Command{
		Use:   "cluster",
		Short: "Show brokers and the metadata quorum",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	n.flags(c)
	c.AddCommand(newClusterInfoCommand(n), newClusterQuorumCommand(n), newClusterLogDirsCommand(n))
	return c
}

// withClient runs f with a client that stops at a signal.
func (n *connection) withClient(c *cobra.Command, f func(ctx context.Context, client *kgo.Client) error) error {
	ctx, cancel := interruptible(c)
	defer cancel()
	client, err := n.dial(ctx, c)
	if err != nil {
		return err
	}
	defer client.Close()
	return f(ctx, client)
}

// clusterItem is a cluster in JSON.
type clusterItem struct {
	ID      string       `json:"id"`
	Brokers []brokerItem `json:"brokers"`
	Topics  int          `json:"topics"`
	// Partitions, and those of them that lack a leader or in-sync replicas.
	Partitions      int              `json:"partitions"`
	Leaderless      int              `json:"leaderless"`
	UnderReplicated int              `json:"underReplicated"`
	Features        map[string]int16 `json:"features"`
}

// brokerItem is a broker in JSON.
type brokerItem struct {
	ID       int32   `json:"id"`
	Host     string  `json:"host"`
	Port     int32   `json:"port"`
	Rack     *string `json:"rack,omitempty"`
	Fenced   bool    `json:"fenced"`
	Leads    int     `json:"leads"`
	Replicas int     `json:"replicas"`
}

func newClusterInfoCommand(n *connection) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "info",
		Short:   "Show brokers, what they lead, and what is not well",
		Args:    cobra.NoArgs,
		Example: "  gregor cluster info\n  gregor cluster info -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return n.withClient(c, func(ctx context.Context, client *kgo.Client) error {
				item, err := clusterInfo(ctx, client)
				if err != nil {
					return failed(fmt.Errorf("describe the cluster: %w", err))
				}
				return printCluster(c.OutOrStdout(), output, item)
			})
		},
	}
	outputFlag(c, &output)
	return c
}

func clusterInfo(ctx context.Context, client *kgo.Client) (*clusterItem, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType, req.IncludeFencedBrokers = 1, true
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = withText(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, err
	}
	item := &clusterItem{ID: resp.ClusterID}
	for _, b := range resp.Brokers {
		item.Brokers = append(item.Brokers, brokerItem{ID: b.NodeID, Host: b.Host, Port: b.Port, Rack: b.Rack, Fenced: b.IsFenced})
	}
	slices.SortFunc(item.Brokers, func(a, b brokerItem) int { return int(a.ID) - int(b.ID) })
	topics, err := kadm.NewClient(client).ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, err
	}
	item.count(topics)
	item.Features, err = finalizedFeatures(ctx, client)
	return item, err
}

// withText is the error of a code, in the broker's words if there are any.
func withText(code int16, text *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || text == nil {
		return err
	}
	return withMessage(err, *text)
}

func (item *clusterItem) count(topics kadm.TopicDetails) {
	at := make(map[int32]*brokerItem, len(item.Brokers))
	for i := range item.Brokers {
		at[item.Brokers[i].ID] = &item.Brokers[i]
	}
	item.Topics = len(topics)
	for _, t := range topics {
		for _, p := range t.Partitions {
			item.Partitions++
			if p.Leader < 0 {
				item.Leaderless++
			} else if b := at[p.Leader]; b != nil {
				b.Leads++
			}
			if len(p.ISR) < len(p.Replicas) {
				item.UnderReplicated++
			}
			for _, r := range p.Replicas {
				if b := at[r]; b != nil {
					b.Replicas++
				}
			}
		}
	}
}

func finalizedFeatures(ctx context.Context, client *kgo.Client) (map[string]int16, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "gregor", "cli"
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("ask for features: %w", err)
	}
	features := make(map[string]int16, len(resp.FinalizedFeatures))
	for _, f := range resp.FinalizedFeatures {
		features[f.Name] = f.MaxVersionLevel
	}
	return features, nil
}

func printCluster(w io.Writer, output string, item *clusterItem) error {
	l := listing{kind: "Cluster", items: []any{item}, names: []string{item.ID}}
	if output != "table" {
		return l.print(w, output)
	}
	fmt.Fprintf(w, "id %s   %d topics   %d partitions   %d without a leader   %d under-replicated\n",
		item.ID, item.Topics, item.Partitions, item.Leaderless, item.UnderReplicated)
	var features []string
	for name, level := range item.Features {
		features = append(features, fmt.Sprintf("%s %d", name, level))
	}
	slices.Sort(features)
	if len(features) > 0 {
		fmt.Fprintf(w, "features   %s\n", strings.Join(features, ", "))
	}
	fmt.Fprintln(w)
	rows := make([][]string, 0, len(item.Brokers))
	for _, b := range item.Brokers {
		state, rack := "up", "-"
		if b.Fenced {
			state = "fenced"
		}
		if b.Rack != nil {
			rack = *b.Rack
		}
		rows = append(rows, []string{strconv.Itoa(int(b.ID)), net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), rack, state,
			strconv.Itoa(b.Leads), strconv.Itoa(b.Replicas)})
	}
	return printTable(w, []string{"BROKER", "ADDRESS", "RACK", "STATE", "LEADS", "REPLICAS"}, rows)
}
