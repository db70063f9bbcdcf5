// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/vfs"
)

// A start whose metadata log breaks under it does not wait for a registration
// that cannot come.
func TestAStartThatFailsEndsAtOnce(t *testing.T) {
	failures := 0
	for skip := range 20 {
		synctest.Test(t, func(t *testing.T) {
			n := Prepare(t, Options{FS: func(m *vfs.Memory) vfs.FS {
				disk := vfs.NewFault(m)
				disk.Add(vfs.Rule{Ops: vfs.OpSyncData, Path: "__cluster_metadata", Skip: skip, Err: syscall.EIO})
				return disk
			}})
			began := time.Now()
			err := n.TryUp()
			if took := time.Since(began); took > time.Second {
				t.Errorf("with sync %d failing, the start took %v", skip, took)
			}
			if err != nil {
				failures++
			}
			n.Crash()
		})
	}
	if failures < 3 {
		t.Errorf("only %d starts failed", failures)
	}
}

// A port that is taken costs the directories nothing: what a clean stop has left
// still counts, and a new node's directory is not begun.
func TestATakenPortLeavesTheDirectories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := Prepare(t, Options{})
		refused := func() {
			t.Helper()
			taken, err := n.Net.Host(host).Listen(t.Context(), Addr)
			if err != nil {
				t.Fatal(err)
			}
			if err := n.TryUp(); err == nil {
				t.Fatal("it started on a port that is taken")
			}
			if err := taken.Close(); err != nil {
				t.Fatal(err)
			}
		}
		refused()
		if _, err := n.Disk.Stat("/data/meta.properties"); err == nil {
			t.Error("a start that failed has begun a directory")
		}
		n.Up()
		n.Stop()
		refused()
		for _, file := range []string{".kafka_cleanshutdown", "gregor.manifest"} {
			if _, err := n.Disk.Stat("/data/" + file); err != nil {
				t.Errorf("after a start that failed: %v", err)
			}
		}
		n.Up()
	})
}

// Ends may come twice, and in any order; the first one counts.
func TestEndsMayComeTwice(t *testing.T) {
	for name, ends := range map[string][]bool{"close, kill": {true, false}, "kill, close": {false, true}, "close, close": {true, true}, "kill, kill": {false, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := Start(t, Options{})
				n.up = false
				for i, clean := range ends {
					if !clean {
						n.Kill()
					} else if err := n.Close(t.Context()); err != nil && i == 0 {
						t.Error(err)
					}
				}
				_, err := n.Disk.Stat("/data/.kafka_cleanshutdown")
				if marked := err == nil; marked != ends[0] {
					t.Errorf("marked as stopped cleanly: %v", marked)
				}
			})
		})
	}
}
