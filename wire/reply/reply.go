// SPDX-License-Identifier: Apache-2.0

// Package reply holds one response on its way to a socket: bytes in memory and
// ranges of files, in the order in which they leave.
//
//	buf:   size header … partition 0 header | … partition 1 header | tail
//	                                        ▲                      ▲
//	files:                          range of a segment     range of a segment
//
// Encoders append to one buffer and never see a file; whoever reads the log
// adds the range where the buffer ends at that moment. The connection writes
// the parts with sendfile, or reads the ranges into memory where the socket
// cannot take a file (TLS, the memory network).
//
// A Reply belongs to one goroutine at a time: the handler that fills it, then
// the connection that writes it.
package reply

import (
	"iter"

	"gregor/wire/frame"
)

// Source is a file that ranges are read from; a referenced segment file
// implements it.
type Source interface {
	// ReadAt reads as io.ReaderAt does.
	ReadAt(p []byte, off int64) (int, error)
	// Fd gives the descriptor for sendfile; ok is false where there is none.
	Fd() (fd int, ok bool)
	// Intact is false once a truncation has cut into what was read: the
	// connection must be closed instead of sending what is there now.
	Intact() bool
	// Release gives the reference back. It is called exactly once.
	Release()
}

// FileRange is a piece of a file.
type FileRange struct {
	Src      Source
	PosBytes int64
	LenBytes int
}

type section struct {
	at   int // where in buf the range goes
	file FileRange
}

// Reply is one response. The zero value is ready for Begin; Reset makes it
// empty and keeps its memory.
//
// Invariant: between AddFile and Release or Reset the Reply owns one reference
// on the range's source.
type Reply struct {
	out       frame.Appender
	sections  []section
	fileBytes int
}

// Begin empties the reply and writes the size prefix and the response header.
func (r *Reply) Begin(correlationID int32, flexible bool) {
	r.Reset()
	r.out.Int32(0)
	r.out.ResponseHeader(correlationID, flexible)
}

// Appender is where encoders write. It is valid as long as the Reply is.
func (r *Reply) Appender() *frame.Appender { return &r.out }

// AddFile puts a range behind what has been written so far and takes over the
// caller's reference on its source. A range of no bytes is released at once.
func (r *Reply) AddFile(f FileRange) {
	if f.LenBytes <= 0 {
		if f.Src != nil {
			f.Src.Release()
		}
		return
	}
	r.sections = append(r.sections, section{at: len(r.out.B), file: f})
	r.fileBytes += f.LenBytes
}

// Finish writes the size prefix: the reply is complete. It may be called again
// after more was added.
func (r *Reply) Finish() { r.out.PutInt32(0, int32(r.Size()-frame.SizeBytes)) }

// Size is the number of bytes the reply puts on the wire, size prefix
// included.
func (r *Reply) Size() int { return len(r.out.B) + r.fileBytes }

// Bytes is all that is in memory: the whole reply where HasFiles is false.
func (r *Reply) Bytes() []byte { return r.out.B }

// HasFiles reports whether any part comes from a file.
func (r *Reply) HasFiles() bool { return len(r.sections) > 0 }

// Parts gives the parts in order: bytes, then the file range behind them. The
// last part may have no file (Src is nil), and any part may have no bytes.
func (r *Reply) Parts() iter.Seq2[[]byte, FileRange] {
	return func(yield func([]byte, FileRange) bool) {
		pos := 0
		for i := range r.sections {
			s := &r.sections[i]
			if !yield(r.out.B[pos:s.at], s.file) {
				return
			}
			pos = s.at
		}
		if pos < len(r.out.B) {
			yield(r.out.B[pos:], FileRange{})
		}
	}
}

// Release gives back the references on all sources. It may be called again.
func (r *Reply) Release() {
	for i := range r.sections {
		if src := r.sections[i].file.Src; src != nil {
			r.sections[i].file.Src = nil
			src.Release()
		}
	}
}

// Reset releases the sources and empties the reply; memory is kept for the
// next one.
func (r *Reply) Reset() {
	r.Release()
	clear(r.sections)
	r.sections = r.sections[:0]
	r.fileBytes = 0
	r.out.B = r.out.B[:0]
}

// Shrink drops the buffer if it has grown beyond bytesMax, so that one large
// response does not stay with an idle connection.
func (r *Reply) Shrink(bytesMax int) {
	if cap(r.out.B) > bytesMax {
		r.out.B = nil
	}
}
