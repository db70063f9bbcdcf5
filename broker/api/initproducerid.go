// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
)

// InitProducerId, versions 0 to 5. An idempotent producer without a
// transactional id gets a fresh producer id of epoch 0, whatever it had before.
// Transactional ids have no coordinator here yet; clients learn that earlier,
// since FindCoordinator is not advertised.

// producerIDTimeoutMs bounds the wait for a new block of producer ids.
const producerIDTimeoutMs = 30_000

func (a *API) handleInitProducerID(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.InitProducerIDRequest)
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = int64(kafka.NoProducerID), int16(kafka.NoProducerEpoch)
	if code := checkInitProducerID(req); code != kafka.None {
		resp.ErrorCode = int16(code)
		return a.answer(c, resp)
	}
	ctx, cancel := a.within(c, producerIDTimeoutMs)
	defer cancel()
	id, err := a.d.ProducerID(ctx)
	if err != nil {
		// The controller is away: the client is to ask again.
		code := a.code(c, err)
		if code == kafka.NotController || code == kafka.RequestTimedOut {
			code = kafka.CoordinatorLoadInProgress
		}
		resp.ErrorCode = int16(code)
		return a.answer(c, resp)
	}
	resp.ProducerID, resp.ProducerEpoch = int64(id), 0
	return a.answer(c, resp)
}

func checkInitProducerID(req *kmsg.InitProducerIDRequest) kafka.Code {
	hasID := req.ProducerID != int64(kafka.NoProducerID)
	hasEpoch := req.ProducerEpoch != int16(kafka.NoProducerEpoch)
	if req.TransactionalID != nil || req.Version >= 3 && hasID != hasEpoch {
		return kafka.InvalidRequest
	}
	return kafka.None
}
