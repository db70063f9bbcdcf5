// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
)

// A table that goes on keeps its columns, and says when one has to grow.
func TestColumnsStay(t *testing.T) {
	var k columns
	var out bytes.Buffer
	header := []string{"TOPIC", "LAG", "NOTE"}
	for i, x := range []struct {
		row   []string
		grown bool
	}{
		{[]string{"orders", "7", "x"}, true},
		{[]string{"o", "7", ""}, false},
		{[]string{"größer", "1000", "x"}, true},
		{[]string{"a\tb", "1", "x"}, false},
	} {
		rows := [][]string{header, x.row}
		if got := k.fit(rows); got != x.grown {
			t.Errorf("row %d: grown %v", i, got)
		}
		if !x.grown {
			rows = rows[1:]
		}
		if err := printTable(&out, k.pad(rows[0]), rows[1:]); err != nil {
			t.Fatal(err)
		}
	}
	want := `TOPIC    LAG   NOTE
orders   7     x
o        7
TOPIC    LAG    NOTE
größer   1000   x
"a\tb"   1      x
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
}
