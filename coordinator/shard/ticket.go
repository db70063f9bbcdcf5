// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/park"
)

// Ticket is one request that waits for its reply. The zero value is ready; it
// serves one event, and after Reset another one. It is safe for concurrent use.
//
// Who completes a ticket wakes its waiters before it lets others see the reply:
// it does not touch the ticket behind that, which may serve another event then.
type Ticket struct {
	waiters park.List

	mu   sync.Mutex // guards what follows
	done bool
	resp kmsg.Response
	err  error
}

// Result gives the reply, or the error that stands for it, once it is there.
func (t *Ticket) Result() (resp kmsg.Response, err error, done bool) { //nolint:revive,staticcheck // done says whether the others count
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.resp, t.err, t.done
}

// Await makes e wait for the reply. The caller looks at Result afterwards,
// since it may have come meanwhile.
func (t *Ticket) Await(e *park.Entry) { t.waiters.Add(e, 0) }

// Forget takes e out of what Await put it in.
func (t *Ticket) Forget(e *park.Entry) { t.waiters.Remove(e) }

// Wait returns the reply when it is there, or ctx ends.
func (t *Ticket) Wait(ctx context.Context) (kmsg.Response, error) {
	e := park.Entry{Parker: park.NewParker()}
	t.Await(&e)
	defer t.Forget(&e)
	for {
		if resp, err, done := t.Result(); done {
			return resp, err
		}
		select {
		case <-e.Parker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Reset readies a ticket whose reply was seen and that nobody waits on.
func (t *Ticket) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done, t.resp, t.err = false, nil, nil
}

func (t *Ticket) complete(resp kmsg.Response, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		panic("shard: a ticket is completed twice")
	}
	t.done, t.resp, t.err = true, resp, err
	t.waiters.WakeAll()
}

// fail completes a ticket with an error; nil is nobody.
func (t *Ticket) fail(err error) {
	if t != nil {
		t.complete(nil, err)
	}
}
