// SPDX-License-Identifier: Apache-2.0

package api

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/broker/call"
	"gregor/quota"
)

// Quotas are charged when the work of a request is done, before its answer is
// written. The answer says how long the client must wait, and the connection is
// muted for so long after it. Where several limits are passed, the longest wait
// counts.

// charge counts what the client of c has used, and gives its wait. The clock is
// read only where there is a limit.
func (a *API) charge(c *call.Call, k quota.Kind, amount float64) int32 {
	s := stateOf(c)
	if !s.quota.Limited(k) {
		return 0
	}
	return s.quota.Charge(a.d.Quotas, k, amount, a.d.Now())
}

// chargeTime counts the time that a handler has spent on c. What comes after
// it, the writing of the answer, is not part of it.
func (a *API) chargeTime(c *call.Call) int32 {
	s := stateOf(c)
	if !s.quota.Limited(quota.Request) {
		return 0
	}
	now := a.d.Now()
	until := now
	if !s.away.IsZero() {
		until = s.away
	}
	spent := until.Sub(c.ReceivedAt) - s.waited
	return s.quota.Charge(a.d.Quotas, quota.Request, quota.Percent(max(spent, 0)), now)
}

// throttle makes the client of c wait for the longer of two waits, and counts
// it for the quota that decides.
func (a *API) throttle(c *call.Call, k quota.Kind, waitMs, ofTimeMs int32) {
	if ofTimeMs >= waitMs {
		k, waitMs = quota.Request, ofTimeMs
	}
	if c.ThrottleMs = waitMs; waitMs > 0 {
		a.d.Quotas.Throttled(k, waitMs)
	}
}

// throttleResponse tells a response the wait of its client: for the handler's
// time, or what the controller has said.
func (a *API) throttleResponse(c *call.Call, resp kmsg.Response) {
	ofTimeMs := a.chargeTime(c)
	told, ok := resp.(kmsg.ThrottleResponse)
	if !ok {
		a.throttle(c, quota.Request, 0, ofTimeMs)
		return
	}
	fromControllerMs, _ := told.Throttle()
	if fromControllerMs > ofTimeMs { // counted there
		c.ThrottleMs = fromControllerMs
		return
	}
	a.throttle(c, quota.Request, 0, ofTimeMs)
	if set, ok := resp.(kmsg.SetThrottleResponse); ok && c.ThrottleMs > 0 {
		set.SetThrottle(c.ThrottleMs)
	}
}

// waits begins a time in which the handler of c does nothing; the zero time
// where nobody wants to know.
func (s *state) waits() (began time.Time) {
	if s.quota.Limited(quota.Request) {
		began = s.now()
	}
	return began
}

// goesOn ends it.
func (s *state) goesOn(began time.Time) {
	if !began.IsZero() {
		s.waited += s.now().Sub(began)
	}
}
