// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"testing"
	"time"
)

// producer.id.expiration.ms changes while the log is open.
func TestProducerExpirationChanges(t *testing.T) {
	b := memoryBed(t).mustOpen()
	s := plain(1, b.now.UnixMilli())
	s.pid, s.pepoch, s.seq = 7, 0, 0
	b.mustAppend(s)
	left := func() int {
		t.Helper()
		b.now = b.now.Add(time.Hour)
		if err := b.l.Checkpoint(); err != nil {
			t.Fatal(err)
		}
		list, err := b.l.Producers()
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if left() != 1 {
		t.Fatal("a producer was forgotten within the day that is the default")
	}
	b.l.Configure(Config{ProducerIDExpirationMs: 60_000})
	if left() != 0 {
		t.Error("a producer that was idle for two hours is kept, and one minute is allowed")
	}
}
