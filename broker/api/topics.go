// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/image"
)

// CreateTopics, versions 2 to 7, and DeleteTopics, versions 1 to 6. The active
// controller decides; the answer leaves when this broker's own image holds the
// change, so that the client's next request finds it. When that does not come
// within the client's timeout, the answer leaves as it is: the change is
// committed.

func (a *API) handleCreateTopics(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.CreateTopicsRequest)
	ctx, cancel := a.within(c, req.TimeoutMillis)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		return a.answer(c, failedCreate(req, a.code(c, err), message(err)))
	}
	created := resp.(*kmsg.CreateTopicsResponse)
	if !req.ValidateOnly {
		a.awaitCreated(ctx, created)
	}
	return a.answer(c, created)
}

func failedCreate(req *kmsg.CreateTopicsRequest, code kafka.Code, text string) *kmsg.CreateTopicsResponse {
	resp := kmsg.NewPtrCreateTopicsResponse()
	for i := range req.Topics {
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic, t.ErrorCode, t.ErrorMessage = req.Topics[i].Topic, int16(code), &text
		t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// awaitCreated waits until the image holds all topics that were created.
func (a *API) awaitCreated(ctx context.Context, resp *kmsg.CreateTopicsResponse) {
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if t.ErrorCode == 0 && img.TopicByID(t.TopicID) == nil {
				return false
			}
		}
		return true
	})
}

func (a *API) handleDeleteTopics(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DeleteTopicsRequest)
	before := a.image()
	ctx, cancel := a.within(c, req.TimeoutMillis)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		return a.answer(c, failedDelete(req, a.code(c, err), message(err)))
	}
	deleted := resp.(*kmsg.DeleteTopicsResponse)
	a.awaitDeleted(ctx, before, deleted)
	return a.answer(c, deleted)
}

func failedDelete(req *kmsg.DeleteTopicsRequest, code kafka.Code, text string) *kmsg.DeleteTopicsResponse {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	add := func(name *string, id [16]byte) {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID, t.ErrorCode, t.ErrorMessage = name, id, int16(code), &text
		resp.Topics = append(resp.Topics, t)
	}
	for i := range req.TopicNames {
		add(&req.TopicNames[i], [16]byte{})
	}
	for i := range req.Topics {
		add(req.Topics[i].Topic, req.Topics[i].TopicID)
	}
	return resp
}

// awaitDeleted waits until the image holds none of the topics that were
// deleted. A topic that was created again under its name has another id.
func (a *API) awaitDeleted(ctx context.Context, before *image.Image, resp *kmsg.DeleteTopicsResponse) {
	var ids []kafka.TopicID
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.ErrorCode != 0 {
			continue
		}
		id := kafka.TopicID(t.TopicID)
		if id.IsZero() && t.Topic != nil {
			if old := before.Topic(*t.Topic); old != nil {
				id = old.ID
			}
		}
		if !id.IsZero() {
			ids = append(ids, id)
		}
	}
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for _, id := range ids {
			if img.TopicByID(id) != nil {
				return false
			}
		}
		return true
	})
}
