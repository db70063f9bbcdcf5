// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// limitTimeout bounds one limit.
const limitTimeout = 2 * time.Minute

// LimitOptions say how much each limit moves.
type LimitOptions struct {
	Executable string        // this program, to be run as a peer
	Dir        string        // on the file system to be measured
	Bytes      int64         // each stream; default 2 GB
	Duration   time.Duration // each limit that counts operations; default 1 s
	Only       string        // the name of one limit, or its beginning; "" is all
}

// limit is one row: what it is called and how it is measured.
type limit struct {
	name    string
	measure func(ctx context.Context, o LimitOptions) (*Result, error)
}

// The names of the limits that a broker, or the load, is held against.
const (
	LimitTCPToFile = "TCP -> file, 1 MiB pieces"
	LimitFileToTCP = "file -> TCP by sendfile, one stream"
	// LimitAskedFile has the shape of a consumer: nothing moves between one
	// request's last byte and the next request, and the sender wakes the
	// receiver each time.
	LimitAskedFile   = "file -> TCP by sendfile, 6 MiB a request"
	LimitNullProduce = "raw produce -> null broker"
	LimitNullFetch   = "raw consume <- null broker"
)

var limits = []limit{
	{"memcpy, 1 MiB blocks", measureMemcpy},
	{"CRC32C, 1 MiB blocks", measureCRC},
	{"TCP -> discard", streamTo(peerDiscard, 256<<10)},
	{"TCP -> file, 256 KiB pieces", streamTo(peerFile, 256<<10)},
	{LimitTCPToFile, streamTo(peerFile, 1<<20)},
	{"TCP -> file, 16 KiB pieces", streamTo(peerFile, 16<<10)},
	{LimitFileToTCP, streamFrom(0)},
	{LimitAskedFile, streamFrom(6 << 20)},
	{"TCP round trip of 100 bytes", pingPong},
	{"4 KiB append + fdatasync, 1 file", appendSync(1, false)},
	{"4 KiB append + fdatasync, 8 files", appendSync(8, false)},
	{"4 KiB write + fdatasync, 1 file, preallocated", appendSync(1, true)},
	{"4 KiB write + fdatasync, 8 files, preallocated", appendSync(8, true)},
	{LimitNullProduce, nullProduce},
	{LimitNullFetch, nullFetch},
}

// Limits measures what the machine allows. The broker column is the peer that
// stands where a broker would stand.
func Limits(ctx context.Context, o LimitOptions, each func(*Result)) error {
	setDefault(&o.Bytes, 2e9)
	setDefault(&o.Duration, time.Second)
	dir, err := os.MkdirTemp(o.Dir, "gregor-limits-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	o.Dir = dir
	found := false
	for _, l := range limits {
		if len(o.Only) > len(l.name) || l.name[:len(o.Only)] != o.Only {
			continue
		}
		found = true
		r, err := l.measure(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		r.Name = l.name
		each(r.finish())
	}
	if !found {
		return fmt.Errorf("no limit is called %q", o.Only)
	}
	return nil
}

// inProcess measures work of this process: the client column is its CPU.
func inProcess(work func() (operations, bytes int64, err error)) (*Result, error) {
	before, err := readGauge(0)
	if err != nil {
		return nil, err
	}
	operations, bytes, err := work()
	if err != nil {
		return nil, err
	}
	after, err := readGauge(0)
	return after.since(before, &Result{Operations: operations, Bytes: bytes}), err
}

const limitBlockBytes = 1 << 20

func measureMemcpy(_ context.Context, o LimitOptions) (*Result, error) {
	// Enough blocks that the copy does not stay within the caches.
	from, to := make([]byte, 64*limitBlockBytes), make([]byte, 64*limitBlockBytes)
	payload(from, 1)
	copy(to, from)
	return inProcess(func() (operations, bytes int64, err error) {
		for ; bytes < 2*o.Bytes; bytes += limitBlockBytes {
			at := operations % 64 * limitBlockBytes
			copy(to[at:at+limitBlockBytes], from[at:at+limitBlockBytes])
			operations++
		}
		return operations, bytes, nil
	})
}

func measureCRC(_ context.Context, o LimitOptions) (*Result, error) {
	block := make([]byte, 64*limitBlockBytes)
	payload(block, 1)
	return inProcess(func() (operations, bytes int64, err error) {
		sum := uint32(0)
		for ; bytes < 2*o.Bytes; bytes += limitBlockBytes {
			at := operations % 64 * limitBlockBytes
			sum ^= crc32.Checksum(block[at:at+limitBlockBytes], castagnoli)
			operations++
		}
		if sum == 1 { // the sum has to be used
			return 0, 0, errFormat
		}
		return operations, bytes, nil
	})
}

// withPeer runs work against a peer and measures both.
func withPeer(ctx context.Context, o LimitOptions, p Peer, work func(address string) (*Result, error)) (*Result, error) {
	p.Dir = o.Dir
	peer, err := startPeer(ctx, o.Executable, p)
	if err != nil {
		return nil, err
	}
	before, err := readGauge(peer.pid)
	if err != nil {
		return nil, errors.Join(err, peer.stop())
	}
	r, err := work(peer.address)
	if err != nil {
		return nil, errors.Join(err, peer.stop())
	}
	after, err := readGauge(peer.pid)
	return after.since(before, r), errors.Join(err, peer.stop())
}

func streamTo(mode string, pieceBytes int) func(context.Context, LimitOptions) (*Result, error) {
	return func(ctx context.Context, o LimitOptions) (*Result, error) {
		block := make([]byte, limitBlockBytes)
		payload(block, 1)
		return withPeer(ctx, o, Peer{Mode: mode, PieceBytes: pieceBytes}, func(address string) (*Result, error) {
			conn, err := dialPeer(ctx, address)
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			r := &Result{}
			for r.Bytes < o.Bytes {
				if _, err := conn.Write(block); err != nil {
					return nil, err
				}
				r.Bytes += limitBlockBytes
			}
			if err := conn.CloseWrite(); err != nil {
				return nil, err
			}
			_, err = io.ReadFull(conn, block[:1])
			return r, err
		})
	}
}

// streamFrom receives from a file, in requests of a size; 0 asks once for all.
func streamFrom(requestBytes int64) func(context.Context, LimitOptions) (*Result, error) {
	return func(ctx context.Context, o LimitOptions) (*Result, error) {
		return withPeer(ctx, o, Peer{Mode: peerSendfile}, func(address string) (*Result, error) {
			conn, err := dialPeer(ctx, address)
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			piece := make([]byte, drainBytes)
			r := &Result{}
			for r.Bytes < o.Bytes {
				left := o.Bytes - r.Bytes
				if requestBytes > 0 {
					left = min(left, requestBytes)
				}
				if err := binary.Write(conn, binary.BigEndian, left); err != nil {
					return nil, err
				}
				for left > 0 {
					n, err := conn.Read(piece)
					if err != nil {
						return nil, err
					}
					left -= int64(n)
					r.Bytes += int64(n)
				}
			}
			return r, nil
		})
	}
}

func pingPong(ctx context.Context, o LimitOptions) (*Result, error) {
	return withPeer(ctx, o, Peer{Mode: peerEcho}, func(address string) (*Result, error) {
		conn, err := dialPeer(ctx, address)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		message, latency := make([]byte, echoBytes), newHistogram()
		r := &Result{}
		for began := time.Now(); time.Since(began) < o.Duration; r.Operations++ {
			sent := time.Now()
			if _, err := conn.Write(message); err != nil {
				return nil, err
			}
			if _, err := io.ReadFull(conn, message); err != nil {
				return nil, err
			}
			record(latency, time.Since(sent).Microseconds())
		}
		r.Latency = summarize(latency)
		return r, nil
	})
}

const (
	syncWriteBytes = 4 << 10
	// syncFileBytes is what a preallocated file holds.
	syncFileBytes = 64 << 20
)

func appendSync(files int, preallocated bool) func(context.Context, LimitOptions) (*Result, error) {
	return func(ctx context.Context, o LimitOptions) (*Result, error) {
		all := make([]*os.File, files)
		for i := range all {
			name := filepath.Join(o.Dir, fmt.Sprintf("sync-%d", i))
			file, err := os.Create(name)
			if err != nil {
				return nil, err
			}
			defer os.Remove(name)
			defer file.Close()
			if preallocated {
				if err := preallocate(file, syncFileBytes); err != nil {
					return nil, err
				}
			}
			if err := file.Sync(); err != nil {
				return nil, err
			}
			all[i] = file
		}
		latency := make([]*hdrhistogram.Histogram, files)
		r, err := inProcess(func() (operations, bytes int64, err error) {
			errs, counts := make([]error, files), make([]int64, files)
			var wait sync.WaitGroup
			for i, file := range all {
				latency[i] = newHistogram()
				wait.Go(func() { counts[i], errs[i] = syncLoop(ctx, file, o.Duration, latency[i]) })
			}
			wait.Wait()
			for _, n := range counts {
				operations += n
			}
			return operations, operations * syncWriteBytes, errors.Join(errs...)
		})
		if err != nil {
			return nil, err
		}
		for _, h := range latency[1:] {
			latency[0].Merge(h)
		}
		r.Latency = summarize(latency[0])
		return r, nil
	}
}

func syncLoop(ctx context.Context, file *os.File, duration time.Duration, latency *hdrhistogram.Histogram) (operations int64, err error) {
	block := make([]byte, syncWriteBytes)
	for began := time.Now(); time.Since(began) < duration && ctx.Err() == nil; operations++ {
		sent := time.Now()
		if _, err := file.WriteAt(block, operations*syncWriteBytes%syncFileBytes); err != nil {
			return operations, err
		}
		if err := dataSync(file); err != nil {
			return operations, err
		}
		record(latency, time.Since(sent).Microseconds())
	}
	return operations, nil
}

// nullTarget is a topic of six partitions at a null broker.
func nullTarget(address string) *target {
	t := &target{topic: "null"}
	for i := range int32(6) {
		t.partitions = append(t.partitions, partition{index: i, leader: address, end: 1 << 40})
	}
	return t
}

func nullOptions(o LimitOptions) (Options, error) {
	return Options{Records: o.Bytes / 1024}.prepare()
}

func nullProduce(ctx context.Context, o LimitOptions) (*Result, error) {
	load, err := nullOptions(o)
	if err != nil {
		return nil, err
	}
	return withPeer(ctx, o, Peer{Mode: peerNull}, func(address string) (*Result, error) {
		return produceTo(ctx, load, nullTarget(address))
	})
}

func nullFetch(ctx context.Context, o LimitOptions) (*Result, error) {
	load, err := nullOptions(o)
	if err != nil {
		return nil, err
	}
	return withPeer(ctx, o, Peer{Mode: peerNull}, func(address string) (*Result, error) {
		return fetchFrom(ctx, load, nullTarget(address))
	})
}
