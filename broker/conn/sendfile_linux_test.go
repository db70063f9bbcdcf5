// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"bytes"
	"os"
	"testing"
	"time"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/broker/call"
	"gregor/wire/reply"
)

// oddFile reads like a file, but sendfile(2) refuses its descriptor, as it
// does on some file systems.
type oddFile struct {
	*source
	fd int
}

func (f oddFile) Fd() (int, bool) { return f.fd, true }

func TestFileThatSendfileRefusesIsCopied(t *testing.T) {
	odd, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer odd.Close()
	f := newFiles(t, vfs.NewMemory(), "/log", 200_000)
	w := serve(t, netx.OS{}, "127.0.0.1:0", func(c *call.Call) call.Outcome {
		c.Reply.Begin(c.CorrelationID, false)
		src := oddFile{f.source(0).(*source), int(odd.Fd())}
		c.Reply.AddFile(reply.FileRange{Src: src, LenBytes: len(f.content)})
		return call.Done
	}, nil)
	c := w.dial()
	for i := range int32(2) {
		write(t, c, request(1, i, nil))
		c.SetReadDeadline(time.Now().Add(time.Minute))
		got, b, err := read(c)
		if err != nil || got != i || !bytes.Equal(b, f.content) {
			t.Fatalf("reply %d: %d bytes, %v", got, len(b), err)
		}
	}
	if n := w.server.Stats().SendfileBytesTotal; n != 0 {
		t.Errorf("%d bytes went by sendfile", n)
	}
}
