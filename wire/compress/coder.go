// SPDX-License-Identifier: Apache-2.0

package compress

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// zstdWindowBytesMax is what zstd itself accepts unless told otherwise.
	zstdWindowBytesMax = 128 << 20
	// zstdWindowBytesKept is the largest window whose memory stays with an idle
	// Coder.
	zstdWindowBytesKept = 8 << 20
	// growBytes is the first step in which output grows.
	growBytes = 16 << 10
)

// Coder compresses and decompresses. It keeps the machinery of each codec that
// it has met, so that the next use allocates little. The zero value is ready.
type Coder struct {
	src bytes.Reader

	gzipIn   *gzip.Reader
	lz4In    *lz4.Reader
	zstdIn   *zstd.Decoder
	snappyIn snappyReader
	plainIn  bytes.Reader

	out     appendWriter
	encoder encoders
	scratch []byte
}

// Scratch lends n bytes of memory that stay with the Coder, for as long as the
// caller has the Coder.
func (c *Coder) Scratch(n int) []byte {
	if cap(c.scratch) < n {
		c.scratch = make([]byte, n)
	}
	return c.scratch[:n]
}

// Reader streams what src decompresses to. It is valid until the next Reader
// or Decompress; a Writer may be open at the same time. All its errors but io.EOF wrap ErrCorrupt.
func (c *Coder) Reader(codec Codec, src []byte) (io.Reader, error) {
	c.src.Reset(src)
	switch codec {
	case None:
		c.plainIn.Reset(src)
		return &c.plainIn, nil
	case Gzip:
		return c.gzipReader()
	case Snappy:
		return &c.snappyIn, c.snappyIn.reset(src)
	case LZ4:
		return c.lz4Reader(src)
	case Zstd:
		return c.zstdReader(src)
	default:
		return nil, fmt.Errorf("%w %d", ErrCodec, codec)
	}
}

func (c *Coder) gzipReader() (io.Reader, error) {
	var err error
	if c.gzipIn == nil {
		c.gzipIn, err = gzip.NewReader(&c.src)
	} else {
		err = c.gzipIn.Reset(&c.src)
	}
	if err != nil {
		c.gzipIn = nil
		return nil, corrupt(Gzip, err)
	}
	return checked{Gzip, c.gzipIn}, nil
}

func (c *Coder) lz4Reader(src []byte) (io.Reader, error) {
	if err := CheckStart(LZ4, src); err != nil {
		return nil, err
	}
	if c.lz4In == nil {
		c.lz4In = lz4.NewReader(&c.src)
	} else {
		c.lz4In.Reset(&c.src)
	}
	return checked{LZ4, c.lz4In}, nil
}

func (c *Coder) zstdReader(src []byte) (io.Reader, error) {
	if c.zstdIn == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindowBytesMax))
		if err != nil {
			return nil, fmt.Errorf("make a zstd decoder: %w", err)
		}
		c.zstdIn = d
	}
	if err := c.zstdIn.Reset(&c.src); err != nil {
		return nil, corrupt(Zstd, err)
	}
	d := c.zstdIn
	if zstdWindow(src) > zstdWindowBytesKept {
		c.zstdIn = nil
	}
	return checked{Zstd, d}, nil
}

// zstdWindow is the memory that the first frame asks for.
func zstdWindow(src []byte) uint64 {
	var h zstd.Header
	if h.Decode(src) != nil {
		return 0
	}
	return max(h.WindowSize, h.FrameContentSize*b2u(h.SingleSegment))
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// Decompress appends to dst what src decompresses to; more than limitBytes of
// it is ErrTooLarge. dst grows with what is decoded, not with what src claims.
func (c *Coder) Decompress(dst []byte, codec Codec, src []byte, limitBytes int) ([]byte, error) {
	r, err := c.Reader(codec, src)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	for {
		room := limitBytes - (len(dst) - start)
		if len(dst) == cap(dst) {
			dst = append(dst, make([]byte, min(max(len(dst), growBytes), room+1))...)[:len(dst)]
		}
		// One byte more than allowed tells the end from too much.
		free := dst[len(dst):min(cap(dst), len(dst)+room+1)]
		n, err := r.Read(free)
		dst = dst[:len(dst)+n]
		if n > room {
			return dst[:start], fmt.Errorf("%s, %d bytes: %w", codec, limitBytes, ErrTooLarge)
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst[:start], err
		}
	}
}

// forget drops references to the caller's bytes.
func (c *Coder) forget() {
	c.src.Reset(nil)
	c.plainIn.Reset(nil)
	c.snappyIn.src = nil
	c.out.b = nil
}

// emptyReadsMax is how often a codec may read nothing without an error.
const emptyReadsMax = 100

// checked makes a codec's errors ErrCorrupt: the input is in memory, so
// nothing else can be wrong. A Read gives bytes or an error.
type checked struct {
	codec Codec
	r     io.Reader
}

func (c checked) Read(p []byte) (int, error) {
	n, err := 0, error(nil)
	for tries := 0; n == 0 && err == nil && len(p) > 0; tries++ {
		if tries == emptyReadsMax {
			err = io.ErrNoProgress
			break
		}
		n, err = c.r.Read(p)
	}
	if err != nil && err != io.EOF {
		err = corrupt(c.codec, err)
	}
	return n, err
}

func corrupt(codec Codec, err error) error {
	return fmt.Errorf("%s: %w: %w", codec, ErrCorrupt, err)
}
