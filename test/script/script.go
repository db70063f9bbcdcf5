// SPDX-License-Identifier: Apache-2.0

// Package script runs the scripts of a test: files in testdata that hold
// commands and, below a line of dashes, what must come of them. It promises
// that a script that passes is, to the byte, what -update would write.
//
//	# Lines like this one are kept.
//	append n=3
//	hw to=2
//	----
//	offsets 0 to 2
//	moved true
//
// Blocks are parted by empty lines. With -update the files are given what came
// of the commands, to be read as a difference before it is committed.
package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gregor/test/golden"
)

const dashes = "----"

// Run runs every file that pattern matches as a test of its own. begin gives
// what runs a script from its first block to its last: it takes a block's lines
// of commands and gives what comes of them, without empty lines.
func Run(t *testing.T, pattern string, begin func(t *testing.T) func(commands []string) string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts in %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, file, play(string(text), begin(t)))
		})
	}
}

// play gives a script with what comes of its commands.
func play(text string, run func([]string) string) string {
	var out strings.Builder
	var commands []string
	comes := false // what came of the block is there already
	finish := func() {
		if commands != nil {
			got := strings.TrimRight(run(commands), "\n")
			if out.WriteString(dashes + "\n"); got != "" {
				out.WriteString(got + "\n")
			}
		}
		commands = nil
	}
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == dashes:
			finish()
			comes = true
		case line == "":
			finish()
			comes = false
			out.WriteString("\n")
		case comes:
		default:
			if line[0] != '#' {
				commands = append(commands, line)
			}
			out.WriteString(line + "\n")
		}
	}
	finish()
	return out.String()
}
