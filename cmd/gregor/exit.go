// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Exit codes.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitDenied      = 4
	exitInterrupted = 130
)

// failure is an error that knows its exit code and what to try next.
type failure struct {
	code int
	err  error
	next []string // commands to try, in full; empty and not nil where the text says it
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage reports a command line that cannot be carried out.
func usage(format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// withHelp has wrong usage name the command's help where nothing better is
// known.
func withHelp(c *cobra.Command, err error) error {
	var f *failure
	if !errors.As(err, &f) || f.code != exitUsage || f.next != nil || c == nil {
		return err
	}
	return &failure{exitUsage, err, []string{c.CommandPath() + " --help"}}
}

// failed reports something that did not work.
func failed(err error, next ...string) error {
	return &failure{code: codeOf(err), err: err, next: next}
}

// errReported ends a command whose failures were told one by one.
var errReported = errors.New("some items failed")

// codeOf finds the exit code that tells a script what kind of trouble it is.
func codeOf(err error) int {
	var dial *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed),
		errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.PolicyViolation):
		return exitDenied
	case errors.As(err, &dial), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, io.EOF), errors.Is(err, context.DeadlineExceeded),
		isFirstRead(err):
		return exitUnreachable
	}
	return exitFailed
}

// isFirstRead finds a peer that is not a Kafka broker.
func isFirstRead(err error) bool {
	var first *kgo.ErrFirstReadEOF
	return errors.As(err, &first)
}

// report writes what went wrong to w and gives the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errReported) {
		return exitFailed
	}
	code, next := exitFailed, []string(nil)
	var f *failure
	if errors.As(err, &f) {
		code, next = f.code, f.next
	}
	if code == exitInterrupted {
		return code
	}
	text := strings.TrimRight(err.Error(), "\n")
	fmt.Fprintf(w, "error: %s\n", strings.ReplaceAll(text, "\n", "\n  "))
	if len(next) > 0 {
		fmt.Fprintf(w, "  next: %s\n", strings.Join(next, "   |   "))
	}
	return code
}
