// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"errors"

	"gregor/wire/compress"
	"gregor/wire/frame"
)

// keptBytes is the largest buffer that stays with a Validator between batches;
// larger ones are the caller's alone, so that idle connections hold none.
const keptBytes = 64 << 10

// errFull says that a rewritten batch passes max.message.bytes.
var errFull = errors.New("the batch is full")

// boundedWriter collects bytes up to a limit.
type boundedWriter struct {
	b        []byte
	bytesMax int
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	if len(w.b)+len(p) > w.bytesMax {
		return 0, errFull
	}
	w.b = append(w.b, p...)
	return len(p), nil
}

// rewrite makes a batch of b's records, already found to be valid, with the
// codec target and offsets counted anew. h becomes its header.
func (v *Validator) rewrite(b []byte, h *Header, target compress.Codec, rules *Rules) ([]byte, *Error) {
	if cap(v.out.b) < len(b) {
		v.out.b = make([]byte, 0, len(b))
	}
	v.out.b = append(v.out.b[:0], make([]byte, HeaderSize)...)
	v.out.bytesMax = rules.MessageBytesMax
	level := target.DefaultLevel()
	if target == rules.Codec {
		level = rules.Level
	}
	c := v.pool.Get()
	defer v.pool.Put(c)
	err := v.copyRecords(b, h, c, target, level)
	if errors.Is(err, errFull) {
		return nil, tooLarge(len(b), rules.MessageBytesMax)
	}
	if err != nil {
		return nil, invalid("%v", err)
	}
	h.Attributes = h.Attributes&(AttrTransactional|AttrLogAppendTime) | Attributes(target)
	putHeader(v.out.b, h)
	*h, _ = Parse(v.out.b)
	out := v.out.b
	if cap(out) > keptBytes {
		v.out.b = nil
	}
	return out, nil
}

func (v *Validator) copyRecords(b []byte, h *Header, c *compress.Coder, target compress.Codec, level int) error {
	if err := v.w.open(h, b, c, 0); err != nil {
		return err
	}
	defer v.w.release()
	out, err := c.Writer(target, level, &v.out)
	if err != nil {
		return err
	}
	v.w.sink = out
	var index int32
	var prefix [2 * fieldBytesMax]byte
	renumber := func(restBytes int64) error {
		// What a batch of LogAppendTime says of its records is one time for all.
		timestampDelta := h.timestamp(v.w.rec.timestampDelta) - h.BaseTimestampMs
		size := 1 + frame.VarlongSize(timestampDelta) + frame.VarintSize(index) + int(restBytes)
		p := frame.AppendVarint(prefix[:0], int32(size))
		p = append(p, 0)
		p = frame.AppendVarlong(p, timestampDelta)
		p = frame.AppendVarint(p, index)
		_, err := out.Write(p)
		return err
	}
	for ; index < h.Count; index++ {
		if err := v.w.next(renumber); err != nil {
			return err
		}
	}
	return out.Close()
}
