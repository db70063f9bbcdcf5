// SPDX-License-Identifier: Apache-2.0

package full

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

// mount mounts a tmpfs until the test ends.
func mount(t *testing.T, dir string, sizeBytes int64) {
	t.Helper()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=755", sizeBytes))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skipf("SKIPPED: filling a real disk needs the right to mount a tmpfs: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
