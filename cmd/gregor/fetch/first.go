// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"

	"gregor/cmd/gregor/record"
)

// firstBytes is what a partition may bring where one record of it is wanted: a
// batch, mostly.
const firstBytes = 16 << 10

// First gives the first record of each stretch that has one to give. One fetch
// to each leader finds most of them; a partition whose batch is larger than
// that allows is then asked alone, since the first partition of a fetch brings
// one batch whatever its size. give's records stay only until it returns.
func (r *Reader) First(ctx context.Context, stretches []Stretch, give func(*record.Record)) error {
	cursors, err := r.cursors(ctx, stretches)
	if err != nil {
		return err
	}
	for _, c := range cursors {
		c.asks = firstBytes
	}
	var d decoder
	left := map[*cursor]bool{}
	for _, c := range cursors {
		left[c] = true
	}
	var broken error
	take := func(p piece) {
		p.cursor.take(p)
		rec, err := p.cursor.next(&d, r.o.Committed)
		switch {
		case err != nil:
			broken = p.cursor.failed(err)
		case rec != nil:
			give(rec)
		}
		if rec != nil || err != nil || p.cursor.fetched() {
			delete(left, p.cursor)
		}
	}
	wait := patience{r: r}
	if err := r.round(ctx, cursors, &wait, take); err != nil {
		return err
	}
	for _, c := range cursors {
		for left[c] && broken == nil {
			if err := r.round(ctx, []*cursor{c}, &wait, take); err != nil {
				return err
			}
		}
	}
	return broken
}
