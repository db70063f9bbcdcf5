// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gregor/cmd/gregor/terminal"
)

// confirm asks before something is lost, until ctx ends. Without a terminal there is nobody
// to ask, so --yes must be given.
func confirm(ctx context.Context, c *cobra.Command, what string) error {
	if !terminal.Is(c.InOrStdin()) {
		return &failure{exitUsage, fmt.Errorf("this would %s; add --yes", what), []string{}}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s? [y/N] ", what)
	answer, err := bufio.NewReader(terminal.Until(ctx, c.InOrStdin())).ReadString('\n')
	if ctx.Err() != nil {
		fmt.Fprintln(c.ErrOrStderr()) // behind the ^C
		return failed(ctx.Err())
	}
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") && !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		return &failure{exitFailed, fmt.Errorf("nothing was done"), nil}
	}
	return nil
}
