// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/broker/call"
	"gregor/cluster/image"
)

// UpdateFeatures, versions 0 to 2 (KIP-584, KIP-778). The controller decides;
// the answer leaves when this broker's own image has the new levels, so that
// ApiVersions tells them.

func (a *API) handleUpdateFeatures(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.UpdateFeaturesRequest)
	ctx, cancel := a.within(c, req.TimeoutMillis)
	defer cancel()
	resp, err := a.d.Controller(ctx, requester(c), req)
	if err != nil {
		failed, text := kmsg.NewPtrUpdateFeaturesResponse(), message(err)
		failed.ErrorCode, failed.ErrorMessage = int16(a.code(c, err)), &text
		return a.answer(c, failed)
	}
	updated := resp.(*kmsg.UpdateFeaturesResponse)
	if updated.ErrorCode == 0 && !req.ValidateOnly {
		a.awaitFeatures(ctx, req)
	}
	return a.answer(c, updated)
}

// awaitFeatures waits until the image has the levels that were asked for.
func (a *API) awaitFeatures(ctx context.Context, req *kmsg.UpdateFeaturesRequest) {
	levels := make(map[string]int16, len(req.FeatureUpdates))
	for i := range req.FeatureUpdates {
		if u := &req.FeatureUpdates[i]; u.Feature != featureKRaft { // which no record holds
			levels[u.Feature] = u.MaxVersionLevel
		}
	}
	_ = a.d.Images.Await(ctx, func(img *image.Image) bool {
		for name, level := range levels {
			if img.FeatureLevel(name) != level {
				return false
			}
		}
		return true
	})
}
