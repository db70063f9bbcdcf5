// SPDX-License-Identifier: Apache-2.0

package frame

import "gregor/base/kafka"

// NodeEndpoint says where a node can be reached. Produce and Fetch carry them
// beside the ids of current leaders (KIP-951).
type NodeEndpoint struct {
	NodeID kafka.NodeID
	Host   string
	Port   int32
	Rack   string // empty is null
}

// endpointsTag is the number of the tagged field NodeEndpoints in the
// responses of Produce and Fetch.
const endpointsTag = 0

// EndpointTags appends a section of tagged fields that holds the endpoints, or
// nothing where there are none.
func (a *Appender) EndpointTags(endpoints []NodeEndpoint) {
	if len(endpoints) == 0 {
		a.NoTags()
		return
	}
	size := uvarintSize(uint32(len(endpoints) + 1))
	for i := range endpoints {
		e := &endpoints[i]
		size += 4 + uvarintSize(uint32(len(e.Host)+1)) + len(e.Host) + 4 + 1
		if e.Rack == "" {
			size++
		} else {
			size += uvarintSize(uint32(len(e.Rack)+1)) + len(e.Rack)
		}
	}
	a.Uvarint(1)
	a.Uvarint(endpointsTag)
	a.Uvarint(uint32(size))
	a.CompactArrayLen(len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		a.Int32(int32(e.NodeID))
		a.CompactString(e.Host)
		a.Int32(e.Port)
		if e.Rack == "" {
			a.Uvarint(0)
		} else {
			a.CompactString(e.Rack)
		}
		a.NoTags()
	}
}
