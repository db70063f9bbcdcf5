// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"io"

	"gregor/base/kafka"
	"gregor/broker/telemetry"
	"gregor/cluster/image"
	"gregor/config"
)

// openTelemetry makes what the publisher tells of subscriptions.
func (n *Node) openTelemetry() error {
	c := n.o.Config
	ids := &uuids{}
	if _, err := io.ReadFull(n.o.Random, ids.seed[:]); err != nil {
		return err
	}
	n.telemetry = telemetry.NewManager(telemetry.Options{
		ClientsMax:   int(c.Int(config.GregorTelemetryClientsMax)),
		PushBytesMax: int(c.Int(config.TelemetryMaxBytes)),
		Limits: telemetry.Limits{
			SeriesMax:       int(c.Int(config.GregorTelemetrySeriesMax)),
			ClientSeriesMax: int(c.Int(config.GregorTelemetryClientSeriesMax)),
		},
		RandomUUID: ids.kafka,
	})
	return nil
}

// kafka makes an id that Kafka's Uuid class would make.
func (u *uuids) kafka() kafka.UUID {
	for {
		id := u.next()
		if out, err := kafka.NewUUID(bytes.NewReader(id[:])); err == nil {
			return out
		}
	}
}

// subscribe applies what changed in telemetry subscriptions.
func (n *Node) subscribe(delta *image.Delta, img *image.Image) {
	for r := range delta.Configs() {
		if r.Type != image.ResourceClientMetrics {
			continue
		}
		values := img.Configs(r)
		s, ok := config.ResolveClientMetrics(values)
		switch {
		case len(values) == 0:
			n.telemetry.Unsubscribed(r.Name)
		case !ok:
			n.o.Logger.Warn("a telemetry subscription has no effect: its match is none that this version knows", "subscription", r.Name, "match", values["match"])
			n.telemetry.Unsubscribed(r.Name)
		default:
			n.telemetry.Subscribed(r.Name, telemetry.Subscription{Metrics: s.Metrics, Interval: millis(s.IntervalMs), Match: s.Match})
		}
	}
}
