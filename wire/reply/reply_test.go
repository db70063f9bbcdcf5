// SPDX-License-Identifier: Apache-2.0

package reply

import (
	"bytes"
	"fmt"
	"testing"

	"gregor/wire/frame"
)

// source counts references.
type source struct {
	data     []byte
	released int
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.data).ReadAt(p, off)
}
func (s *source) Fd() (int, bool) { return 0, false }
func (s *source) Intact() bool    { return true }
func (s *source) Release()        { s.released++ }

// parts writes a reply down: bytes as they are, files as <pos+len>.
func parts(r *Reply) string {
	var out []byte
	for b, f := range r.Parts() {
		out = append(out, b...)
		if f.Src != nil {
			out = fmt.Appendf(out, "<%d+%d>", f.PosBytes, f.LenBytes)
		}
	}
	return string(out)
}

func TestPartsLeaveInOrder(t *testing.T) {
	src := &source{}
	for _, c := range []struct {
		fill  func(r *Reply)
		want  string
		size  int
		files bool
	}{
		{func(*Reply) {}, "", 0, false},
		{func(r *Reply) { r.Appender().Raw([]byte("ab")) }, "ab", 2, false},
		{func(r *Reply) {
			r.Appender().Raw([]byte("ab"))
			r.AddFile(FileRange{src, 7, 100})
			r.AddFile(FileRange{src, 9, 0}) // nothing: no part
			r.AddFile(FileRange{src, 500, 20})
			r.Appender().Raw([]byte("cd"))
		}, "ab<7+100><500+20>cd", 124, true},
		{func(r *Reply) { r.AddFile(FileRange{src, 1, 2}) }, "<1+2>", 2, true},
	} {
		var r Reply
		c.fill(&r)
		if got := parts(&r); got != c.want || r.Size() != c.size || r.HasFiles() != c.files {
			t.Errorf("%q, %d bytes, files %v; want %q, %d, %v", got, r.Size(), r.HasFiles(), c.want, c.size, c.files)
		}
	}
}

func TestBeginAndFinishFrameTheReply(t *testing.T) {
	src := &source{}
	var r Reply
	for _, flexible := range []bool{false, true} {
		r.Begin(0x01020304, flexible)
		r.Appender().Raw([]byte("body"))
		r.AddFile(FileRange{src, 0, 1000})
		r.Finish()
		want := []byte{0, 0, 0x03, 0xf0, 1, 2, 3, 4}
		if flexible {
			want = []byte{0, 0, 0x03, 0xf1, 1, 2, 3, 4, 0}
		}
		if !bytes.Equal(r.Bytes(), append(want, "body"...)) || int(frame.Size(r.Bytes())) != r.Size()-frame.SizeBytes {
			t.Errorf("flexible %v: % x", flexible, r.Bytes())
		}
	}
	r.Reset()
	if src.released != 2 || r.Size() != 0 || r.HasFiles() {
		t.Errorf("%d references given back, %d bytes left", src.released, r.Size())
	}
}

func TestEveryReferenceIsGivenBackOnce(t *testing.T) {
	src := &source{}
	var r Reply
	for range 3 {
		r.AddFile(FileRange{src, 0, 10})
	}
	r.AddFile(FileRange{src, 0, 0})
	r.AddFile(FileRange{})
	if src.released != 1 {
		t.Fatalf("an empty range: %d", src.released)
	}
	r.Release()
	r.Release()
	r.Reset()
	if src.released != 4 {
		t.Fatalf("%d references given back, want 4", src.released)
	}
}

func TestShrinkDropsAGrownBuffer(t *testing.T) {
	var r Reply
	r.Appender().Raw(make([]byte, 100_000))
	r.Reset()
	r.Shrink(1 << 20)
	if cap(r.Bytes()) < 100_000 {
		t.Error("a buffer within bounds was dropped")
	}
	r.Shrink(1000)
	if cap(r.Bytes()) != 0 {
		t.Error("a grown buffer was kept")
	}
}
