// SPDX-License-Identifier: Apache-2.0

package commitlog

import (
	"log/slog"
	"strings"
	"testing"

	"gregor/storage/segment"
)

// A log that ends before its recovery point has lost what was on the disk. It
// goes on, since nothing brings the records back here, and says so.
func TestALogThatHasLostItsEndSaysSo(t *testing.T) {
	for _, clean := range []bool{true, false} {
		b := memoryBed(t)
		b.mustOpen()
		b.mustAppend(plain(2, 1000))
		if err := b.l.Roll(); err != nil {
			t.Fatal(err)
		}
		b.mustAppend(plain(3, 1000))
		b.stop(false)
		b.o.CleanStart = clean
		if err := b.fs.Remove(b.o.Dir + "/" + segment.Name(2, segment.LogSuffix)); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		b.o.Logger = slog.New(slog.NewTextHandler(&said, nil))
		b.mustOpen()
		b.wantBases(0)
		if !strings.Contains(said.String(), "recovery_point=5 log_end=2") {
			t.Errorf("clean %v: it said %q", clean, said.String())
		}
	}
}
