// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// log.segment.delete.delay.ms holds at its ends: at once, and never.
func TestDeleteDelay(t *testing.T) {
	for _, tc := range []struct {
		ms   int64
		wait time.Duration
		left bool
	}{{0, time.Second, false}, {60_000, 50 * time.Second, true}, {60_000, 90 * time.Second, false}, {math.MaxInt64, 24 * time.Hour, true}} {
		t.Run(fmt.Sprintf("%d ms after %v", tc.ms, tc.wait), func(t *testing.T) {
			bubble(t, 48*time.Hour, func(ctx context.Context, t *testing.T) {
				n := Start(t, Options{Set: []string{fmt.Sprint("log.segment.delete.delay.ms=", tc.ms)}})
				c := n.Client()
				createTopic(ctx, t, c, nil)
				useTopic(ctx, t, c)
				if _, err := kadm.NewClient(c).DeleteTopic(ctx, "t"); err != nil {
					t.Fatal(err)
				}
				c.Close()
				time.Sleep(tc.wait)
				entries, err := n.Disk.ReadDir("/data")
				if err != nil {
					t.Fatal(err)
				}
				left := 0
				for _, e := range entries {
					if strings.HasPrefix(e.Name, "t-") {
						left++
					}
				}
				if (left > 0) != tc.left {
					t.Errorf("%d folders are left", left)
				}
				n.Stop()
			})
		})
	}
}
