// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// A peer is the other end of a limit: a process of its own, so that its CPU
// can be told from the client's, that does as little as the kind of work
// allows. ServePeer is what that process runs.
const (
	peerDiscard  = "discard"  // reads and forgets
	peerFile     = "file"     // reads and appends to a file
	peerSendfile = "sendfile" // sends a cached file
	peerEcho     = "echo"     // answers each small message
	peerNull     = "null"     // answers Produce and Fetch, keeps nothing
)

const (
	echoBytes = 100
	// sourceBytes is the size of the cached file that sendfile reads.
	sourceBytes = 256 << 20
	// sendfileBytes is how much one call sends at most.
	sendfileBytes = 256 << 10
)

// Peer describes the work of a peer process.
type Peer struct {
	Mode       string
	Dir        string // for its files
	PieceBytes int    // of a read
}

// ServePeer listens on loopback, writes its address to ready, and serves until
// stop ends (the parent holds the other end of that pipe).
func ServePeer(ctx context.Context, p Peer, ready io.Writer, stop io.Reader) error {
	serve, err := p.handler()
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, stop)
		_ = listener.Close()
	}()
	fmt.Fprintln(ready, listener.Addr())
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			if err := serve(conn.(*net.TCPConn)); err != nil && !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, "bench peer:", err)
			}
		}()
	}
}

func (p Peer) handler() (func(*net.TCPConn) error, error) {
	setDefault(&p.PieceBytes, 256<<10)
	switch p.Mode {
	case peerDiscard:
		return p.discard, nil
	case peerFile:
		var files atomic.Int64
		return func(conn *net.TCPConn) error {
			return p.sink(conn, filepath.Join(p.Dir, fmt.Sprintf("sink-%d", files.Add(1))))
		}, nil
	case peerEcho:
		return echo, nil
	case peerSendfile:
		source, err := newSource(filepath.Join(p.Dir, "source"))
		return func(conn *net.TCPConn) error { return sendAsked(conn, source) }, err
	case peerNull:
		broker, err := newNullBroker(p.Dir)
		return broker.serve, err
	default:
		return nil, fmt.Errorf("unknown kind of peer %q", p.Mode)
	}
}

// discard reads to the end of the stream and answers with one byte, so that
// the sender knows when all has arrived.
func (p Peer) discard(conn *net.TCPConn) error {
	piece := make([]byte, p.PieceBytes)
	for {
		if _, err := conn.Read(piece); err != nil {
			return finishStream(conn, err)
		}
	}
}

func finishStream(conn *net.TCPConn, err error) error {
	if !errors.Is(err, io.EOF) {
		return err
	}
	_, err = conn.Write([]byte{1})
	return err
}

// sink appends what arrives to a file, a piece a write.
func (p Peer) sink(conn *net.TCPConn, name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer os.Remove(name)
	defer file.Close()
	piece := make([]byte, p.PieceBytes)
	for at := int64(0); ; {
		n, readErr := io.ReadFull(conn, piece)
		if _, err := file.WriteAt(piece[:n], at); err != nil {
			return err
		}
		at += int64(n)
		if readErr != nil {
			if errors.Is(readErr, io.ErrUnexpectedEOF) {
				readErr = io.EOF
			}
			return finishStream(conn, readErr)
		}
	}
}

func echo(conn *net.TCPConn) error {
	message := make([]byte, echoBytes)
	for {
		if _, err := io.ReadFull(conn, message); err != nil {
			return err
		}
		if _, err := conn.Write(message); err != nil {
			return err
		}
	}
}

// newSource makes a file that is in the page cache because it was just
// written.
func newSource(name string) (*os.File, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 1<<20)
	payload(block, 1)
	for at := int64(0); at < sourceBytes; at += int64(len(block)) {
		if _, err := file.WriteAt(block, at); err != nil {
			return nil, err
		}
	}
	return file, nil
}

// sendAsked sends as many bytes as each request asks for, going round the
// file, until there are no more requests.
func sendAsked(conn *net.TCPConn, source *os.File) error {
	at := int64(0)
	for {
		var wanted int64
		if err := binary.Read(conn, binary.BigEndian, &wanted); err != nil {
			return err
		}
		for wanted > 0 {
			n := min(wanted, sendfileBytes, sourceBytes-at)
			if err := sendFile(conn, source, at, int(n)); err != nil {
				return err
			}
			wanted -= n
			at = (at + n) % sourceBytes
		}
	}
}

// process is a running peer, seen from its parent.
type process struct {
	address string
	pid     int
	stop    func() error
}

// startPeer runs this same program as a peer.
func startPeer(ctx context.Context, executable string, p Peer) (*process, error) {
	command := exec.CommandContext(ctx, executable, "bench", "peer", "--mode", p.Mode, "--dir", p.Dir, "--piece", fmt.Sprint(p.PieceBytes))
	var complaints bytes.Buffer
	command.Stderr = &complaints
	hold, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	said, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		_ = hold.Close()
		return nil, fmt.Errorf("bench peer: %w: %s", errors.Join(err, command.Wait()), complaints.String())
	}
	return &process{address: strings.TrimSpace(address), pid: command.Process.Pid, stop: func() error {
		_ = hold.Close()
		return command.Wait()
	}}, nil
}

// dialPeer connects to a peer with a deadline for the whole measurement.
func dialPeer(ctx context.Context, address string) (*net.TCPConn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(limitTimeout))
	return conn.(*net.TCPConn), nil
}
