// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/broker/call"
	"gregor/wire/reply"
)

// A peer that reads slowly, but reads, gets a reply that takes far longer than
// the idle time.
func TestSlowReaderIsNotIdle(t *testing.T) {
	for _, inMemory := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFiles(t, vfs.NewMemory(), "/log", 8<<20)
			w := bubble(t, func(c *call.Call) call.Outcome {
				c.Reply.Begin(c.CorrelationID, false)
				if inMemory {
					c.Reply.Appender().Raw(f.content)
				} else {
					c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: len(f.content)})
				}
				return call.Done
			}, func(o *Options, _ *call.Listener) { o.Limits.IdleMax = 10 * time.Minute })
			c := w.dial()
			write(t, c, request(1, 1, nil))
			var got []byte
			buf := make([]byte, 256<<10)
			for len(got) < 8+len(f.content) {
				time.Sleep(2 * time.Minute)
				n, err := c.Read(buf)
				if err != nil {
					t.Fatalf("in memory %v: after %d bytes: %v", inMemory, len(got), err)
				}
				got = append(got, buf[:n]...)
			}
			if !bytes.Equal(got[8:], f.content) {
				t.Error("the reply is not what was sent")
			}
		})
	}
}

// A peer that never reads does not pin a segment for ever, even where idle
// connections may stay.
func TestPeerThatDoesNotReadIsClosedWithoutIdleLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t, vfs.NewMemory(), "/log", 1<<20)
		w := bubble(t, func(c *call.Call) call.Outcome {
			c.Reply.Begin(c.CorrelationID, false)
			c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: len(f.content)})
			return call.Done
		}, func(o *Options, _ *call.Listener) { o.Limits.IdleMax, o.Limits.ReplyStallMax = 0, 3*time.Minute })
		for range 1000 {
			write(t, w.dial(), request(1, 1, nil))
		}
		synctest.Wait()
		if n := f.refs.Load(); n != 1000 {
			t.Fatalf("%d references while the peers do not read", n)
		}
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		if n, s := f.refs.Load(), w.server.Stats(); n != 0 || s.Connections != 0 {
			t.Errorf("%d references and %d connections are left", n, s.Connections)
		}
	})
}

// Whoever ends a reply half way gives its files back: the peer that goes away,
// and the server that is killed.
func TestReferencesAreReleasedHalfWay(t *testing.T) {
	ends := map[string]func(w *world, reset func()){
		"peer resets":   func(_ *world, reset func()) { reset() },
		"server killed": func(w *world, _ func()) { w.server.Kill() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t, vfs.OS{}, t.TempDir(), 16<<20)
			w := serve(t, netx.OS{}, "127.0.0.1:0", func(c *call.Call) call.Outcome {
				c.Reply.Begin(c.CorrelationID, false)
				c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: len(f.content)})
				c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: len(f.content)})
				return call.Done
			}, nil)
			c := w.dial()
			write(t, c, request(1, 1, nil))
			if _, err := c.Read(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			end(w, func() { c.Close() })
			for range 1000 {
				if w.server.Stats().Connections == 0 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if n := f.refs.Load(); n != 0 {
				t.Errorf("%d references are left", n)
			}
		})
	}
}

// A panic between a handler's first and last section gives back what the
// reply holds.
func TestReferencesAreReleasedAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t, vfs.NewMemory(), "/log", 1000)
		w := bubble(t, func(c *call.Call) call.Outcome {
			c.Reply.Begin(c.CorrelationID, false)
			c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: 1000})
			panic("half way")
		}, nil)
		c := w.dial()
		write(t, c, request(1, 1, nil))
		wantClosed(t, c)
		synctest.Wait()
		if n := f.refs.Load(); n != 0 {
			t.Errorf("%d references are left", n)
		}
	})
}
