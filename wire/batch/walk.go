// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"errors"
	"fmt"
	"io"

	"gregor/wire/frame"
)

// errRecord is what a walker's findings about malformed records wrap; reading
// errors of a codec do not.
var errRecord = errors.New("invalid record")

// walkWindowBytes is how much decompressed data is in memory at a time.
const walkWindowBytes = 32 << 10

// fieldBytesMax is more than a record's fields take before its key.
const fieldBytesMax = 5 + 1 + 10 + 5

// walker goes through the records of a batch, field by field, and steps over
// keys and values. Uncompressed records are walked where they lie, without an
// allocation; compressed ones are streamed through a window, so that a batch
// of a few bytes that grows to gigabytes costs time but no memory.
//
//	src ──► window [0 … pos … end) ──► sink, while copying
//
// Invariant: done counts the bytes passed since the batch's first record.
type walker struct {
	window []byte
	pos    int
	end    int
	src    io.Reader // nil: the window is all there is
	srcErr error

	base      int64 // bytes passed before window[0]
	recordEnd int64 // where the current record must end

	// recordBytesMax bounds one record of a compressed batch; 0 is unbounded.
	recordBytesMax int64

	sink    io.Writer // where passed bytes go while copying
	copying bool

	rec walked // the record that next has walked over
}

// walked is what the walk learns of one record.
type walked struct {
	timestampDelta int64
	offsetDelta    int32
	hasKey         bool
}

// inMemory walks over all of b.
func (w *walker) inMemory(b []byte) {
	*w = walker{window: b, end: len(b)}
}

// stream walks over what src yields, through a window that is longer than fieldBytesMax.
func (w *walker) stream(src io.Reader, window []byte, recordBytesMax int64) {
	*w = walker{window: window, src: src, recordBytesMax: recordBytesMax}
}

func (w *walker) done() int64 { return w.base + int64(w.pos) }

// have makes n bytes available at pos and reports whether it could. n is at
// most fieldBytesMax.
func (w *walker) have(n int) bool {
	if w.end-w.pos >= n {
		return true
	}
	return w.fill(n)
}

// fill reads until n bytes are available, or nothing more comes.
func (w *walker) fill(n int) bool {
	if w.src == nil {
		return false
	}
	copy(w.window, w.window[w.pos:w.end])
	w.base += int64(w.pos)
	w.end -= w.pos
	w.pos = 0
	for w.end < n && w.srcErr == nil {
		var got int
		got, w.srcErr = w.src.Read(w.window[w.end:])
		w.end += got
	}
	return w.end >= n
}

// pass steps over n available bytes.
func (w *walker) pass(n int) error {
	if w.copying {
		if _, err := w.sink.Write(w.window[w.pos : w.pos+n]); err != nil {
			return err
		}
	}
	w.pos += n
	return nil
}

// short says why bytes are missing.
func (w *walker) short() error {
	if w.srcErr != nil && w.srcErr != io.EOF {
		return w.srcErr
	}
	return fmt.Errorf("%w: the batch ends within a record", errRecord)
}

// field makes the bytes of the record's next few fields available, as many as
// there are.
func (w *walker) field() []byte {
	w.have(fieldBytesMax)
	return w.window[w.pos:w.end]
}

func (w *walker) varint(what string) (int32, error) {
	b := w.window[w.pos:w.end]
	if len(b) < 5 {
		w.fill(5)
		b = w.window[w.pos:w.end]
	}
	v, n := frame.Varint(b)
	if n <= 0 {
		return 0, w.badVarint(what, len(b) < 5)
	}
	return v, w.pass(n)
}

func (w *walker) badVarint(what string, cut bool) error {
	if cut {
		return w.short()
	}
	return fmt.Errorf("%w: %s is not a varint", errRecord, what)
}

// skip steps over n bytes of the current record.
func (w *walker) skip(n int64) error {
	if n > w.recordEnd-w.done() {
		return fmt.Errorf("%w: a field of %d bytes is longer than its record", errRecord, n)
	}
	for n > 0 {
		if w.pos == w.end && !w.fill(1) {
			return w.short()
		}
		step := int(min(n, int64(w.end-w.pos)))
		if err := w.pass(step); err != nil {
			return err
		}
		n -= int64(step)
	}
	return nil
}

// next walks over one record. rewrite, when not nil, is called behind the
// offset delta with the number of bytes of the record that follow; those then
// go to the sink.
func (w *walker) next(rewrite func(restBytes int64) error) error {
	if rewrite == nil && w.quick() {
		return nil
	}
	size, err := w.varint("record length")
	if err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("%w: length %d", errRecord, size)
	}
	if w.recordBytesMax > 0 && int64(size) > w.recordBytesMax {
		return fmt.Errorf("%w: a record of %d bytes is longer than max.decompressed.message.bytes, %d", errRecord, size, w.recordBytesMax)
	}
	w.recordEnd = w.done() + int64(size)
	if w.src == nil && w.recordEnd > int64(w.end) {
		return w.short()
	}
	if err := w.prefix(); err != nil {
		return err
	}
	if rewrite != nil {
		if err := rewrite(w.recordEnd - w.done()); err != nil {
			return err
		}
		w.copying = true
	}
	err = w.body()
	w.copying = false
	return err
}

// prefix walks over attributes, timestamp delta and offset delta.
func (w *walker) prefix() error {
	b := w.field()
	if len(b) == 0 {
		return w.short()
	}
	n := 1 // attributes are unused
	var m int
	if w.rec.timestampDelta, m = frame.Varlong(b[n:]); m <= 0 {
		return w.badVarint("timestamp delta", len(b)-n < 10)
	}
	n += m
	if w.rec.offsetDelta, m = frame.Varint(b[n:]); m <= 0 {
		return w.badVarint("offset delta", len(b)-n < 5)
	}
	n += m
	if w.done()+int64(n) > w.recordEnd {
		return fmt.Errorf("%w: its fields are longer than it is", errRecord)
	}
	return w.pass(n)
}

// body walks over key, value and headers.
func (w *walker) body() error {
	n, err := w.varint("key length")
	if err != nil {
		return err
	}
	w.rec.hasKey = n >= 0
	if err := w.skip(int64(max(n, 0))); err != nil {
		return err
	}
	if n, err = w.varint("value length"); err != nil {
		return err
	}
	if err := w.skip(int64(max(n, 0))); err != nil {
		return err
	}
	if err := w.headers(); err != nil {
		return err
	}
	if w.done() != w.recordEnd {
		return fmt.Errorf("%w: it says to be %d bytes longer than its fields are", errRecord, w.recordEnd-w.done())
	}
	return nil
}

func (w *walker) headers() error {
	count, err := w.varint("header count")
	if err != nil {
		return err
	}
	if count < 0 || int64(count) > w.recordEnd-w.done() {
		return fmt.Errorf("%w: %d headers", errRecord, count)
	}
	for range count {
		n, err := w.varint("header key length")
		if err != nil {
			return err
		}
		if n < 0 {
			return fmt.Errorf("%w: a header key of length %d", errRecord, n)
		}
		if err := w.skip(int64(n)); err != nil {
			return err
		}
		if n, err = w.varint("header value length"); err != nil {
			return err
		}
		if err := w.skip(int64(max(n, 0))); err != nil {
			return err
		}
	}
	return nil
}

// finish checks that nothing follows the last record.
func (w *walker) finish() error {
	if w.have(1) {
		return fmt.Errorf("%w: bytes follow the last record", errRecord)
	}
	if w.srcErr != nil && w.srcErr != io.EOF {
		return w.srcErr
	}
	return nil
}

// timestamp is a record's own, or the batch's where that is the broker's.
func (h *Header) timestamp(delta int64) int64 {
	if h.Attributes.TimestampType() == LogAppendTime {
		return h.MaxTimestampMs
	}
	return h.BaseTimestampMs + delta
}

// outside reports whether a timestamp lies outside [now-before, now+after]. An
// age that overflows counts as the far future, as it does in Kafka.
func outside(timestampMs, nowMs, beforeMaxMs, afterMaxMs int64) bool {
	age := nowMs - timestampMs
	return age > beforeMaxMs || -age > afterMaxMs
}

// release drops references to the batch and to the decoder.
func (w *walker) release() { *w = walker{} }
