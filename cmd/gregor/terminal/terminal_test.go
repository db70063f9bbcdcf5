// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIs(t *testing.T) {
	open := func(name string, flag int) *os.File {
		f, err := os.OpenFile(name, flag, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	closed := open(os.DevNull, os.O_RDONLY)
	for stream, f := range map[string]any{
		"no file": strings.NewReader(""), "a file": open(filepath.Join(t.TempDir(), "f"), os.O_CREATE|os.O_RDWR),
		"the null device": open(os.DevNull, os.O_RDWR), "a pipe": read, "a closed file": closed,
	} {
		if stream == "a closed file" {
			closed.Close()
		}
		if Is(f) {
			t.Errorf("%s is no terminal", stream)
		}
	}
	read.Close()
	write.Close()
	if f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err == nil { // where there are pseudo terminals
		defer f.Close()
		if !Is(f) {
			t.Error("a pseudo terminal is a terminal")
		}
		if !Draws(f, "xterm") || Draws(f, "dumb") {
			t.Error("one is drawn over unless it is dumb")
		}
	}
}
