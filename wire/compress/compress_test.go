// SPDX-License-Identifier: Apache-2.0

package compress

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

var all = []Codec{None, Gzip, Snappy, LZ4, Zstd}

const roomy = 16 << 20

func compressed(t testing.TB, c Codec, src []byte) []byte {
	out, err := (&Coder{}).Compress(nil, c, c.DefaultLevel(), src)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRoundTrip uses one Coder for all, behind bytes that must stay.
func TestRoundTrip(t *testing.T) {
	var c Coder
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(all).Draw(t, "codec")
		level := rapid.IntRange(-3, 30).Draw(t, "level")
		src := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "src"), rapid.SampledFrom([]int{0, 1, 7, 900}).Draw(t, "times"))
		out, err := c.Compress([]byte("kept"), codec, level, src)
		if err != nil || string(out[:4]) != "kept" {
			t.Fatal(err)
		}
		back, err := c.Decompress([]byte("too"), codec, out[4:], len(src))
		if err != nil || string(back[:3]) != "too" || !bytes.Equal(back[3:], src) {
			t.Fatalf("%s level %d: %d bytes became %d (%v)", codec, level, len(src), len(back)-3, err)
		}
		if len(src) == 0 {
			return
		}
		if got, err := c.Decompress([]byte("too"), codec, out[4:], len(src)-1); !errors.Is(err, ErrTooLarge) || string(got) != "too" {
			t.Fatalf("%s: one byte over the limit: %q %v", codec, got, err)
		}
	})
}

// kafkaText is what testdata/Compress.java compresses.
func kafkaText() []byte {
	text := make([]byte, 200_000)
	x := uint32(1)
	for i := range text {
		if i%64 == 0 {
			x = x*1664525 + 1013904223
		}
		text[i] = byte('a' + (x>>16+uint32(i%64/8))%26)
	}
	return text
}

func TestReadsWhatKafkasProducerWrites(t *testing.T) {
	var c Coder
	for _, codec := range all[1:] {
		b, err := os.ReadFile("testdata/kafka-4.4.0." + codec.String())
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Decompress(nil, codec, b, roomy)
		if err != nil || !bytes.Equal(got, kafkaText()) {
			t.Errorf("%s: %d bytes, %v", codec, len(got), err)
		}
	}
}

func TestReadsAndIsReadByFranzGo(t *testing.T) {
	var c Coder
	src := kafkaText()
	decompressor := kgo.DefaultDecompressor()
	for codec, flavour := range map[Codec]kgo.CompressionCodec{
		Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
	} {
		compressor, err := kgo.DefaultCompressor(flavour)
		if err != nil {
			t.Fatal(err)
		}
		theirs, id := compressor.Compress(new(bytes.Buffer), src)
		if Codec(id) != codec {
			t.Fatalf("%s: franz-go chose %d", codec, id)
		}
		if got, err := c.Decompress(nil, codec, theirs, roomy); err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s of theirs: %d bytes, %v", codec, len(got), err)
		}
		if got, err := decompressor.Decompress(compressed(t, codec, src), kgo.CompressionCodecType(codec)); err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s of ours: %d bytes, %v", codec, len(got), err)
		}
	}
}

func TestSnappyRawBlock(t *testing.T) {
	var c Coder
	src := kafkaText()
	got, err := c.Decompress(nil, Snappy, s2.EncodeSnappy(nil, src), roomy)
	if err != nil || !bytes.Equal(got, src) {
		t.Fatal(len(got), err)
	}
}

func TestSnappyIsWrittenInXerialBlocks(t *testing.T) {
	src := kafkaText()
	b := compressed(t, Snappy, src)
	if string(b[:8]) != xerialMagic || binary.BigEndian.Uint32(b[8:]) != 1 || binary.BigEndian.Uint32(b[12:]) != 1 {
		t.Fatalf("% x", b[:16])
	}
	blocks, first := 0, 0
	for pos := 16; pos < len(b); blocks++ {
		n := int(binary.BigEndian.Uint32(b[pos:]))
		plain, err := s2.DecodedLen(b[pos+4 : pos+4+n])
		if err != nil {
			t.Fatal(err)
		}
		if blocks == 0 {
			first = plain
		}
		pos += 4 + n
	}
	if blocks != (len(src)+xerialBlockBytes-1)/xerialBlockBytes || first != xerialBlockBytes {
		t.Fatalf("%d blocks, the first of %d bytes", blocks, first)
	}
}

func TestStreamsBehindOneAnother(t *testing.T) {
	var c Coder
	for _, codec := range []Codec{Gzip, Snappy, Zstd} {
		two := append(compressed(t, codec, []byte("one ")), compressed(t, codec, []byte("two"))...)
		if got, err := c.Decompress(nil, codec, two, roomy); err != nil || string(got) != "one two" {
			t.Errorf("%s: %q %v", codec, got, err)
		}
	}
}

func TestLZ4FrameAsKafkaReadsIt(t *testing.T) {
	b := compressed(t, LZ4, kafkaText())
	const version1IndependentNoChecksum, max64KiB = 0x60, 0x40
	if b[4] != version1IndependentNoChecksum || b[5] != max64KiB {
		t.Fatalf("flags %#x, block size %#x", b[4], b[5])
	}
	dependent := bytes.Clone(b)
	dependent[4] &^= 0x20
	var c Coder
	if _, err := c.Decompress(nil, LZ4, dependent, roomy); !errors.Is(err, ErrCorrupt) {
		t.Errorf("dependent blocks: %v", err)
	}
	// Other writers' choices: large blocks, checksums.
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block4Mb), lz4.ChecksumOption(true), lz4.BlockChecksumOption(true)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(kafkaText()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Decompress(nil, LZ4, out.Bytes(), roomy); err != nil || !bytes.Equal(got, kafkaText()) {
		t.Error(err)
	}
}

// CheckStart refuses nothing that a reader takes, and what no reader would.
func TestCheckStartIsNotStricterThanTheReader(t *testing.T) {
	skippable := append([]byte("\x53\x2a\x4d\x18\x03\x00\x00\x00abc"), compressed(t, Zstd, kafkaText())...)
	written := map[Codec][]byte{}
	for _, codec := range all {
		written[codec] = compressed(t, codec, kafkaText())
	}
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(all).Draw(t, "codec")
		b := bytes.Clone(written[codec])
		if codec == Zstd && rapid.Bool().Draw(t, "skippable") {
			b = bytes.Clone(skippable)
		}
		if rapid.Bool().Draw(t, "spoilt") {
			b[rapid.IntRange(0, min(9, len(b)-1)).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		}
		b = b[:rapid.IntRange(0, 12).Draw(t, "cut")+len(b)-12]
		start := CheckStart(codec, b)
		_, err := (&Coder{}).Decompress(nil, codec, b, roomy)
		if err == nil && start != nil {
			t.Fatalf("%s: the reader takes what is refused with %v", codec, start)
		}
	})
	for _, codec := range []Codec{Gzip, Snappy, LZ4, Zstd} {
		for _, b := range [][]byte{nil, kafkaText(), written[Snappy]} {
			if codec == Snappy && b != nil {
				continue
			}
			if err := CheckStart(codec, b); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s takes %q: %v", codec, b[:min(8, len(b))], err)
			}
		}
	}
}

func TestZstdFrameWithItsSize(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	var c Coder
	if got, err := c.Decompress(nil, Zstd, e.EncodeAll(kafkaText(), nil), roomy); err != nil || !bytes.Equal(got, kafkaText()) {
		t.Error(err)
	}
}

// TestACoderGoesOnAfterBadInput spoils input everywhere and then wants good
// input read and written.
func TestACoderGoesOnAfterBadInput(t *testing.T) {
	var c Coder
	src := kafkaText()[:5000]
	for _, codec := range all[1:] {
		good := compressed(t, codec, src)
		for cut := 0; cut < len(good); cut += 1 + len(good)/50 {
			if got, err := c.Decompress(nil, codec, good[:cut], roomy); err == nil && bytes.Equal(got, src) && codec != LZ4 && codec != Gzip {
				t.Errorf("%s cut at %d of %d reads whole", codec, cut, len(good))
			}
			bad := bytes.Clone(good)
			bad[cut] ^= 0x55
			if _, err := c.Decompress(nil, codec, bad, roomy); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", codec, err)
			}
			if got, err := c.Decompress(nil, codec, good, roomy); err != nil || !bytes.Equal(got, src) {
				t.Fatalf("%s after a fault at %d: %v", codec, cut, err)
			}
		}
		failing := &limited{left: 100}
		w, err := c.Writer(codec, codec.DefaultLevel(), failing)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(kafkaText())
		if e := w.Close(); err == nil {
			err = e
		}
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%s: a full target: %v", codec, err)
		}
		if out, err := c.Compress(nil, codec, codec.DefaultLevel(), src); err != nil || !bytes.Equal(out, good) {
			t.Errorf("%s after a full target: %v", codec, err)
		}
	}
}

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, io.ErrShortWrite
	}
	l.left -= len(p)
	return len(p), nil
}

// TestBombsCostTheLimit decompresses 256 MiB of nothing with a limit of 1 MiB.
func TestBombsCostTheLimit(t *testing.T) {
	for _, codec := range all[1:] {
		var sink appendWriter
		var c Coder
		w, err := c.Writer(codec, codec.DefaultLevel(), &sink)
		if err != nil {
			t.Fatal(err)
		}
		for range 256 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		c = Coder{}
		if used := allocated(func() {
			if _, err := c.Decompress(nil, codec, sink.b, 1<<20); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", codec, err)
			}
		}); used > 20<<20 {
			t.Errorf("%s: %d bytes allocated", codec, used)
		}
	}
}

// TestClaimsAreNotBelieved sends small inputs that claim to be large.
func TestClaimsAreNotBelieved(t *testing.T) {
	claims := map[string]struct {
		codec Codec
		b     []byte
	}{
		"a raw snappy block of 4 GiB":    {Snappy, append([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, "x"...)},
		"a xerial block of 2 GiB":        {Snappy, append([]byte(xerialMagic+"\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x06"), 0xff, 0xff, 0xff, 0xff, 0x07, 0)},
		"a xerial block length of 4 GiB": {Snappy, []byte(xerialMagic + "\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff")},
		"a zstd window of 2 GiB":         {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0, 0}},
		"a zstd segment of 4 GiB":        {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff, 0x01, 0, 0}},
	}
	for name, claim := range claims {
		var c Coder
		if used := allocated(func() {
			if _, err := c.Decompress(nil, claim.codec, claim.b, 1<<30); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
		}); used > 2<<20 {
			t.Errorf("%s: %d bytes allocated", name, used)
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestALargeZstdWindowDoesNotStay(t *testing.T) {
	e, err := zstd.NewWriter(nil, zstd.WithWindowSize(64<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	e.Reset(&out)
	if _, err := e.Write(kafkaText()); err != nil {
		t.Fatal(err)
	}
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var c Coder
	got, err := c.Decompress(nil, Zstd, out.Bytes(), roomy)
	if err != nil || !bytes.Equal(got, kafkaText()) {
		t.Fatal(err)
	}
	if c.zstdIn != nil {
		t.Error("a decoder with a window of 64 MiB is kept")
	}
}

func TestUnknownCodecs(t *testing.T) {
	var c Coder
	if _, err := c.Reader(5, nil); !errors.Is(err, ErrCodec) {
		t.Error(err)
	}
	if _, err := c.Writer(-1, 0, io.Discard); !errors.Is(err, ErrCodec) {
		t.Error(err)
	}
}

func TestPoolLendsACoderTwice(t *testing.T) {
	var p Pool
	src := kafkaText()
	for range 100 {
		c := p.Get()
		b, err := c.Compress(nil, Zstd, 3, src)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Decompress(nil, Zstd, b, roomy); err != nil || !bytes.Equal(got, src) {
			t.Fatal(err)
		}
		p.Put(c)
		if c.src.Size() != 0 || c.snappyIn.src != nil || c.out.b != nil {
			t.Fatal("the pool keeps a caller's bytes")
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, codec := range all[1:] {
		f.Add(int8(codec), compressed(f, codec, kafkaText()[:1000]))
		f.Add(int8(codec), compressed(f, codec, nil))
	}
	f.Add(int8(Snappy), s2.EncodeSnappy(nil, kafkaText()[:1000]))
	var c Coder
	f.Fuzz(func(t *testing.T, codec int8, b []byte) {
		const limit = 1 << 20
		out, err := c.Decompress(nil, Codec(codec), b, limit)
		if len(out) > limit || cap(out) > 4*limit {
			t.Fatalf("%d bytes came out, room for %d", len(out), cap(out))
		}
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCodec) {
			t.Fatalf("an error without a kind: %v", err)
		}
		if err == nil && codec > 0 {
			again, err := c.Compress(nil, Codec(codec), Codec(codec).DefaultLevel(), out)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := c.Decompress(nil, Codec(codec), again, limit); err != nil || !bytes.Equal(back, out) {
				t.Fatalf("does not come back: %v", err)
			}
		}
	})
}
