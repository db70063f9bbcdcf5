// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/broker/call"
	"gregor/wire/reply"
)

// source is a file that counts its references and can be cut.
type source struct {
	vfs.File
	refs  *atomic.Int64
	cut   *atomic.Bool
	after int // intact for so many looks; 0 is for ever
	looks int
}

func (s *source) Intact() bool {
	s.looks++
	return !s.cut.Load() && (s.after == 0 || s.looks <= s.after)
}
func (s *source) Release() { s.refs.Add(-1) }

type files struct {
	file    vfs.File
	content []byte
	refs    atomic.Int64
	cut     atomic.Bool
}

func newFiles(t testing.TB, fs vfs.FS, dir string, n int) *files {
	t.Helper()
	if err := fs.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Open(filepath.Join(dir, "segment"), vfs.ReadWrite|vfs.Create, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	content := make([]byte, n)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(content)
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	return &files{file: f, content: content}
}

func (f *files) source(after int) reply.Source {
	f.refs.Add(1)
	return &source{File: f.file, refs: &f.refs, cut: &f.cut, after: after}
}

// parts answers with bytes and ranges in turn and returns what that must be.
func (f *files) parts(c *call.Call) []byte {
	var want []byte
	c.Reply.Begin(c.CorrelationID, false)
	out := c.Reply.Appender()
	add := func(b []byte) {
		out.Raw(b)
		want = append(want, b...)
	}
	pos := int64(0)
	for i, n := range []int{1, 100, 70_000, 0, 3 << 20, 4096} {
		if i != 2 {
			add(bytes.Repeat([]byte{byte(i)}, 50*i*i*i*i))
		}
		if n > 0 {
			c.Reply.AddFile(reply.FileRange{Src: f.source(0), PosBytes: pos, LenBytes: n})
			want = append(want, f.content[pos:pos+int64(n)]...)
			pos += int64(n) / 2
		}
	}
	add([]byte("the end"))
	return want
}

func testSections(t *testing.T, w *world, f *files, want *[]byte) {
	c := w.dial()
	for i := range int32(3) {
		go c.Write(request(1, i, nil))
		got, b, err := read(c)
		if err != nil || got != i {
			t.Fatalf("reply %d: %v", got, err)
		}
		if !bytes.Equal(b, *want) {
			t.Fatalf("reply %d has %d bytes that differ from the %d wanted", i, len(b), len(*want))
		}
	}
	c.Close()
	w.server.Kill()
	if n := f.refs.Load(); n != 0 {
		t.Errorf("%d references are left", n)
	}
}

func TestSectionsBySendfile(t *testing.T) {
	f := newFiles(t, vfs.OS{}, t.TempDir(), 4<<20)
	var want []byte
	w := serve(t, netx.OS{}, "127.0.0.1:0", func(c *call.Call) call.Outcome {
		want = f.parts(c)
		return call.Done
	}, nil)
	testSections(t, w, f, &want)
	if s := w.server.Stats(); canSendfile && s.SendfileBytesTotal < 3*3<<20 {
		t.Errorf("%d bytes went by sendfile", s.SendfileBytesTotal)
	}
}

func TestSectionsByCopying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t, vfs.NewMemory(), "/log", 4<<20)
		var want []byte
		w := bubble(t, func(c *call.Call) call.Outcome {
			want = f.parts(c)
			return call.Done
		}, nil)
		testSections(t, w, f, &want)
		if s := w.server.Stats(); s.SendfileBytesTotal != 0 {
			t.Errorf("%d bytes went by sendfile on a memory network", s.SendfileBytesTotal)
		}
	})
}

// A range that is cut before, while or after it was sent ends the connection.
func TestCutSectionClosesTheConnection(t *testing.T) {
	for _, after := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			f := newFiles(t, vfs.NewMemory(), "/log", 1<<20)
			w := bubble(t, func(c *call.Call) call.Outcome {
				c.Reply.Begin(c.CorrelationID, false)
				c.Reply.AddFile(reply.FileRange{Src: f.source(after), LenBytes: 200_000})
				c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: 10})
				return call.Done
			}, nil)
			c := w.dial()
			write(t, c, request(1, 1, nil))
			wantClosed(t, c)
			synctest.Wait()
			if s := w.server.Stats(); s.CutTotal != 1 || f.refs.Load() != 0 {
				t.Errorf("cut %d, references left %d", s.CutTotal, f.refs.Load())
			}
		})
	}
}

// A file that ends before the range does must not leave the peer waiting.
func TestShortFileClosesTheConnection(t *testing.T) {
	f := newFiles(t, vfs.OS{}, t.TempDir(), 1000)
	w := serve(t, netx.OS{}, "127.0.0.1:0", func(c *call.Call) call.Outcome {
		c.Reply.Begin(c.CorrelationID, false)
		c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: 2000})
		return call.Done
	}, nil)
	c := w.dial()
	write(t, c, request(1, 1, nil))
	c.SetReadDeadline(time.Now().Add(time.Minute))
	_, err := io.Copy(io.Discard, c)
	if os.IsTimeout(err) {
		t.Fatal("the connection is still open")
	}
	w.server.Kill()
	if n := f.refs.Load(); n != 0 {
		t.Errorf("%d references are left", n)
	}
}

// Readers of one file do not wait for a slow one among them.
func TestSlowReaderOfTheSameFile(t *testing.T) {
	f := newFiles(t, vfs.OS{}, t.TempDir(), 16<<20)
	w := serve(t, netx.OS{}, "127.0.0.1:0", func(c *call.Call) call.Outcome {
		c.Reply.Begin(c.CorrelationID, false)
		c.Reply.AddFile(reply.FileRange{Src: f.source(0), LenBytes: len(f.content)})
		return call.Done
	}, nil)
	var slow []net.Conn
	for range 4 {
		c := w.dial()
		write(t, c, request(1, 1, nil))
		slow = append(slow, c)
	}
	for range 3 {
		c := w.dial()
		write(t, c, request(1, 1, nil))
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, b, err := read(c); err != nil || !bytes.Equal(b, f.content) {
			t.Fatalf("quick reader: %d bytes, %v", len(b), err)
		}
	}
	// And the slow ones get all of it in the end.
	for _, c := range slow {
		if _, b, err := read(c); err != nil || !bytes.Equal(b, f.content) {
			t.Fatalf("slow reader: %d bytes, %v", len(b), err)
		}
	}
}

// Whatever is gathered, copied or sent from its file, replies are whole.
func TestAnyMixtureOfSections(t *testing.T) {
	f := newFiles(t, vfs.OS{}, t.TempDir(), 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	wanted := make(chan []byte, 1)
	w := serve(t, netx.OS{}, "127.0.0.1:0", func(c *call.Call) call.Outcome {
		var want []byte
		c.Reply.Begin(c.CorrelationID, false)
		for range random.IntN(40) {
			b := f.content[:random.IntN(300)]
			if random.IntN(20) == 0 {
				b = f.content[:random.IntN(3*gatherBytes)]
			}
			c.Reply.Appender().Raw(b)
			pos, n := random.IntN(1<<19), random.IntN(2*smallSectionBytes)
			if random.IntN(10) == 0 {
				n = random.IntN(1 << 19)
			}
			c.Reply.AddFile(reply.FileRange{Src: f.source(0), PosBytes: int64(pos), LenBytes: n})
			want = append(append(want, b...), f.content[pos:pos+n]...)
		}
		wanted <- want
		return call.Done
	}, nil)
	c := w.dial()
	for i := range int32(200) {
		write(t, c, request(1, i, nil))
		got, b, err := read(c)
		want := <-wanted
		if err != nil || got != i || !bytes.Equal(b, want) {
			t.Fatalf("reply %d: %d bytes, want %d, %v", got, len(b), len(want), err)
		}
	}
	w.server.Kill()
	if n := f.refs.Load(); n != 0 {
		t.Errorf("%d references are left", n)
	}
}
