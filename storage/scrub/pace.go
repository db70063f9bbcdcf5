// SPDX-License-Identifier: Apache-2.0

package scrub

import "time"

// Pace keeps reading at a rate: what was read is paid for by waiting.
type Pace struct {
	BytesPerSecond int64
	paidTo         time.Time
}

// burst is what may be read at once after a time of rest.
const burst = 100 * time.Millisecond

// Read notes that n bytes were read and tells how long to wait before more.
func (p *Pace) Read(n int64, now time.Time) time.Duration {
	if p.BytesPerSecond <= 0 {
		return 0
	}
	if least := now.Add(-burst); p.paidTo.Before(least) {
		p.paidTo = least
	}
	p.paidTo = p.paidTo.Add(time.Duration(float64(n) / float64(p.BytesPerSecond) * float64(time.Second)))
	return max(p.paidTo.Sub(now), 0)
}

// NextPass tells how long to wait for the next pass: passes begin at least
// interval apart. One that a stop interrupted goes on at once, and one that ended
// in the future says that the clock was wrong.
func (p *Progress) NextPass(interval time.Duration, now time.Time) time.Duration {
	if p.StartedMs != 0 || p.FullMs == 0 || p.FullMs > now.UnixMilli() {
		return 0
	}
	return max(time.UnixMilli(p.FullMs).Add(interval).Sub(now), 0)
}
