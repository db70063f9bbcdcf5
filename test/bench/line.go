// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// line is one connection on which any number of clients ask at the same time.
// A request is encoded by who asks; what several ask at once leaves in one write.
type line struct {
	conn   *net.TCPConn
	out    chan []byte
	ended  chan struct{} // closed when the connection is over, err says why
	format *kmsg.RequestFormatter

	mu      sync.Mutex // guards the following
	next    int32
	waiting map[int32]waiter
	err     error
}

type waiter struct {
	resp kmsg.Response
	done chan error
}

const answerBytesMax = 64 << 20

func dialLine(ctx context.Context, address, clientID string) (*line, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	l := &line{
		conn: conn.(*net.TCPConn), out: make(chan []byte, 64), ended: make(chan struct{}),
		format: kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)), waiting: map[int32]waiter{},
	}
	go l.write()
	go l.read()
	return l, nil
}

// dialLines makes several, and closes those that came if one does not.
func dialLines(ctx context.Context, address string, count int) (lines []*line, err error) {
	for i := range count {
		l, err := dialLine(ctx, address, fmt.Sprintf("bench-%d", i))
		if err != nil {
			closeLines(lines)
			return nil, err
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func closeLines(lines []*line) {
	for _, l := range lines {
		l.close()
	}
}

func (l *line) close() { l.end(errors.New("closed")) }

// end tells everyone who waits, once.
func (l *line) end(err error) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	close(l.ended)
	_ = l.conn.Close()
	for _, w := range waiting {
		w.done <- err
	}
}

// begin sends a request; the channel gives nil when resp is filled in.
func (l *line) begin(req kmsg.Request, resp kmsg.Response) <-chan error {
	w := waiter{resp, make(chan error, 1)}
	l.mu.Lock()
	if err := l.err; err != nil {
		l.mu.Unlock()
		w.done <- err
		return w.done
	}
	l.next++
	id := l.next
	l.waiting[id] = w
	l.mu.Unlock()
	select {
	case l.out <- l.format.AppendRequest(nil, req, id):
	case <-l.ended: // end has told the waiter
	}
	return w.done
}

// ask sends a request and waits for its answer.
func ask[R kmsg.Response](ctx context.Context, l *line, req kmsg.Request) (resp R, err error) {
	made := req.ResponseKind()
	select {
	case err = <-l.begin(req, made):
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return resp, fmt.Errorf("%s: %w", kmsg.NameForKey(req.Key()), err)
	}
	return made.(R), nil
}

func (l *line) write() {
	for {
		select {
		case b := <-l.out:
			for more := true; more; {
				select {
				case next := <-l.out:
					b = append(b, next...)
				default:
					more = false
				}
			}
			if _, err := l.conn.Write(b); err != nil {
				l.end(err)
				return
			}
		case <-l.ended:
			return
		}
	}
}

func (l *line) read() {
	in := bufio.NewReaderSize(l.conn, 4<<10)
	var buf []byte
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			l.end(err)
			return
		}
		n := int(binary.BigEndian.Uint32(size[:]))
		if n < 4 || n > answerBytesMax {
			l.end(fmt.Errorf("an answer of %d bytes", n))
			return
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		buf = buf[:n]
		if _, err := io.ReadFull(in, buf); err != nil {
			l.end(err)
			return
		}
		if err := l.settle(buf); err != nil {
			l.end(err)
			return
		}
	}
}

// settle gives an answer to who waits for it.
func (l *line) settle(answer []byte) error {
	id := int32(binary.BigEndian.Uint32(answer))
	l.mu.Lock()
	w, ok := l.waiting[id]
	delete(l.waiting, id)
	l.mu.Unlock()
	if !ok {
		return fmt.Errorf("an answer to nothing: correlation id %d", id)
	}
	body := answer[4:]
	if w.resp.IsFlexible() {
		if len(body) == 0 || body[0] != 0 {
			w.done <- errors.New("tags in the head of an answer")
			return nil
		}
		body = body[1:]
	}
	w.done <- w.resp.ReadFrom(body)
	return nil
}
