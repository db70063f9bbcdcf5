// SPDX-License-Identifier: Apache-2.0

package quota

import "math"

// Windows are how a rate is measured: over Count windows of Ms each, the one
// under way among them.
type Windows struct {
	Count int
	Ms    int64
}

// window is the rate of one entity: what was counted in the last windows, each
// of which begins with the first amount after its predecessor ended. Samples
// come as they are needed, at most one more than Count: the one that the
// measured span overlaps.
type window struct {
	samples []sample
	current int
}

type sample struct {
	startMs, lastMs int64
	sum             float64
}

func (w *window) record(o Windows, nowMs int64, amount float64) {
	if len(w.samples) == 0 {
		w.samples = append(w.samples, sample{startMs: nowMs, lastMs: nowMs})
	}
	s := &w.samples[w.current]
	if nowMs-s.startMs >= o.Ms {
		w.current = (w.current + 1) % (o.Count + 1)
		if w.current >= len(w.samples) {
			w.samples = append(w.samples, sample{})
		}
		s = &w.samples[w.current]
		*s = sample{startMs: nowMs}
	}
	s.sum += amount
	s.lastMs = nowMs
}

// measure gives what was counted and over which span: never less than all
// windows but the one under way, so that a client that begins is not taken for
// one that always was so fast.
func (w *window) measure(o Windows, nowMs int64) (sum float64, spanMs int64) {
	oldestMs := nowMs
	for i := range w.samples {
		s := &w.samples[i]
		if nowMs-s.lastMs >= int64(o.Count)*o.Ms {
			*s = sample{startMs: nowMs, lastMs: nowMs}
			continue
		}
		sum += s.sum
		oldestMs = min(oldestMs, s.startMs)
	}
	spanMs = nowMs - oldestMs
	if missing := int64(o.Count-1) - spanMs/o.Ms; missing > 0 {
		spanMs += missing * o.Ms
	}
	return sum, max(spanMs, 1)
}

// throttleMs is how long nothing may come so that sum over span, with that much
// longer a span, is no more than the limit.
func throttleMs(sum float64, spanMs int64, limit float64) int64 {
	rate := sum / (float64(spanMs) / 1000)
	if !(rate > limit) {
		return 0
	}
	return rounded((rate - limit) / limit * float64(spanMs))
}

// rounded makes a wait of a number of milliseconds, at most what the protocol
// can tell.
func rounded(ms float64) int64 {
	return int64(math.Min(math.Floor(ms+0.5), math.MaxInt32))
}

// idle reports whether a window is as good as new.
func (w *window) idle(o Windows, nowMs int64) bool {
	for i := range w.samples {
		if nowMs-w.samples[i].lastMs < int64(o.Count)*o.Ms {
			return false
		}
	}
	return true
}

// bucket holds the tokens of one entity. It is full at first, may be overdrawn
// by the one charge that empties it, and fills with the limit.
type bucket struct {
	tokens float64
	lastMs int64
	used   bool
}

func burst(o Windows, limit float64) float64 {
	return float64(o.Count) * float64(o.Ms) / 1000 * limit
}

func (b *bucket) refill(o Windows, nowMs int64, limit float64) {
	most := burst(o, limit)
	if !b.used {
		b.tokens, b.used = most, true
	} else {
		b.tokens = math.Min(most, b.tokens+limit*float64(max(nowMs-b.lastMs, 0))/1000)
	}
	b.lastMs = nowMs
}

// debtMs is how long it takes until there is a token again, 0 if it is not
// overdrawn.
func (b *bucket) debtMs(limit float64) int64 {
	if b.tokens >= 0 {
		return 0
	}
	return rounded(-b.tokens / limit * 1000)
}
