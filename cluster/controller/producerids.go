// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// producerIDBlockLen is how many producer ids a broker gets at once.
const producerIDBlockLen = 1000

// allocateProducerIDs: AllocateProducerIds v0.
func allocateProducerIDs(img *image.Image, env *Env, req *kmsg.AllocateProducerIDsRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.AllocateProducerIDsResponse)
	id, epoch := kafka.NodeID(req.BrokerID), kafka.BrokerEpoch(req.BrokerEpoch)
	why := view{img, env}.checkBrokerEpoch(id, epoch)
	first := img.NextProducerID()
	if why == nil && first > math.MaxInt64-producerIDBlockLen {
		why = refuse(kafka.UnknownServerError, "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
	}
	if why != nil {
		resp.ErrorCode = why.wire()
		return Outcome{Response: resp, Reason: why.text}
	}
	resp.ProducerIDStart, resp.ProducerIDLen = int64(first), producerIDBlockLen
	rec := &metarec.ProducerIDs{BrokerID: id, BrokerEpoch: epoch, NextProducerID: first + producerIDBlockLen}
	return Outcome{Records: []metarec.Record{rec}, Atomic: true, Response: resp}
}
