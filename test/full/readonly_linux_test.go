// SPDX-License-Identifier: Apache-2.0

package full

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// remount makes a disk read-only, as Linux does with one that has failed, or
// writable again.
func remount(t *testing.T, dir string, readOnly bool) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if readOnly {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("size=%d,mode=755", diskBytes)); err != nil {
		t.Fatal(err)
	}
}

// A disk is read-only when a node starts, after a kill as after a clean stop:
// its directory is offline alone. When it can be written again, everything
// acknowledged is there.
func TestADiskIsReadOnlyAtTheStart(t *testing.T) {
	m := mountAll(t)
	m.start()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if _, err := kadm.NewClient(m.client()).CreateTopic(ctx, 4, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	producing, stopProducing := context.WithCancel(ctx)
	var load sync.WaitGroup
	producers := make([]*producer, 4)
	for i := range producers {
		producers[i] = &producer{partition: int32(i)}
		load.Go(func() { producers[i].run(producing, m, make([]byte, 100)) })
	}
	wait(t, ctx, "some records are acknowledged", func() bool {
		for _, p := range producers {
			if p.acked.Load() < 50 {
				return false
			}
		}
		return true
	})
	stopProducing()
	load.Wait()
	acked := make([]int64, len(producers))
	for i, p := range producers {
		acked[i] = p.acked.Load()
	}
	for _, end := range []func(){m.node.Kill, func() { m.stop() }} {
		end()
		remount(t, m.dirs[1], true)
		m.start()
		described, err := kadm.NewClient(m.client()).DescribeAllLogDirs(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		var works []*producer
		var counts []int64
		for _, d := range described[1] {
			if (d.Err != nil) != (d.Dir == m.dirs[1]) {
				t.Errorf("%s: %v", d.Dir, d.Err)
			}
			for id := range d.Topics["t"] {
				works, counts = append(works, producers[id]), append(counts, acked[id])
			}
		}
		if len(works) != 2 {
			t.Fatalf("%d partitions are served without the other disk", len(works))
		}
		readAll(ctx, t, m, works, counts)
		m.stop()
		remount(t, m.dirs[1], false)
		m.start()
		readAll(ctx, t, m, producers, acked)
	}
	m.stop()
}
