// SPDX-License-Identifier: Apache-2.0

// Package lines cuts text into records, as Kafka's console producer does: one
// a line, with headers and a key before the value where the options say so.
// It promises that no byte of a line is lost but its end and its separators,
// and that what it gives stays as it is: every block of input is read into
// memory of its own.
package lines

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"gregor/cmd/gregor/record"
)

// Options says what a line holds: headers, key and value, in this order. An
// empty separator means that the part is not there.
type Options struct {
	KeySeparator     string // between key and value
	HeadersSeparator string // between headers and what follows
	HeaderSeparator  string // between one header and the next, default ","
	HeaderKeySep     string // between a header's key and its value, default ":"

	// Null is the text that stands for null as a key, a value or a header's
	// value, if HasNull.
	Null    string
	HasNull bool

	// Lenient takes a line without a separator as a value alone.
	Lenient bool
	// StripCR takes a carriage return for part of the line end.
	StripCR bool
	// LineBytesMax bounds a line, 0 is 1 GiB.
	LineBytesMax int
}

const (
	blockBytes       = 256 << 10
	lineBytesDefault = 1 << 30
)

// Reader gives the records of a stream.
type Reader struct {
	in   io.Reader
	o    Options
	rest []byte // read, not yet given
	err  error  // of the last read
	line int64
}

// NewReader reads in.
func NewReader(in io.Reader, o Options) *Reader {
	if o.HeaderSeparator == "" {
		o.HeaderSeparator = ","
	}
	if o.HeaderKeySep == "" {
		o.HeaderKeySep = ":"
	}
	if o.LineBytesMax == 0 {
		o.LineBytesMax = lineBytesDefault
	}
	return &Reader{in: in, o: o}
}

// Line is the number of the line that was read last, from 1.
func (r *Reader) Line() int64 { return r.line }

// Next reads the next line into to; io.EOF ends it.
func (r *Reader) Next(to *record.Record) error {
	line, err := r.Raw()
	if err != nil {
		return err
	}
	return r.o.parse(line, to)
}

// Raw reads the next line without its end. The last one needs none.
func (r *Reader) Raw() ([]byte, error) {
	searched := 0
	for {
		if i := bytes.IndexByte(r.rest[searched:], '\n'); i >= 0 {
			line := r.rest[: searched+i : searched+i]
			r.rest = r.rest[searched+i+1:]
			return r.given(line), nil
		}
		searched = len(r.rest)
		if searched > r.o.LineBytesMax {
			r.line++
			return nil, fmt.Errorf("the line is longer than %d bytes", r.o.LineBytesMax)
		}
		if r.err != nil {
			if len(r.rest) > 0 && r.err == io.EOF {
				line := r.rest
				r.rest = nil
				return r.given(line), nil
			}
			return nil, r.err
		}
		r.fill()
	}
}

func (r *Reader) given(line []byte) []byte {
	r.line++
	if r.o.StripCR {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	return line
}

// fill reads on behind what is left of the block. Full blocks are left to the
// records that lie in them; a line that is longer makes the next one larger.
func (r *Reader) fill() {
	if cap(r.rest)-len(r.rest) < blockBytes/4 {
		block := make([]byte, len(r.rest), max(blockBytes, 2*len(r.rest)))
		copy(block, r.rest)
		r.rest = block
	}
	n, err := r.in.Read(r.rest[len(r.rest):cap(r.rest)])
	r.rest, r.err = r.rest[:len(r.rest)+n], err
}

var (
	errNoKey     = errors.New("there is no key separator")
	errNoHeaders = errors.New("there is no separator behind the headers")
)

// parse cuts one line.
func (o *Options) parse(line []byte, to *record.Record) error {
	to.Key, to.Headers = nil, nil
	if o.HeadersSeparator != "" {
		headers, rest, found := bytes.Cut(line, []byte(o.HeadersSeparator))
		switch {
		case found:
			var err error
			if to.Headers, err = o.headers(headers); err != nil {
				return err
			}
			line = rest
		case !o.Lenient:
			return errNoHeaders
		}
	}
	if o.KeySeparator != "" {
		key, rest, found := bytes.Cut(line, []byte(o.KeySeparator))
		switch {
		case found:
			to.Key, line = o.null(key[:len(key):len(key)]), rest
		case !o.Lenient:
			return errNoKey
		}
	}
	to.Value = o.null(line)
	return nil
}

func (o *Options) headers(text []byte) ([]record.Header, error) {
	if len(text) == 0 || o.HasNull && string(text) == o.Null {
		return nil, nil
	}
	var headers []record.Header
	for one := range bytes.SplitSeq(text, []byte(o.HeaderSeparator)) {
		key, value, found := bytes.Cut(one, []byte(o.HeaderKeySep))
		if !found && !o.Lenient {
			return nil, fmt.Errorf("header %q has no %q", one, o.HeaderKeySep)
		}
		h := record.Header{Key: key}
		if found {
			h.Value = o.null(value)
		}
		headers = append(headers, h)
	}
	return headers, nil
}

// null keeps empty and null apart: a part that is there is never nil unless
// it is the text for null.
func (o *Options) null(b []byte) []byte {
	switch {
	case o.HasNull && string(b) == o.Null:
		return nil
	case b == nil:
		return []byte{}
	}
	return b
}
