// SPDX-License-Identifier: Apache-2.0

// Package pace spreads events evenly over time. It reads no clock: it says
// when each event is due, and its user waits.
package pace

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of events a second; 0 is as fast as it goes.
type Rate float64

const rateMax = 1e9

var units = map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}

// Parse reads 100, 100/s, 2.5k/s, 1M/s, 30/m or 1/h.
func Parse(text string) (Rate, error) {
	number, unit, divided := strings.Cut(text, "/")
	seconds, known := units[unit]
	factor := 1.0
	switch {
	case strings.HasSuffix(number, "k"):
		factor = 1e3
	case strings.HasSuffix(number, "M"):
		factor = 1e6
	}
	if factor > 1 {
		number = number[:len(number)-1]
	}
	n, err := strconv.ParseFloat(number, 64)
	rate := n * factor / seconds
	if err != nil || !known || divided && unit == "" || math.IsNaN(n) || rate <= 0 || rate > rateMax {
		return 0, fmt.Errorf("%q is not a rate; want 100/s, 2.5k/s, 30/m or 1/h", text)
	}
	return Rate(rate), nil
}

// lateMax is how far a plan may run behind before it is moved. What was missed
// for longer than that is not made up for with a burst.
const lateMax = time.Second

// Plan gives every event its time: the nth is due n/rate after the start, so
// that errors of waiting do not add up.
type Plan struct {
	rate  Rate
	start time.Time
	n     float64
}

// NewPlan begins a plan whose first event is due at once.
func NewPlan(rate Rate, now time.Time) Plan { return Plan{rate: rate, start: now} }

// Next takes the next event and tells how long to wait for it.
func (p *Plan) Next(now time.Time) time.Duration {
	if p.rate <= 0 {
		return 0
	}
	wait := p.start.Add(time.Duration(p.n / float64(p.rate) * float64(time.Second))).Sub(now)
	if wait < -lateMax {
		p.start, p.n, wait = now, 0, 0
	}
	p.n++
	return max(0, wait)
}
