// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"encoding/json"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/metalog"
	"gregor/cluster/metalog/loader"
)

// brokerEpoch is what the metadata of a stopped node says of its broker: the
// offset of its last registration.
func brokerEpoch(t *testing.T, disk *vfs.Memory) kafka.BrokerEpoch {
	t.Helper()
	log, err := metalog.Open(metalog.Options{FS: disk.CrashClone(vfs.Loss{}), Dir: "/data"})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	log.Commit(log.LastIndex())
	l := loader.New(log)
	if _, _, err := l.Load(); err != nil {
		t.Fatal(err)
	}
	b := l.Image().Broker(1)
	if b == nil {
		t.Fatal("the broker is not registered")
	}
	return b.BrokerEpoch
}

// R12: the clean-shutdown marker is Kafka's, and names the offset of this
// broker's last registration. It is there after a clean stop alone.
func TestR12CleanShutdownMarkerNamesTheRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const marker = "/data/.kafka_cleanshutdown"
		n := Start(t, Options{})
		before := int64(-1)
		for range 3 {
			if _, err := n.Disk.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("marker of a running node: %v", err)
			}
			n.Stop()
			text, err := vfs.ReadFile(n.Disk, marker, 1<<10)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]int64
			if err := json.Unmarshal(text, &got); err != nil {
				t.Fatalf("marker %q: %v", text, err)
			}
			want := int64(brokerEpoch(t, n.Disk))
			if len(got) != 2 || got["version"] != 0 || got["brokerEpoch"] != want || want <= before {
				t.Fatalf("marker %q, the broker epoch is %d", text, want)
			}
			before = want
			n.Up()
		}
		n.Crash()
		if _, err := n.Disk.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("marker after a crash: %v", err)
		}
	})
}
