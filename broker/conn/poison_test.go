// SPDX-License-Identifier: Apache-2.0

//go:build invariants

package conn

import (
	"bytes"
	"testing"
	"testing/synctest"

	"gregor/broker/call"
)

// Who keeps a frame beyond Handle finds nonsense in it, whatever its size.
func TestFramesArePoisonedAfterHandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []byte
		w := bubble(t, func(c *call.Call) call.Outcome {
			kept = c.Payload
			return echo(c)
		}, nil)
		c := w.dial()
		for i, n := range []int{10, 400, 5_000, 200_000} {
			write(t, c, request(1, int32(i), make([]byte, n)))
			wantReply(t, c, int32(i), string(make([]byte, n)))
			synctest.Wait()
			if want := bytes.Repeat([]byte{poisonByte}, len(kept)); !bytes.Equal(kept, want) {
				t.Errorf("a frame of %d bytes can still be read after Handle", n)
			}
		}
	})
}
