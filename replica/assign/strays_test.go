// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"sync"
	"testing"

	"gregor/base/kafka"
)

func (d *dir) SetAside(tp kafka.TopicPartition) error {
	d.note("set %s aside", tp)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open[tp.String()] = false
	return nil
}

// A start waits for what is open while the publisher may bring more.
func TestTallyIsWaitedForWhileWorkComes(t *testing.T) {
	var tl tally
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20_000 {
				tl.add(1)
				tl.add(-1)
			}
		})
		all.Go(func() {
			for range 20_000 {
				tl.wait()
			}
		})
	}
	all.Wait()
	tl.wait()
}
