// SPDX-License-Identifier: Apache-2.0

package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/broker/call"
)

// ListPartitionReassignments, version 0 (KIP-455).

func (a *API) handleListPartitionReassignments(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.ListPartitionReassignmentsRequest)
	ctx, cancel := a.within(c, req.TimeoutMillis)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		failed, text := kmsg.NewPtrListPartitionReassignmentsResponse(), message(err)
		failed.ErrorCode, failed.ErrorMessage = int16(a.code(c, err)), &text
		return a.answer(c, failed)
	}
	return a.answer(c, resp)
}
