// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
)

// An admin client that knows a controller's listener only is told of the
// controllers there and of their leader (KIP-919).
func TestDescribeClusterOnAControllersListener(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.api.d.Quorum = func(context.Context) (metalog.Quorum, error) {
			at := func(id kafka.NodeID, name, host string) metarec.Voter {
				return metarec.Voter{VoterID: id, Endpoints: []metarec.VoterEndpoint{{Name: name, Host: host, Port: 9093}}}
			}
			return metalog.Quorum{Leader: 2, Nodes: []metarec.Voter{at(1, "CONTROLLER", "a"), at(2, "CONTROLLER", "b"), at(3, "OTHER", "c")}}, nil
		}
		l, err := n.net.Listen(context.Background(), "node:9093")
		if err != nil {
			t.Fatal(err)
		}
		go n.server.Serve(l, &call.Listener{Name: "CONTROLLER", Role: call.Controller, Host: "node", Port: 9093})
		conn, err := n.net.Dial(context.Background(), "node:9093")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := &client{t: t, conn: conn}
		for v := int16(1); v <= 2; v++ {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.EndpointType, req.IncludeClusterAuthorizedOperations = v, 2, true
			resp := c.do(req).(*kmsg.DescribeClusterResponse)
			if resp.ErrorCode != 0 || resp.EndpointType != 2 || resp.ControllerID != 2 || len(resp.Brokers) != 2 ||
				resp.Brokers[1].NodeID != 2 || resp.Brokers[1].Host != "b" || resp.Brokers[1].Port != 9093 || resp.ClusterAuthorizedOperations != clusterOperations {
				t.Errorf("v%d: %+v", v, resp)
			}
			req.EndpointType = 1
			if got := kafka.Code(c.do(req).(*kmsg.DescribeClusterResponse).ErrorCode); got != kafka.MismatchedEndpointType {
				t.Errorf("v%d: brokers of a controller: %v", v, got)
			}
		}
		n.api.d.Quorum = func(context.Context) (metalog.Quorum, error) { return metalog.Quorum{}, kafka.NotLeaderForPartition }
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version, req.EndpointType = 1, 2
		if got := kafka.Code(c.do(req).(*kmsg.DescribeClusterResponse).ErrorCode); got != kafka.NotLeaderForPartition {
			t.Errorf("nobody knows: %v", got)
		}
	})
}
