// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"testing"

	"gregor/base/kafka"
	"gregor/wire/compress"
	"gregor/wire/frame"
)

// recordErrorsMax is how many records the tests' errors may name.
const recordErrorsMax = 10_000

// refusal runs one spoiled batch through both modes, for each codec, and wants
// the same code from both.
func refusal(t *testing.T, want kafka.Code, version int16, spoil func(c *candidate, r *Rules)) {
	t.Helper()
	v := NewValidator(&compress.Pool{}, recordErrorsMax)
	for _, codec := range codecs {
		if codec == compress.Zstd && version < zstdFrom && want != kafka.UnsupportedCompressionType {
			continue
		}
		for _, strict := range []bool{false, true} {
			c, r := good(codec), standard()
			r.Strict = strict
			spoil(&c, &r)
			_, _, err := v.Client(c.encode(t), &r, version, now)
			if got, _ := kafka.CodeOf(err); got != want {
				t.Errorf("%s, strict %v: %v, want %v (%v)", codec, strict, got, want, err)
			}
		}
	}
}

func TestPoint12OneBatchOfMagic2(t *testing.T) {
	refusal(t, kafka.InvalidRecord, 3, func(c *candidate, _ *Rules) { c.behind = good(compress.None).encode(t) })
	refusal(t, kafka.InvalidRecord, 3, func(c *candidate, _ *Rules) { c.h.Magic = 1 })
	refusal(t, kafka.InvalidRecord, 3, func(c *candidate, _ *Rules) { c.h.Magic = 0 })
	refusal(t, kafka.None, 13, func(*candidate, *Rules) {})
	v, r := NewValidator(&compress.Pool{}, recordErrorsMax), standard()
	for _, b := range [][]byte{nil, {}, make([]byte, 5)} {
		if _, _, err := v.Client(b, &r, 13, now); !errors.Is(err, kafka.InvalidRecord) {
			t.Errorf("no batch in %d bytes: %v", len(b), err)
		}
	}
}

func TestPoint12ZstdNeedsVersion7(t *testing.T) {
	v, r := NewValidator(&compress.Pool{}, recordErrorsMax), standard()
	for version := int16(3); version <= 13; version++ {
		_, _, err := v.Client(good(compress.Zstd).encode(t), &r, version, now)
		if refused := errors.Is(err, kafka.UnsupportedCompressionType); refused != (version < 7) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestUnknownCodecIsRefused(t *testing.T) {
	v, r := NewValidator(&compress.Pool{}, recordErrorsMax), standard()
	for codec := compress.Codec(5); codec < 8; codec++ {
		if _, _, err := v.Client(good(codec).encode(t), &r, 13, now); !errors.Is(err, kafka.UnsupportedCompressionType) {
			t.Errorf("codec %d: %v", codec, err)
		}
	}
}

func TestPoint13ControlCountRangeAndSequence(t *testing.T) {
	for name, spoil := range map[string]func(c *candidate, r *Rules){
		"control batch":     func(c *candidate, _ *Rules) { c.h.Attributes |= AttrControl },
		"count 0":           func(c *candidate, _ *Rules) { c.h.Count = 0 },
		"count negative":    func(c *candidate, _ *Rules) { c.h.Count = math.MinInt32 },
		"range above count": func(c *candidate, _ *Rules) { c.h.LastOffsetDelta = 3 },
		"range below count": func(c *candidate, _ *Rules) { c.h.LastOffsetDelta = 1 },
		"range negative":    func(c *candidate, _ *Rules) { c.h.LastOffsetDelta = math.MinInt32 },
		"range overflows":   func(c *candidate, _ *Rules) { c.h.LastOffsetDelta, c.h.Count = math.MaxInt32, math.MinInt32 },
		"sequence negative": func(c *candidate, _ *Rules) { c.h.ProducerID, c.h.ProducerEpoch = 4, 0 },
		"base offset not 0": func(c *candidate, _ *Rules) { c.h.BaseOffset = 1 },
	} {
		t.Run(name, func(t *testing.T) { refusal(t, kafka.InvalidRecord, 13, spoil) })
	}
}

func TestPoint14PayloadUntouchedUnlessTheCodecDiffers(t *testing.T) {
	v := NewValidator(&compress.Pool{}, recordErrorsMax)
	for _, codec := range codecs {
		for _, strict := range []bool{false, true} {
			for _, r := range []Rules{{KeepCodec: true}, {Codec: codec}} {
				r.Strict, r.AfterMaxMs, r.BeforeMaxMs, r.MessageBytesMax = strict, 1000, 1000, 10_000
				b := good(codec).encode(t)
				before := bytes.Clone(b)
				out, _, err := v.Client(b, &r, 13, now)
				if err != nil || !bytes.Equal(out, before) || &out[0] != &b[0] {
					t.Errorf("%s: changed (%v)", codec, err)
				}
			}
		}
	}
}

func TestPoint14RecompressionAtTheLevelAsked(t *testing.T) {
	v := NewValidator(&compress.Pool{}, recordErrorsMax)
	c := good(compress.None)
	c.records[1].value = []byte(text(200_000))
	plain := c.encode(t)
	sizes := map[compress.Codec][]int{}
	for _, codec := range []compress.Codec{compress.Gzip, compress.LZ4, compress.Zstd} {
		for _, level := range []int{1, 9} {
			r := standard()
			r.KeepCodec, r.Codec, r.Level = false, codec, level
			out, h, err := v.Client(bytes.Clone(plain), &r, 13, now)
			if err != nil || h.Attributes.Codec() != codec {
				t.Fatal(codec, err, h)
			}
			if _, recs := read(t, out); !bytes.Equal(recs[1].Value, c.records[1].value) {
				t.Fatalf("%s: the value changed", codec)
			}
			sizes[codec] = append(sizes[codec], len(out))
		}
		if s := sizes[codec]; s[1] >= s[0] || s[0] >= len(plain) {
			t.Errorf("%s: level 1 gives %d bytes, level 9 %d, of %d", codec, s[0], s[1], len(plain))
		}
	}
}

func TestPoint15LeaderEpochIsNotJudged(t *testing.T) {
	refusal(t, kafka.None, 13, func(c *candidate, _ *Rules) { c.h.LeaderEpoch = 0 })
	refusal(t, kafka.None, 13, func(c *candidate, _ *Rules) { c.h.LeaderEpoch = -1 })
	refusal(t, kafka.None, 13, func(c *candidate, _ *Rules) { c.h.LeaderEpoch = 1 << 30 })
}

func TestPoint15LogAppendTimeIsTheBrokersClock(t *testing.T) {
	v := NewValidator(&compress.Pool{}, recordErrorsMax)
	for _, codec := range codecs {
		r := standard()
		r.TimestampType = LogAppendTime
		out, h, err := v.Client(good(codec).encode(t), &r, 13, now+5)
		if err != nil {
			t.Fatal(err)
		}
		_, recs := read(t, out)
		if h.MaxTimestampMs != now+5 || h.Attributes.TimestampType() != LogAppendTime || recs[0].Timestamp != now+5 {
			t.Errorf("%s: %+v", codec, h)
		}
	}
}

func TestPoint16KeylessRecordOnCompactedTopic(t *testing.T) {
	v := NewValidator(&compress.Pool{}, recordErrorsMax)
	for _, codec := range codecs {
		c, r := good(codec), standard()
		r.Compacted = true
		c.records[0].key, c.records[2].key = nil, nil
		_, _, err := v.Client(c.encode(t), &r, 13, now)
		var e *Error
		if !errors.As(err, &e) || e.Code != kafka.InvalidRecord || len(e.Records) != 2 ||
			e.Records[0].BatchIndex != 0 || e.Records[1].BatchIndex != 2 || e.Records[0].Message == "" {
			t.Errorf("%s: %+v", codec, err)
		}
	}
}

func TestPoint17TimestampWindowNamesTheRecords(t *testing.T) {
	v := NewValidator(&compress.Pool{}, recordErrorsMax)
	for _, codec := range codecs {
		for _, strict := range []bool{false, true} {
			c, r := good(codec), standard()
			r.Strict = strict
			c.records[1].timestamp, c.h.MaxTimestampMs = 3_600_101, now+3_600_001
			_, _, err := v.Client(c.encode(t), &r, 13, now)
			var e *Error
			if !errors.As(err, &e) || e.Code != kafka.InvalidTimestamp || len(e.Records) != 1 || e.Records[0].BatchIndex != 1 {
				t.Errorf("%s, strict %v: %+v", codec, strict, err)
			}
			if _, _, err := v.Client(c.encode(t), &r, 13, now+1); err != nil {
				t.Errorf("%s, strict %v, a millisecond later: %v", codec, strict, err)
			}
		}
	}
	refusal(t, kafka.None, 13, func(c *candidate, r *Rules) {
		r.BeforeMaxMs, r.AfterMaxMs = 0, 0
		c.h.BaseTimestampMs, c.h.MaxTimestampMs = -1, -1
		for i := range c.records {
			c.records[i].timestamp = 0
		}
	})
}

func TestPoint18SizeAndCRC(t *testing.T) {
	refusal(t, kafka.MessageTooLarge, 13, func(_ *candidate, r *Rules) { r.MessageBytesMax = 90 })
	refusal(t, kafka.CorruptMessage, 13, func(c *candidate, _ *Rules) { c.crc = true })
	refusal(t, kafka.MessageTooLarge, 13, func(c *candidate, r *Rules) {
		c.crc = true
		r.MessageBytesMax = 90
	})
	c := good(compress.None)
	r := standard()
	b := c.encode(t)
	r.MessageBytesMax = len(b)
	if _, _, err := NewValidator(&compress.Pool{}, recordErrorsMax).Client(b, &r, 13, now); err != nil {
		t.Errorf("a batch of just the limit: %v", err)
	}
}

func TestPoint18SizeAfterRecompression(t *testing.T) {
	c := good(compress.Zstd)
	c.records[1].value = make([]byte, 50_000)
	r := standard()
	r.KeepCodec, r.Codec, r.MessageBytesMax = false, compress.None, 40_000
	if _, _, err := NewValidator(&compress.Pool{}, recordErrorsMax).Client(c.encode(t), &r, 13, now); !errors.Is(err, kafka.MessageTooLarge) {
		t.Error(err)
	}
}

// TestBombCostsNoMemory sends batches that grow a hundredfold and more.
func TestBombCostsNoMemory(t *testing.T) {
	const grown = 128 << 20
	for _, codec := range []compress.Codec{compress.Gzip, compress.LZ4, compress.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			c := good(codec)
			c.payload = bomb(t, codec, grown)
			b := c.encode(t)
			v, r := NewValidator(&compress.Pool{}, recordErrorsMax), standard()
			r.Strict, r.MessageBytesMax = true, len(b)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := v.Client(b, &r, 13, now)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, kafka.InvalidRecord) {
				t.Fatal(err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
				t.Errorf("%d bytes that claim %d cost %d bytes of memory", len(b), grown, used)
			}
			r.RecordBytesMax = 1 << 20
			if _, _, err := v.Client(b, &r, 13, now); !errors.Is(err, kafka.InvalidRecord) {
				t.Fatal(err)
			}
		})
	}
}

// bomb is one record that claims and holds n bytes, with something wrong at
// the end.
func bomb(t *testing.T, codec compress.Codec, n int) []byte {
	var out boundedWriter
	out.bytesMax = 64 << 20
	w, err := (&compress.Coder{}).Writer(codec, codec.DefaultLevel(), &out)
	if err != nil {
		t.Fatal(err)
	}
	size := int32(n)
	head := raw{size: &size, value: nil}.append(nil)
	head = head[:len(head)-2] // up to the value length
	value := make([]byte, 1<<20)
	head = append(head, appendLength(n-100)...)
	if _, err := w.Write(head); err != nil {
		t.Fatal(err)
	}
	for range n / len(value) {
		if _, err := w.Write(value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.b
}

func appendLength(n int) []byte { return frame.AppendVarint(nil, int32(n)) }

// text is n bytes that compress as prose does.
func text(n int) string {
	words := []string{"the ", "log ", "is ", "ordered ", "and ", "kept ", "for ", "ever ", "by ", "offset ", "record ", "batch "}
	var b bytes.Buffer
	for i, x := 0, uint32(1); b.Len() < n; i++ {
		x = x*1664525 + 1013904223
		b.WriteString(words[(x>>16)%uint32(len(words))])
	}
	return b.String()[:n]
}
