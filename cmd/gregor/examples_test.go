// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// Every command shows how it is used, and what it shows is a command line that
// it takes.
func TestExamples(t *testing.T) {
	tree := func() *cobra.Command {
		return newRootCommand(stdio{strings.NewReader(""), io.Discard, io.Discard}, time.Time{})
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() || c.Name() == "help" || c.Name() == "completion" || strings.HasPrefix(c.CommandPath(), "gregor bench") {
			return
		}
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Example, "\n") {
			_, line, found := strings.Cut(line, "gregor ")
			if !found {
				t.Errorf("%s: %q does not call gregor", c.CommandPath(), line)
				continue
			}
			line, _, _ = strings.Cut(line, " <") // where stdin comes from
			called, rest, err := tree().Find(words(line))
			if err != nil || called.CommandPath() != c.CommandPath() {
				t.Errorf("%q: %v", line, err)
				continue
			}
			if err := called.ParseFlags(rest); err != nil {
				t.Errorf("%q: %v", line, err)
			} else if err := called.ValidateArgs(called.Flags().Args()); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
	walk(tree())
}

// words splits as a shell does that knows single quotes only.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}
