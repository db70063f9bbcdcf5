// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
)

// UnregisterBroker, version 0 (KIP-631). A broker that runs registers anew, as
// another epoch of itself; the answer leaves when this broker's own image knows
// that the old one is gone.

// unregisterTimeoutMs bounds the wait, for which the request has no field.
const unregisterTimeoutMs = 30_000

func (a *API) handleUnregisterBroker(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.UnregisterBrokerRequest)
	before := a.image().Broker(kafka.NodeID(req.BrokerID))
	ctx, cancel := a.within(c, unregisterTimeoutMs)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		failed, text := kmsg.NewPtrUnregisterBrokerResponse(), message(err)
		failed.ErrorCode, failed.ErrorMessage = int16(a.code(c, err)), &text
		return a.answer(c, failed)
	}
	gone := resp.(*kmsg.UnregisterBrokerResponse)
	if gone.ErrorCode == 0 && before != nil {
		_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
			b := img.Broker(before.BrokerID)
			return b == nil || b.BrokerEpoch != before.BrokerEpoch
		})
	}
	return a.answer(c, gone)
}
