// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gregor/cmd/gregor/man"
)

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write manual pages",
		Long:    "Writes one manual page for each command into a folder, for man(1): gregor.1, gregor-topic.1, gregor-topic-list.1 and so on.",
		Args:    cobra.ExactArgs(1),
		Example: "  gregor man /usr/local/share/man/man1",
		RunE: func(c *cobra.Command, args []string) error {
			pages := manPages(c.Root())
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed(err)
			}
			for _, p := range pages {
				if err := os.WriteFile(filepath.Join(args[0], p.Name), []byte(p.Text), 0o644); err != nil {
					return failed(err)
				}
			}
			fmt.Fprintf(c.ErrOrStderr(), "wrote %d pages to %s\n", len(pages), args[0])
			return nil
		},
	}
}

func manPages(root *cobra.Command) []man.Page {
	return man.Pages(root, `.SH EXIT STATUS
0 done; 1 something failed; 2 wrong usage; 3 no connection; 4 not allowed; 130 interrupted.
.SH ENVIRONMENT
.TP
GREGOR_BOOTSTRAP_SERVER
The brokers to ask where \-\-bootstrap\-server is not given.
.TP
KAFKA_...
Settings of \fBgregor start\fP, by the names of Kafka's official image: KAFKA_LOG_DIRS is log.dirs.
`)
}
