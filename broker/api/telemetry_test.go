// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/telemetry"
)

func (c *client) subscription(id kafka.UUID) *kmsg.GetTelemetrySubscriptionsResponse {
	c.t.Helper()
	req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	req.ClientInstanceID = id
	return c.do(req).(*kmsg.GetTelemetrySubscriptionsResponse)
}

func (c *client) pushTelemetry(of *kmsg.GetTelemetrySubscriptionsResponse, codec int8, metrics []byte) kafka.Code {
	c.t.Helper()
	req := kmsg.NewPtrPushTelemetryRequest()
	req.ClientInstanceID, req.SubscriptionID, req.CompressionType, req.Metrics = of.ClientInstanceID, of.SubscriptionID, codec, metrics
	return kafka.Code(c.do(req).(*kmsg.PushTelemetryResponse).ErrorCode)
}

func TestTelemetryOnTheWire(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		c := n.dial()
		quiet := c.subscription(kafka.UUID{})
		if quiet.ErrorCode != 0 || quiet.ClientInstanceID == [16]byte{} || len(quiet.RequestedMetrics) != 0 || quiet.PushIntervalMillis != 300_000 ||
			quiet.TelemetryMaxBytes != 1<<20 || !quiet.DeltaTemporality || !slices.Equal(quiet.AcceptedCompressionTypes, []int8{4, 3, 1, 2}) {
			t.Errorf("%+v", quiet)
		}
		if again := c.subscription(quiet.ClientInstanceID); kafka.Code(again.ErrorCode) != kafka.ThrottlingQuotaExceeded || again.ClientInstanceID != [16]byte{} || again.PushIntervalMillis != 0 || len(again.AcceptedCompressionTypes) > 0 {
			t.Errorf("%+v", again)
		}
		n.api.d.Telemetry.Subscribed("s", telemetry.Subscription{Metrics: []string{"a.", "b."}, Interval: time.Second})
		asked := c.subscription(quiet.ClientInstanceID)
		if asked.ErrorCode != 0 || asked.ClientInstanceID != quiet.ClientInstanceID || !slices.Equal(asked.RequestedMetrics, []string{"a.", "b."}) || asked.PushIntervalMillis != 1000 {
			t.Errorf("%+v", asked)
		}
		for _, x := range []struct {
			codec   int8
			metrics []byte
			want    kafka.Code
		}{
			{0, nil, kafka.None}, {0, nil, kafka.ThrottlingQuotaExceeded}, {7, nil, kafka.ThrottlingQuotaExceeded},
		} {
			if got := c.pushTelemetry(asked, x.codec, x.metrics); got != x.want {
				t.Errorf("%+v: %v", x, got)
			}
		}
		for _, x := range []struct {
			codec   int8
			metrics []byte
			want    kafka.Code
		}{
			{7, nil, kafka.UnsupportedCompressionType}, {1, []byte("x"), kafka.InvalidRecord}, {0, make([]byte, 1<<20+1), kafka.TelemetryTooLarge}, {0, nil, kafka.None},
		} {
			time.Sleep(time.Second)
			if got := c.pushTelemetry(asked, x.codec, x.metrics); got != x.want {
				t.Errorf("%d, %d bytes: %v, want %v", x.codec, len(x.metrics), got, x.want)
			}
		}
		if s := n.api.d.Telemetry.Stats(time.Now()); s.Instances != 1 {
			t.Errorf("%+v", s)
		}
		c.conn.Close()
		time.Sleep(time.Second)
		if s := n.api.d.Telemetry.Stats(time.Now()); s.Instances != 0 {
			t.Errorf("%+v: its connection is gone", s)
		}
	})
}

// Selectors look at what the connection has said.
func TestTelemetryKnowsItsClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := start(t)
		n.api.d.Telemetry.Subscribed("s", telemetry.Subscription{Metrics: []string{"x"}, Interval: time.Second})
		told := n.dial()
		hello := apiVersions(3)
		hello.ClientSoftwareName, hello.ClientSoftwareVersion = "some-client", "1.2"
		told.do(hello)
		for name, c := range map[string]*client{"some-client 1.2": told, "unknown unknown": n.dial()} {
			g := c.subscription(kafka.UUID{})
			gauge := []byte{0x0a, 0x14, 0x12, 0x12, 0x12, 0x10, 0x0a, 0x01, 'g', 0x2a, 0x0b, 0x0a, 0x09, 0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}
			if code := c.pushTelemetry(g, 0, gauge); code != kafka.None {
				t.Fatal(code)
			}
			id := kafka.UUID(g.ClientInstanceID).String()
			found := false
			for _, s := range n.api.d.Telemetry.Exposed(time.Now()) {
				if s.Labels[1].Value == id {
					found = s.Labels[2].Value+" "+s.Labels[3].Value == name && s.Labels[0].Value == "test" && s.Name == "client_g" && s.Value == 1
				}
			}
			if !found {
				t.Errorf("%s: %+v", name, n.api.d.Telemetry.Exposed(time.Now()))
			}
		}
	})
}
