// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"context"
	"io"
)

// blockBytes are read at a time.
const blockBytes = 256 << 10

// Until reads in until the context ends. A read that waits for a person or for
// another program then ends with the context's cause; the read below goes on
// waiting, and what comes is lost.
func Until(ctx context.Context, in io.Reader) io.Reader {
	return &until{ctx: ctx, in: in, reads: make(chan readEnd, 1)}
}

type until struct {
	ctx   context.Context
	in    io.Reader
	block []byte // the reading goroutine's while there is one
	rest  []byte // of the block, not yet given
	err   error  // what follows the rest
	reads chan readEnd
	under bool // a read is under way
}

type readEnd struct {
	n   int
	err error
}

func (u *until) Read(to []byte) (int, error) {
	if len(u.rest) == 0 && u.err == nil {
		if err := u.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(to, u.rest)
	if u.rest = u.rest[n:]; n == 0 {
		return 0, u.err
	}
	return n, nil
}

func (u *until) fill() error {
	if u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	if u.block == nil {
		u.block = make([]byte, blockBytes)
	}
	if !u.under {
		u.under = true
		go func() {
			n, err := u.in.Read(u.block)
			u.reads <- readEnd{n, err}
		}()
	}
	select {
	case <-u.ctx.Done():
		return context.Cause(u.ctx)
	case end := <-u.reads:
		u.under = false
		u.rest, u.err = u.block[:end.n], end.err
		return nil
	}
}
