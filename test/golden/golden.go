// SPDX-License-Identifier: Apache-2.0

// Package golden compares what a test makes with a file that is committed.
// With -update the file is written instead, to be read as a difference before
// it is committed.
package golden

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the files anew that tests compare with")

// Update reports whether files are written instead of compared.
func Update() bool { return *update }

// Check holds a file against what was made.
func Check(t *testing.T, file, made string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(made), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	is, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("run this test with -update: %v", err)
	} else if string(is) != made {
		t.Errorf("%s is another: run this test with -update and look at the difference\n%s", file, firstDifference(string(is), made))
	}
}

func firstDifference(is, made string) string {
	there, here := strings.Split(is, "\n"), strings.Split(made, "\n")
	for i := range min(len(there), len(here)) {
		if there[i] != here[i] {
			return fmt.Sprintf("line %d\nin the file %s\nmade        %s", i+1, there[i], here[i])
		}
	}
	return fmt.Sprintf("%d lines in the file, %d made", len(there), len(here))
}
