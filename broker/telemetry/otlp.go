// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// errMalformed is a push that is not OpenTelemetry's MetricsData.
var errMalformed = errors.New("not OTLP metrics")

// kind is what a metric is.
type kind uint8

const (
	counter kind = iota // only grows
	gauge
	histogram
	kinds
)

// point is one data point. What it holds belongs to the walk and to the bytes
// that it reads, so it is gone after the call.
type point struct {
	name  []byte
	kind  kind
	delta bool // value is what came since the last push
	value float64
	dist  distribution // of a histogram
	attrs []attr       // the point's own, and behind them its resource's
	own   int          // how many of attrs are the point's own
}

// distribution is what a histogram has counted. There is one count more than
// there are bounds.
type distribution struct {
	count  uint64
	sum    float64
	bounds []float64
	counts []uint64
}

// attr is an attribute with a value of one piece; others are let out.
type attr struct {
	key   []byte
	kind  protowire.Number // field of AnyValue
	text  []byte
	value uint64
}

// What one point may have, so that a small push cannot ask for much memory. No
// client comes near.
const (
	attrsMax   = 32
	bucketsMax = 256
)

// Fields of OpenTelemetry's protobuf messages (metrics/v1, resource/v1, common/v1).
const (
	dataResources = 1

	resourceOf     = 1
	resourceScopes = 2

	resourceAttrs = 1

	scopeMetrics = 2

	metricName      = 1
	metricGauge     = 5
	metricSum       = 7
	metricHistogram = 9

	listPoints      = 1
	listTemporality = 2
	listMonotonic   = 3

	temporalityDelta = 1

	numberDouble = 4
	numberInt    = 6
	numberAttrs  = 7

	distCount  = 4
	distSum    = 5
	distCounts = 6
	distBounds = 7
	distAttrs  = 9

	pointFlags = 8 // of numbers
	distFlags  = 10

	noRecordedValue = 1 // a flag

	keyName  = 1
	keyValue = 2

	anyText   = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
)

// walk reads MetricsData and gives each data point that holds a value to f. The
// messages nest to a fixed depth and are read in place: what is allocated is
// bounded by attrsMax and bucketsMax, not by what the bytes claim. Exponential
// histograms and summaries, which no Kafka client sends, are let out. f may be
// nil: the bytes are only judged then.
func walk(b []byte, f func(*point)) error {
	w := walker{f: f}
	return fields(b, func(v field) error {
		if v.number == dataResources && v.kind == protowire.BytesType {
			return w.resource(v.bytes)
		}
		return nil
	})
}

type walker struct {
	f      func(*point)
	p      point
	shared []attr
}

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64 // of a number of any width
	bytes  []byte // of a length and what follows it
}

// fields walks over a message.
func fields(b []byte, f func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		v := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			v.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.value, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var small uint32
			small, n = protowire.ConsumeFixed32(b)
			v.value = uint64(small)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
		default: // groups, which these messages never had
			return fmt.Errorf("%w: wire type %d", errMalformed, kind)
		}
		if n < 0 {
			return malformed(n)
		}
		b = b[n:]
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

func malformed(n int) error { return fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n)) }

// resource reads a resource's attributes first, wherever they stand.
func (w *walker) resource(b []byte) error {
	w.shared = w.shared[:0]
	err := fields(b, func(v field) error {
		if v.number != resourceOf || v.kind != protowire.BytesType {
			return nil
		}
		return fields(v.bytes, func(v field) (err error) {
			if v.number == resourceAttrs && v.kind == protowire.BytesType {
				w.shared, err = appendAttr(w.shared, v.bytes)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return fields(b, func(v field) error {
		if v.number != resourceScopes || v.kind != protowire.BytesType {
			return nil
		}
		return fields(v.bytes, func(v field) error {
			if v.number == scopeMetrics && v.kind == protowire.BytesType {
				return w.metric(v.bytes)
			}
			return nil
		})
	})
}

func (w *walker) metric(b []byte) error {
	w.p.name = nil
	err := fields(b, func(v field) error {
		if v.number == metricName && v.kind == protowire.BytesType {
			w.p.name = v.bytes
		}
		return nil
	})
	if err != nil {
		return err
	}
	return fields(b, func(v field) error {
		if v.kind != protowire.BytesType {
			return nil
		}
		switch v.number {
		case metricGauge, metricSum, metricHistogram:
			return w.points(v.number, v.bytes)
		}
		return nil
	})
}

// points reads what all points of a metric share before the points.
func (w *walker) points(of protowire.Number, b []byte) error {
	delta, monotonic := false, false
	err := fields(b, func(v field) error {
		if v.kind == protowire.VarintType {
			switch v.number {
			case listTemporality:
				delta = v.value == temporalityDelta
			case listMonotonic:
				monotonic = v.value != 0
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.p.kind, w.p.delta = gauge, delta && of != metricGauge
	switch {
	case of == metricSum && monotonic:
		w.p.kind = counter
	case of == metricHistogram:
		w.p.kind = histogram
	}
	return fields(b, func(v field) error {
		if v.number != listPoints || v.kind != protowire.BytesType {
			return nil
		}
		if of == metricHistogram {
			return w.distribution(v.bytes)
		}
		return w.number(v.bytes)
	})
}

func (w *walker) number(b []byte) error {
	w.p.attrs = w.p.attrs[:0]
	some := false
	err := fields(b, func(v field) (err error) {
		switch {
		case v.number == numberDouble && v.kind == protowire.Fixed64Type:
			w.p.value, some = math.Float64frombits(v.value), true
		case v.number == numberInt && v.kind == protowire.Fixed64Type:
			w.p.value, some = float64(int64(v.value)), true
		case v.number == numberAttrs && v.kind == protowire.BytesType:
			w.p.attrs, err = appendAttr(w.p.attrs, v.bytes)
		case v.number == pointFlags && v.kind == protowire.VarintType && v.value&noRecordedValue != 0:
			some = false
		}
		return err
	})
	if err == nil && some {
		w.give()
	}
	return err
}

func (w *walker) distribution(b []byte) error {
	w.p.attrs = w.p.attrs[:0]
	d := &w.p.dist
	d.count, d.sum, d.bounds, d.counts = 0, 0, d.bounds[:0], d.counts[:0]
	some := true
	err := fields(b, func(v field) (err error) {
		switch {
		case v.number == distCount && v.kind == protowire.Fixed64Type:
			d.count = v.value
		case v.number == distSum && v.kind == protowire.Fixed64Type:
			d.sum = math.Float64frombits(v.value)
		case v.number == distCounts:
			err = packed(v, func(x uint64) error {
				d.counts = append(d.counts, x)
				return tooMany(len(d.counts), bucketsMax+1)
			})
		case v.number == distBounds:
			err = packed(v, func(x uint64) error {
				d.bounds = append(d.bounds, math.Float64frombits(x))
				return tooMany(len(d.bounds), bucketsMax)
			})
		case v.number == distAttrs && v.kind == protowire.BytesType:
			w.p.attrs, err = appendAttr(w.p.attrs, v.bytes)
		case v.number == distFlags && v.kind == protowire.VarintType:
			some = v.value&noRecordedValue == 0
		}
		return err
	})
	switch {
	case err != nil || !some:
		return err
	case len(d.counts) > 0 && len(d.counts) != len(d.bounds)+1:
		return fmt.Errorf("%w: %d buckets with %d bounds", errMalformed, len(d.counts), len(d.bounds))
	case len(d.counts) == 0: // only a count and a sum
		d.bounds = d.bounds[:0]
	}
	for i, bound := range d.bounds {
		if math.IsNaN(bound) || i > 0 && d.bounds[i-1] >= bound {
			return fmt.Errorf("%w: bounds of buckets are out of order", errMalformed)
		}
	}
	w.give()
	return nil
}

// give hands out the point at hand.
func (w *walker) give() {
	if w.f == nil {
		return
	}
	w.p.own = len(w.p.attrs)
	w.p.attrs = append(w.p.attrs, w.shared...)
	w.f(&w.p)
}

// packed reads a list of eight-byte numbers, or one of them.
func packed(v field, f func(uint64) error) error {
	switch v.kind {
	case protowire.Fixed64Type:
		return f(v.value)
	case protowire.BytesType:
		for b := v.bytes; len(b) > 0; b = b[8:] {
			x, n := protowire.ConsumeFixed64(b)
			if n < 0 {
				return malformed(n)
			}
			if err := f(x); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%w: wire type %d in a list", errMalformed, v.kind)
}

func tooMany(n, most int) error {
	if n > most {
		return fmt.Errorf("%w: more than %d elements in a point", errMalformed, most)
	}
	return nil
}

// appendAttr reads a key and its value. Lists and maps as values are not looked
// into, so nothing recurses.
func appendAttr(to []attr, b []byte) ([]attr, error) {
	var a attr
	err := fields(b, func(v field) error {
		switch {
		case v.kind != protowire.BytesType:
		case v.number == keyName:
			a.key = v.bytes
		case v.number == keyValue:
			return fields(v.bytes, func(v field) error {
				switch {
				case v.number == anyText && v.kind == protowire.BytesType:
					a.kind, a.text = v.number, v.bytes
				case (v.number == anyBool || v.number == anyInt) && v.kind == protowire.VarintType,
					v.number == anyDouble && v.kind == protowire.Fixed64Type:
					a.kind, a.value = v.number, v.value
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return to, err
	}
	if a.kind != 0 && len(a.key) > 0 {
		to = append(to, a)
	}
	return to, tooMany(len(to), attrsMax)
}
