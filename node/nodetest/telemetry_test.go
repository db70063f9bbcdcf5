// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
)

// subscribe sets keys of a telemetry subscription; an empty value deletes one.
func subscribe(t *testing.T, c *kgo.Client, name string, pairs ...string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeClientMetrics, name
	for i := 0; i < len(pairs); i += 2 {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		if c.Name = pairs[i]; pairs[i+1] == "" {
			c.Op = kmsg.IncrementalAlterConfigOpDelete
		} else {
			c.Value = &pairs[i+1]
		}
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(t.Context(), c)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("%v: %+v", err, resp)
	}
}

// A subscription holds without a restart: a client that asks is told of it,
// pushes, and /metrics shows what it pushed until it was silent for a minute.
func TestClientTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := Start(t, Options{Set: []string{"gregor.admin.listener=" + host + ":9644", "gregor.insecure.public.listeners=PLAINTEXT,ADMIN", "gregor.telemetry.client.series.max=2"}})
		admin := n.Client()
		p := n.peer(t)
		ask := func(id [16]byte) *kmsg.GetTelemetrySubscriptionsResponse {
			req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
			req.ClientInstanceID = id
			return p.do(req).(*kmsg.GetTelemetrySubscriptionsResponse)
		}
		push := func(g *kmsg.GetTelemetrySubscriptionsResponse, name byte) error {
			req := kmsg.NewPtrPushTelemetryRequest()
			req.ClientInstanceID, req.SubscriptionID = g.ClientInstanceID, g.SubscriptionID
			req.Metrics = []byte{0x0a, 0x14, 0x12, 0x12, 0x12, 0x10, 0x0a, 0x01, name, 0x2a, 0x0b, 0x0a, 0x09, 0x21, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f} // a gauge of 1
			return kerr.ErrorForCode(p.do(req).(*kmsg.PushTelemetryResponse).ErrorCode)
		}
		g := ask([16]byte{})
		if g.ErrorCode != 0 || len(g.RequestedMetrics) != 0 || g.PushIntervalMillis != 300_000 {
			t.Fatalf("without a subscription: %+v", g)
		}
		subscribe(t, admin, "s", "metrics", "org.apache.kafka.producer.,x", "interval.ms", "1000", "match", "client_id=p,client_source_address=.*")
		if err := push(g, 'a'); err != kerr.UnknownSubscriptionID {
			t.Fatal(err)
		}
		if g = ask(g.ClientInstanceID); g.ErrorCode != 0 || !slices.Equal(g.RequestedMetrics, []string{"org.apache.kafka.producer.", "x"}) || g.PushIntervalMillis != 1000 {
			t.Fatalf("with one: %+v", g)
		}
		for _, name := range []byte("abc") { // the third is beyond the limit
			time.Sleep(time.Second)
			if err := push(g, name); err != nil {
				t.Fatal(err)
			}
		}
		if err := push(g, 'a'); err != kerr.ThrottlingQuotaExceeded {
			t.Fatal(err)
		}
		series := fmt.Sprintf(`client_a{client_id="p",client_instance_id="%s",client_software_name="unknown",client_software_version="unknown"}`, kafka.UUID(g.ClientInstanceID))
		if n.scrape(t, series) != 1 || n.scrape(t, "gregor_client_telemetry_series") != 2 || n.scrape(t, "gregor_client_telemetry_dropped_total") != 1 ||
			n.scrape(t, "gregor_client_telemetry_pushes_total") != 3 {
			t.Error("/metrics shows something else")
		}
		// Those that it does not match are not asked, nor is anyone once it is gone.
		subscribe(t, admin, "s", "match", "client_id=q")
		if other := ask([16]byte{}); len(other.RequestedMetrics) != 0 {
			t.Errorf("another client: %+v", other)
		}
		subscribe(t, admin, "s", "match", "")
		if all := ask([16]byte{}); len(all.RequestedMetrics) != 2 {
			t.Errorf("all clients: %+v", all)
		}
		subscribe(t, admin, "s", "match", "", "metrics", "", "interval.ms", "")
		if none := ask([16]byte{}); len(none.RequestedMetrics) != 0 || none.PushIntervalMillis != 300_000 {
			t.Errorf("it is gone: %+v", none)
		}
		time.Sleep(time.Minute)
		// The first scrape makes it forgotten, perhaps while it counts.
		n.scrape(t, "gregor_client_telemetry_series")
		if n.scrape(t, "gregor_client_telemetry_series") != 0 {
			t.Error("a client that is silent is shown")
		}
	})
}
