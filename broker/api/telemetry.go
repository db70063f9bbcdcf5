// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/broker/telemetry"
	"gregor/wire/compress"
)

// GetTelemetrySubscriptions and PushTelemetry, version 0 (KIP-714). A Kafka
// broker offers them when it has a plugin that takes metrics of clients; here
// /metrics does, always.

func (a *API) handleGetTelemetrySubscriptions(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.GetTelemetrySubscriptionsRequest)
	resp := kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	grant, code := a.d.Telemetry.Get(a.d.Now(), telemetryClient(c), req.ClientInstanceID)
	if code != kafka.None {
		resp.ErrorCode = int16(code)
		return a.answer(c, resp)
	}
	resp.ClientInstanceID, resp.SubscriptionID = grant.ID, grant.SubscriptionID
	for _, codec := range telemetry.Codecs() {
		resp.AcceptedCompressionTypes = append(resp.AcceptedCompressionTypes, int8(codec))
	}
	resp.PushIntervalMillis, resp.TelemetryMaxBytes = int32(grant.Interval/time.Millisecond), int32(grant.BytesMax)
	resp.DeltaTemporality, resp.RequestedMetrics = true, grant.Metrics
	return a.answer(c, resp)
}

func (a *API) handlePushTelemetry(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.PushTelemetryRequest)
	coder := a.coders.Get()
	code := a.d.Telemetry.Push(a.d.Now(), telemetryClient(c), telemetry.Push{
		ID: req.ClientInstanceID, SubscriptionID: req.SubscriptionID, Terminating: req.Terminating,
		Codec: compress.Codec(req.CompressionType), Metrics: req.Metrics,
	}, coder)
	a.coders.Put(coder)
	resp := kmsg.NewPtrPushTelemetryResponse()
	resp.ErrorCode = int16(code)
	return a.answer(c, resp)
}

// telemetryClient is what selectors of subscriptions look at. A client that has
// not said what it is counts as unknown, as in Kafka.
func telemetryClient(c *call.Call) telemetry.Client {
	t := telemetry.Client{Connection: c.Conn.ID, ID: c.ClientID, Remote: c.Conn.Remote}
	t.Software.Name, t.Software.Version = "unknown", "unknown"
	if c.Conn.ClientSoftware.Name != "" {
		t.Software.Name, t.Software.Version = c.Conn.ClientSoftware.Name, c.Conn.ClientSoftware.Version
	}
	return t
}
