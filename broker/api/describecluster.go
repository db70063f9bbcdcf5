// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
)

// DescribeCluster, versions 0 to 2 (KIP-700, KIP-919, KIP-1073). A broker's
// listener describes brokers, a controller's describes controllers.

// Endpoint types.
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

func (a *API) handleDescribeCluster(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ControllerID, resp.EndpointType = int32(kafka.NoNode), endpointBrokers
	asked := int8(endpointBrokers)
	if c.Version >= 1 {
		asked = req.EndpointType
	}
	if code, text := wrongEndpoint(c, asked); code != kafka.None {
		resp.ErrorCode, resp.ErrorMessage = int16(code), &text
		return a.answer(c, resp)
	}
	resp.ClusterID, resp.EndpointType = a.d.ClusterID, asked
	if resp.EndpointType == endpointControllers {
		if err := a.controllers(c, resp); err != nil {
			text := message(err)
			resp.ErrorCode, resp.ErrorMessage = int16(a.code(c, err)), &text
			return a.answer(c, resp)
		}
	} else {
		a.brokers(c, req.IncludeFencedBrokers, resp)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	return a.answer(c, resp)
}

func (a *API) brokers(c *call.Call, fenced bool, resp *kmsg.DescribeClusterResponse) {
	v := view{img: a.image(), listener: c.Conn.Listener.Name, version: c.Version}
	resp.ControllerID = int32(v.anyBroker(a.d.NodeID))
	for b := range v.img.Brokers() {
		e, ok := b.Endpoint(v.listener)
		if !ok || b.Fenced && !fenced {
			continue
		}
		r := kmsg.NewDescribeClusterResponseBroker()
		r.NodeID, r.Host, r.Port, r.Rack, r.IsFenced = int32(b.BrokerID), e.Host, int32(e.Port), b.Rack, b.Fenced
		resp.Brokers = append(resp.Brokers, r)
	}
}

// controllers are the voters that have the client's listener, and who of them
// leads: admin clients that know controllers only send the rest to it.
func (a *API) controllers(c *call.Call, resp *kmsg.DescribeClusterResponse) error {
	ctx, cancel := a.within(c, describeQuorumTimeoutMs)
	defer cancel()
	q, err := a.d.Quorum(ctx)
	if err != nil {
		return err
	}
	resp.ControllerID = int32(q.Leader)
	for i := range q.Nodes {
		for _, e := range q.Nodes[i].Endpoints {
			if e.Name == c.Conn.Listener.Name {
				r := kmsg.NewDescribeClusterResponseBroker()
				r.NodeID, r.Host, r.Port = int32(q.Nodes[i].VoterID), e.Host, int32(e.Port)
				resp.Brokers = append(resp.Brokers, r)
			}
		}
	}
	return nil
}

// wrongEndpoint refuses to describe what the listener does not serve.
func wrongEndpoint(c *call.Call, asked int8) (kafka.Code, string) {
	if asked != endpointBrokers && asked != endpointControllers {
		return kafka.UnsupportedEndpointType, fmt.Sprintf("Unsupported endpoint type %d", asked)
	}
	serves := int8(endpointBrokers)
	if c.Conn.Listener.Role == call.Controller {
		serves = endpointControllers
	}
	if asked != serves {
		name := map[int8]string{endpointBrokers: "BROKER", endpointControllers: "CONTROLLER"}
		return kafka.MismatchedEndpointType, fmt.Sprintf("The request was sent to an endpoint of type %s, but we wanted an endpoint of type %s", name[serves], name[asked])
	}
	return kafka.None, ""
}
