// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/broker/call"
)

// decode reads the body of c into a request of kmsg, after its bounds were
// checked.
func (a *API) decode(c *call.Call) (kmsg.Request, error) {
	req := a.row(c.Key).request()
	if err := a.decodeInto(c, req); err != nil {
		return nil, err
	}
	return req, nil
}

// decodeInto is decode for a request that is there, and zero.
func (a *API) decodeInto(c *call.Call, req kmsg.Request) error {
	r := a.row(c.Key)
	if err := r.shape.check(c.Body, c.Version, c.Version >= r.flexibleFrom, a.limits.elementsMax); err != nil {
		return fmt.Errorf("%s v%d: %w", r.name, c.Version, err)
	}
	req.SetVersion(c.Version)
	if err := req.ReadFrom(c.Body); err != nil {
		return fmt.Errorf("%s v%d: %w: %w", r.name, c.Version, errMalformed, err)
	}
	return nil
}

// answer charges the request's time and writes a response of kmsg. It is the
// connection's goroutine that may call it: a request that is parked is charged
// before (chargeTime, throttle), and its waiter tells c.ThrottleMs by write.
func (a *API) answer(c *call.Call, resp kmsg.Response) call.Outcome {
	a.throttleResponse(c, resp)
	return a.write(c, resp)
}

// write writes a response of kmsg as it is.
func (a *API) write(c *call.Call, resp kmsg.Response) call.Outcome {
	resp.SetVersion(c.Version)
	c.Reply.Begin(c.CorrelationID, resp.IsFlexible() && c.Key != keyApiVersions)
	out := c.Reply.Appender()
	out.B = resp.AppendTo(out.B)
	return call.Done
}

// timeoutMin is the least time that an admin request is given, whatever it asks
// for: some clients send 0 and mean "no matter".
const timeoutMin = time.Second

// within gives a context that ends after the client's timeout, or with its
// connection. Until it is canceled the handler is taken to wait for others.
func (a *API) within(c *call.Call, timeoutMs int32) (context.Context, context.CancelFunc) {
	timeout := min(max(time.Duration(timeoutMs)*time.Millisecond, timeoutMin), a.limits.timeoutMax)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	go func() {
		select {
		case <-c.Conn.Closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	s := stateOf(c)
	s.away = s.waits()
	return ctx, func() {
		cancel()
		s.goesOn(s.away)
		s.away = time.Time{}
	}
}
