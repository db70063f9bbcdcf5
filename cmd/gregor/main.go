// SPDX-License-Identifier: Apache-2.0

// Command gregor is the whole product in one binary: the node and its command
// line. Each command is a file; main is the only caller of os.Exit.
//
// Data goes to stdout and talk to stderr. Exit codes: 0 done, 1 something in
// the answer failed, 2 wrong usage, 3 no connection, 4 not allowed, 130
// interrupted.
package main

import (
	"context"
	"io"
	"os"
	"time"
)

// version is set by the linker (see the Makefile).
var version = "dev"

func main() {
	entered := time.Now().Add(-ageAtMain())
	os.Exit(run(calledAs(os.Args[0], os.Args[1:]), stdio{os.Stdin, os.Stdout, os.Stderr}, entered))
}

// stdio are the streams of one run, so that tests can bring their own.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// run carries out one command line and gives its exit code. execAt is when the
// process began, which the ready line counts from.
func run(args []string, s stdio, execAt time.Time) int {
	root := newRootCommand(s, execAt)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(context.Background())
	return report(s.err, withHelp(command, err))
}
