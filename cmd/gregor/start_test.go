// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
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
			case <-time.After(scriptTimeout):
				t.Fatal("it goes on")
			}
		})
	}
}

// timeout(1) ends its child and then the child's group: one wish, and a node that
// stops cleanly.
func TestSignalsThatComeTogetherAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		caught := make(chan os.Signal, 2)
		signals := wishes(ctx, caught)
		send := func(want int) {
			t.Helper()
			caught <- syscall.SIGTERM
			caught <- syscall.SIGINT
			synctest.Wait()
			if len(signals) != want {
				t.Fatalf("%d signals, want %d", len(signals), want)
			}
		}
		send(1)
		time.Sleep(sameWish)
		send(2)
		if first := <-signals; first != syscall.SIGTERM {
			t.Errorf("the first is %v, want that which came first", first)
		}
	})
}

// hangingNode cannot go on, and hangs in a disk when it is to end.
type hangingNode struct {
	slowNode
	failed  chan error
	killing chan struct{}
}

func (n hangingNode) Failed() <-chan error { return n.failed }
func (n hangingNode) Kill()                { close(n.killing); select {} }

// A node that cannot go on ends by a signal, whatever its disks do.
func TestASignalEndsAFailedNode(t *testing.T) {
	n := hangingNode{slowNode{starting: make(chan error, 1)}, make(chan error, 1), make(chan struct{})}
	n.starting <- nil
	n.failed <- errors.New("the metadata log cannot be written")
	c := &cobra.Command{}
	c.SetContext(t.Context())
	c.SetOut(io.Discard)
	signals := make(chan os.Signal, 1)
	ended := make(chan error)
	go func() { ended <- live(c, n, slog.New(slog.DiscardHandler), signals, time.Now()) }()
	deadline := time.After(scriptTimeout)
	for killing := n.killing; ; {
		select {
		case <-killing:
			killing = nil
			signals <- syscall.SIGTERM
		case err := <-ended:
			if code := report(io.Discard, err); code != exitFailed {
				t.Errorf("exit code %d, want %d", code, exitFailed)
			}
			return
		case <-deadline:
			t.Fatal("it goes on")
		}
	}
}
