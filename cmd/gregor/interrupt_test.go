// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// tilSignal runs a command line whose context ends, as it does at a signal, once
// the command has taken what is typed and waits for more.
func tilSignal(t *testing.T, typed string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	in, keyboard := io.Pipe()
	defer keyboard.Close()
	var out, talk bytes.Buffer
	root := newRootCommand(stdio{in, &out, &talk}, time.Time{})
	root.SetArgs(args)
	ctx, signal := context.WithCancel(t.Context())
	go func() {
		_, _ = io.WriteString(keyboard, typed)
		signal()
	}()
	command, err := root.ExecuteContextC(ctx)
	return report(&talk, withHelp(command, err)), out.String(), talk.String()
}

// The first Ctrl-C ends a command that waits for its input.
func TestProduceEndsAtSignal(t *testing.T) {
	for _, args := range [][]string{{}, {"-f", "json"}, {"-f", "%v\n"}, {"--rate", "1000/s"}} {
		typed := "one\n"
		if len(args) > 1 && args[1] == "json" {
			typed = `{"value":"one"}` + "\n"
		}
		code, out, talk := tilSignal(t, typed, append([]string{"produce", "orders", "--dry-run"}, args...)...)
		if code != exitInterrupted || talk != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out, talk)
		}
	}
}

func TestConfirmEndsAtSignal(t *testing.T) {
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo terminals here")
	}
	var talk bytes.Buffer
	ctx, signal := context.WithCancel(t.Context())
	asked := writer(func(b []byte) (int, error) { // who reads a question can press Ctrl-C
		time.AfterFunc(10*time.Millisecond, signal)
		return talk.Write(b)
	})
	root := newRootCommand(stdio{keyboard, io.Discard, asked}, time.Time{})
	err = confirm(ctx, root, "delete all")
	if code := report(&talk, err); code != exitInterrupted || strings.TrimRight(talk.String(), "\n") != "delete all? [y/N] " {
		t.Errorf("exit code %d, %q", code, talk.String())
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
