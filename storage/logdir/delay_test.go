// SPDX-License-Identifier: Apache-2.0

package logdir

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/vfs"
)

// What is deleted after the delay was shortened goes before what was deleted
// earlier.
func TestTheDelayOfDeletesChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := vfs.NewMemory()
		d := open(t, fsys)
		kept := func() string {
			synctest.Wait()
			var left []string
			for _, name := range names(t, fsys) {
				if topic, _, deleted := strings.Cut(name, "-0."); deleted {
					left = append(left, topic)
				}
			}
			return strings.Join(left, " ")
		}
		drop := func(topic string) {
			log := openLog(t, d, tp(topic, 0))
			use(t, log)
			ok(t, d.DeleteLog(log))
		}
		drop("minute")
		d.DelayDeletes(5 * time.Second)
		drop("seconds")
		drop("second")
		d.DelayDeletes(0)
		drop("now")
		for _, step := range []struct {
			wait time.Duration
			want string
		}{{time.Millisecond, "minute second seconds"}, {4 * time.Second, "minute second seconds"}, {2 * time.Second, "minute"}, {time.Minute, ""}} {
			time.Sleep(step.wait)
			if got := kept(); got != step.want {
				t.Errorf("after another %v: %q, want %q", step.wait, got, step.want)
			}
		}
		d.Kill()
	})
}
