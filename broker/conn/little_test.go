// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

package conn

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// tcpPair gives both ends of a connection over loopback.
func tcpPair(t *testing.T) (*net.TCPConn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func littles(t *testing.T, c *net.TCPConn) (in, out *little) {
	t.Helper()
	raw := plain(c)
	in, out = &little{}, &little{}
	in.initRead(raw)
	out.initWrite(raw)
	return in, out
}

// Small writes fill the socket, wait for the peer, and arrive whole; so do
// small reads.
func TestLittleMovesAll(t *testing.T) {
	a, b := tcpPair(t)
	in, out := littles(t, a)
	// The peer sends back what it gets, but begins late.
	go func() {
		time.Sleep(20 * time.Millisecond)
		_, _ = io.Copy(b, b)
		_ = b.CloseWrite()
	}()
	random := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 16<<20)
	for i := range want {
		want[i] = byte(random.Uint32())
	}
	sent := make(chan error, 1)
	go func() {
		for left := want; len(left) > 0; {
			n := min(len(left), 1+random.IntN(littleBytesMax))
			if err := out.write(left[:n]); err != nil {
				sent <- err
				return
			}
			left = left[n:]
		}
		sent <- a.CloseWrite()
	}()
	var got []byte
	buf := make([]byte, smallBytes)
	for {
		n, err := in.read(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back of %d, or others", len(got), len(want))
	}
}

// Deadlines hold, also one that has passed before the call and one that is set
// while the call waits; and afterwards the socket goes on.
func TestLittleHoldsDeadlines(t *testing.T) {
	a, b := tcpPair(t)
	in, out := littles(t, a)
	buf := make([]byte, 8)
	_ = a.SetDeadline(time.Unix(1, 0))
	if _, err := in.read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read behind its deadline: %v", err)
	}
	if err := out.write(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write behind its deadline: %v", err)
	}
	_ = a.SetDeadline(time.Time{})
	go func() {
		time.Sleep(10 * time.Millisecond)
		_ = a.SetDeadline(time.Unix(1, 0))
	}()
	if _, err := in.read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read whose deadline comes: %v", err)
	}
	_ = a.SetDeadline(time.Now().Add(20 * time.Millisecond))
	var err error
	for err == nil {
		err = out.write(make([]byte, littleBytesMax)) // nobody reads
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write to a peer that does not read: %v", err)
	}
	_ = a.SetDeadline(time.Time{})
	if _, err := b.Write([]byte("on")); err != nil {
		t.Fatal(err)
	}
	if n, err := in.read(buf); n != 2 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestLittleTellsOfAPeerThatLeaves(t *testing.T) {
	a, b := tcpPair(t)
	in, out := littles(t, a)
	_ = b.SetLinger(0)
	_ = b.Close()
	buf := make([]byte, 8)
	if _, err := in.read(buf); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read behind a reset: %v", err)
	}
	if err := out.write(buf); err == nil {
		t.Error("a write behind a reset succeeds")
	}
	_ = a.Close()
	if _, err := in.read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed socket: %v", err)
	}
	if err := out.write(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write to a closed socket: %v", err)
	}
}
