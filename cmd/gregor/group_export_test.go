// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"reflect"
	"testing"
)

// What export writes is read again as it was; whatever else a file holds is
// refused or gives offsets that can be committed.
func FuzzOffsetLines(f *testing.F) {
	for _, seed := range []string{"orders,0,5\n", "g,orders,0,5\n", `{"topic":"t","partition":1,"offset":2}`, `{"items":[{"topic":"t","partition":1,"offset":2}]}`,
		"a,b\n", `{"topic":1}`, `"x,1`, "{}", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, err := parseOffsetLines(text)
		if err != nil || checkOffsetLines(lines) != nil {
			return
		}
		for _, output := range []string{"json", "jsonl"} {
			var b bytes.Buffer
			if err := writeOffsetLines(&b, output, lines, true); err != nil {
				t.Fatal(err)
			}
			again, err := parseOffsetLines(b.Bytes())
			if err != nil || len(again) != len(lines) {
				t.Fatalf("%s: %v\n%s", output, err, b.Bytes())
			}
			for i := range lines {
				if again[i].Partition != lines[i].Partition || again[i].Offset != lines[i].Offset {
					t.Fatalf("%s: %+v, want %+v", output, again[i], lines[i])
				}
			}
		}
	})
}

func TestOffsetLines(t *testing.T) {
	t.Parallel()
	want := []offsetLine{{"g", "orders", 0, 5, 3, "by hand"}, {"g", "a.b", 7, 0, -1, ""}}
	for _, output := range []string{"json", "jsonl"} {
		var b bytes.Buffer
		if err := writeOffsetLines(&b, output, want, false); err != nil {
			t.Fatal(err)
		}
		got, err := parseOffsetLines(b.Bytes())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", output, got, err)
		}
	}
}
