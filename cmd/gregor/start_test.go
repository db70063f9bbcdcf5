// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"gregor/node"
)

// slowNode takes its time: a recovery at its start, a flush at its stop.
type slowNode struct{ starting, closing chan error }

func (n slowNode) Start(context.Context) error                         { return <-n.starting }
func (n slowNode) Close(context.Context) error                         { return <-n.closing }
func (n slowNode) Kill()                                               { panic("killed while something else was under way") }
func (n slowNode) Failed() <-chan error                                { return nil }
func (n slowNode) Addresses() (kafka []node.Address, o []node.Address) { return nil, nil }

// A second signal ends the process, whatever the node is busy with.
func TestASecondSignalKills(t *testing.T) {
	for name, started := range map[string]bool{"start": false, "stop": true} {
		t.Run(name, func(t *testing.T) {
			n := slowNode{make(chan error, 1), make(chan error)}
			if started {
				n.starting <- nil
			}
			c := &cobra.Command{}
			c.SetContext(t.Context())
			c.SetOut(io.Discard)
			signals := make(chan os.Signal, 2)
			signals <- syscall.SIGTERM
			signals <- syscall.SIGTERM
			ended := make(chan error)
			go func() { ended <- live(c, n, slog.New(slog.DiscardHandler), signals, time.Now()) }()
			select {
			case err := <-ended:
				if code := report(io.Discard, err); code != exitInterrupted {
					t.Errorf("exit code %d, want %d", code, exitInterrupted)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it goes on")
			}
		})
	}
}
