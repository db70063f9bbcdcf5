// SPDX-License-Identifier: Apache-2.0

package metalog

import (
	"testing"

	"gregor/base/vfs"
)

// An old checkpoint that cannot be read any more keeps no newer one from being
// written: nothing depends on it.
func TestADamagedOldCheckpointIsInNobodysWay(t *testing.T) {
	m := vfs.NewMemory()
	l := newTestLog(t, m)
	formTestLog(t, l)
	old, _ := l.Checkpoint()
	if err := writeFile(m, l.path(old.Name()), []byte("not a checkpoint"), 0o400); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		appendTest(t, l, 1, 1, 2, 3)
		l.Commit(l.LastIndex())
		if _, err := l.WriteCheckpoint(State{End: l.End(), ConfState: []byte("conf"), MetadataVersion: 33}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openTestLog(t, m)
	if c, _ := l.Checkpoint(); c.End != l.End() {
		t.Errorf("the newest checkpoint ends at %d, the log at %d", c.End, l.End())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
