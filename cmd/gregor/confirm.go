// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// confirm asks before something is lost. Without a terminal there is nobody
// to ask, so --yes must be given.
func confirm(c *cobra.Command, what string) error {
	if !isTerminal(c.InOrStdin()) {
		return &failure{exitUsage, fmt.Errorf("this would %s; add --yes", what), []string{}}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s? [y/N] ", what)
	answer, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") && !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		return &failure{exitFailed, fmt.Errorf("nothing was done"), nil}
	}
	return nil
}

// isTerminal reports whether a stream is a terminal: a character device that
// is not the null device.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
