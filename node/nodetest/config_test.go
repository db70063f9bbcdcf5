// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func alter(ctx context.Context, t *testing.T, admin *kadm.Client, topic, key, value string) {
	t.Helper()
	op := kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value}
	if value == "" {
		op = kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key}
	}
	var got kadm.AlterConfigsResponses
	var err error
	if topic != "" {
		got, err = admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{op}, topic)
	} else {
		got, err = admin.AlterBrokerConfigs(ctx, []kadm.AlterConfig{op})
	}
	if err != nil || len(got) != 1 || got[0].Err != nil {
		t.Fatalf("%s=%s: %v, %+v", key, value, err, got)
	}
}

// A changed configuration holds from the answer on, for topics that were there
// before, and after a restart.
func TestConfigurationsChangeWithoutARestart(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(4<<20), kgo.ProducerBatchCompression(kgo.NoCompression()))
		createTopic(ctx, t, c, nil)
		admin := kadm.NewClient(c)
		size := func(c *kgo.Client, bytesMax int, want error) {
			t.Helper()
			err := c.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: bytes.Repeat([]byte("x"), bytesMax)}).FirstErr()
			if !errors.Is(err, want) {
				t.Fatalf("a record of %d bytes: %v, want %v", bytesMax, err, want)
			}
		}
		size(c, 500_000, nil)
		size(c, 1_500_000, kerr.MessageTooLarge)
		alter(ctx, t, admin, "", "message.max.bytes", "2000000")
		size(c, 1_500_000, nil)
		alter(ctx, t, admin, "t", "max.message.bytes", "1000")
		size(c, 500_000, kerr.MessageTooLarge)
		size(c, 500, nil)
		n.Stop()
		n.Up()
		size(c, 500_000, kerr.MessageTooLarge)
		alter(ctx, t, admin, "t", "max.message.bytes", "")
		size(c, 1_500_000, nil)
		alter(ctx, t, admin, "", "message.max.bytes", "")
		size(c, 1_500_000, kerr.MessageTooLarge)

		// Segments: the next record after the change begins one.
		alter(ctx, t, admin, "t", "segment.ms", "1000")
		time.Sleep(2 * time.Second)
		size(c, 10, nil)
		entries, err := n.Disk.ReadDir("/data/t-0")
		if err != nil {
			t.Fatal(err)
		}
		logs := 0
		for _, e := range entries {
			if len(e.Name) > 4 && e.Name[len(e.Name)-4:] == ".log" {
				logs++
			}
		}
		if logs != 2 {
			t.Errorf("%d segments, want 2", logs)
		}
		c.Close()
	})
}

// What a broker obeys beside its topics' rules changes too: here how many
// connections it takes, and for how long it keeps deleted files.
func TestBrokerLimitsChangeWithoutARestart(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client()
		admin := kadm.NewClient(c)
		dial := func() bool {
			t.Helper()
			conn, err := n.Net.Host("other").Dial(ctx, Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			_, err = conn.Read(make([]byte, 1))
			var timeout interface{ Timeout() bool }
			return errors.As(err, &timeout) && timeout.Timeout() // open, and nothing to read
		}
		if !dial() {
			t.Fatal("no connection before any limit")
		}
		alter(ctx, t, admin, "", "max.connections.per.ip", "20")
		alter(ctx, t, admin, "", "max.connections", "1000")
		if !dial() {
			t.Error("no connection below the limits")
		}
		// Per address: the other host gets none, the client keeps its own.
		ip := func() string {
			conn, err := n.Net.Host("other").Dial(ctx, Addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			host, _, err := net.SplitHostPort(conn.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			return host
		}()
		alter(ctx, t, admin, "", "max.connections.per.ip.overrides", ip+":0")
		if dial() {
			t.Error("a connection beyond the limit of its address")
		}
		n.Stop()
		n.Up()
		if dial() {
			t.Error("a connection beyond the limit of its address after a restart")
		}
		alter(ctx, t, admin, "", "max.connections.per.ip.overrides", "")
		if !dial() {
			t.Error("no connection after the limit is gone")
		}

		alter(ctx, t, admin, "", "log.segment.delete.delay.ms", "5000")
		createTopic(ctx, t, c, nil)
		useTopic(ctx, t, c)
		if _, err := admin.DeleteTopic(ctx, "t"); err != nil {
			t.Fatal(err)
		}
		folders := func() int {
			entries, err := n.Disk.ReadDir("/data")
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for _, e := range entries {
				if len(e.Name) > 7 && e.Name[len(e.Name)-7:] == "-delete" {
					found++
				}
			}
			return found
		}
		time.Sleep(time.Second)
		if got := folders(); got != partitions {
			t.Errorf("%d deleted folders are kept, want %d", got, partitions)
		}
		time.Sleep(5 * time.Second)
		if got := folders(); got != 0 {
			t.Errorf("%d deleted folders are kept after log.segment.delete.delay.ms", got)
		}
		c.Close()
	})
}
