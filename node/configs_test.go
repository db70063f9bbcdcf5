// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/config"
)

// A key that does nothing in this build is told once, whoever sets it.
func TestIdleKeysAreToldOnce(t *testing.T) {
	static, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	n := New(Options{Config: static, Now: time.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	n.ident.node = 1
	img := image.Empty()
	set := func(kind image.ResourceType, name, key, value string) {
		t.Helper()
		d := image.NewDelta(img)
		if err := d.Replay(&metarec.Config{ResourceType: int8(kind), ResourceName: name, Name: key, Value: &value}); err != nil {
			t.Fatal(err)
		}
		img = d.Apply(img.Offset()+1, 1)
		n.reconfigure(d, img)
	}
	set(image.ResourceTopic, "a", "min.compaction.lag.ms", "0")
	set(image.ResourceTopic, "a", "segment.bytes", "2000000")
	if log.Len() != 0 {
		t.Fatalf("warned of what is a default, or works: %s", log.String())
	}
	set(image.ResourceTopic, "a", "min.compaction.lag.ms", "9")
	set(image.ResourceTopic, "a", "min.compaction.lag.ms", "10")
	set(image.ResourceTopic, "b", "min.compaction.lag.ms", "9")
	set(image.ResourceBroker, "", "num.io.threads", "9")
	set(image.ResourceBroker, "1", "num.io.threads", "9")
	set(image.ResourceClientMetrics, "m", "interval.ms", "9")
	if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 2 ||
		!strings.Contains(lines[0], `key=min.compaction.lag.ms resource="topic a"`) || !strings.Contains(lines[1], `key=num.io.threads resource="all brokers"`) {
		t.Errorf("%q", lines)
	}
	set(image.ResourceBroker, "", "max.connections", "5")
	set(image.ResourceBroker, "1", "max.connections", "6")
	set(image.ResourceBroker, "2", "max.connections", "7")
	if got := n.dynamic.values.ConnectionsMax; got != 6 {
		t.Errorf("max.connections is %d, want this broker's own", got)
	}
}
