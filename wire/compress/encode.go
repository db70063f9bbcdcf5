// SPDX-License-Identifier: Apache-2.0

package compress

import (
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// zstdWindowBytes is the window of what is written: readers need memory of
// that size, and batches are rarely larger.
const zstdWindowBytes = 1 << 20

// encoders keeps one compressor per codec, for the level that was used last.
type encoders struct {
	gzip      *gzip.Writer
	gzipLevel int
	lz4       *lz4.Writer
	lz4Level  int
	zstd      *zstd.Encoder
	zstdLevel int
	snappy    xerialWriter
	plain     plainWriter
}

// Writer compresses what is written to it into w, until Close. It is valid
// until the next Writer or Compress. Levels outside the codec's range are brought
// into it.
func (c *Coder) Writer(codec Codec, level int, w io.Writer) (io.WriteCloser, error) {
	e := &c.encoder
	switch codec {
	case None:
		e.plain.w = w
		return &e.plain, nil
	case Gzip:
		return e.gzipWriter(level, w)
	case Snappy:
		e.snappy.reset(w)
		return &e.snappy, nil
	case LZ4:
		return e.lz4Writer(level, w)
	case Zstd:
		return e.zstdWriter(level, w)
	default:
		return nil, fmt.Errorf("%w %d", ErrCodec, codec)
	}
}

// Compress appends src, compressed, to dst.
func (c *Coder) Compress(dst []byte, codec Codec, level int, src []byte) ([]byte, error) {
	c.out.b = dst
	w, err := c.Writer(codec, level, &c.out)
	if err != nil {
		return dst, err
	}
	if _, err := w.Write(src); err != nil {
		return dst, fmt.Errorf("compress with %s: %w", codec, err)
	}
	if err := w.Close(); err != nil {
		return dst, fmt.Errorf("compress with %s: %w", codec, err)
	}
	out := c.out.b
	c.out.b = nil
	return out, nil
}

func (e *encoders) gzipWriter(level int, w io.Writer) (io.WriteCloser, error) {
	if level != gzip.DefaultCompression {
		level = min(max(level, gzip.BestSpeed), gzip.BestCompression)
	}
	if e.gzip == nil || e.gzipLevel != level {
		g, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, fmt.Errorf("make a gzip encoder: %w", err)
		}
		e.gzip, e.gzipLevel = g, level
		return g, nil
	}
	e.gzip.Reset(w)
	return e.gzip, nil
}

// lz4Writer writes frames as Kafka's own writer does: independent blocks of 64
// KiB and no checksum, which the batch's CRC makes needless.
func (e *encoders) lz4Writer(level int, w io.Writer) (io.WriteCloser, error) {
	level = min(max(level, 1), 9)
	if e.lz4 == nil || e.lz4Level != level {
		l := lz4.NewWriter(w)
		if err := l.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false),
			lz4.CompressionLevelOption(lz4.CompressionLevel(1<<(8+level)))); err != nil {
			return nil, fmt.Errorf("make an lz4 encoder: %w", err)
		}
		e.lz4, e.lz4Level = l, level
		return l, nil
	}
	e.lz4.Reset(w)
	return e.lz4, nil
}

func (e *encoders) zstdWriter(level int, w io.Writer) (io.WriteCloser, error) {
	if e.zstd == nil || e.zstdLevel != level {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithWindowSize(zstdWindowBytes),
			zstd.WithZeroFrames(true))
		if err != nil {
			return nil, fmt.Errorf("make a zstd encoder: %w", err)
		}
		e.zstd, e.zstdLevel = z, level
		return z, nil
	}
	e.zstd.Reset(w)
	return e.zstd, nil
}

// appendWriter writes to the end of a slice.
type appendWriter struct{ b []byte }

func (a *appendWriter) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// plainWriter passes bytes on as they are.
type plainWriter struct{ w io.Writer }

func (p *plainWriter) Write(b []byte) (int, error) { return p.w.Write(b) }

func (p *plainWriter) Close() error { return nil }
