// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/wire/batch"
)

// asked is one request of the model and what must be true of its reply.
type asked struct {
	ticket *Ticket
	name   string
	read   bool
	least  int // what a read must see: acknowledged before it was asked
}

// TestModel throws all that can happen at a shard, in a random order. What was
// acknowledged is in the log at the end, whoever led in between; nobody reads
// less than was acknowledged before, or what the log did not keep; everyone is
// answered. SEED runs one case again.
func TestModel(t *testing.T) {
	seeds := []uint64{}
	if text := os.Getenv("SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, seed)
	} else {
		for range 300 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		synctest.Test(t, func(t *testing.T) { model(t, seed) })
		if t.Failed() {
			t.Fatalf("SEED=%d", seed)
		}
	}
}

func model(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, func(o *Options[*tally, *output]) { o.LoadBufferBytes = 200 })
	r.log.limit = 300
	r.shards.Elect(0, 1)
	var open []asked
	least := map[string]int{} // acknowledged
	var told []string
	settle := func() {
		rest := open[:0]
		for _, a := range open {
			resp, err, done := a.ticket.Result()
			switch {
			case !done:
				rest = append(rest, a)
			case err == nil && text(resp) != "farewell" && text(resp) != "due":
				n, _ := strconv.Atoi(text(resp)[len(a.name)+1:])
				if a.read && n < a.least {
					t.Errorf("read %s, acknowledged before was %d", text(resp), a.least)
				}
				if n > 0 {
					told = append(told, text(resp))
				}
				if !a.read {
					least[a.name] = max(least[a.name], n)
				}
			}
		}
		open = rest
	}
	for range 150 {
		name := string('a' + rune(random.IntN(3)))
		switch n := random.IntN(100); {
		case n < 40:
			open = append(open, asked{ticket: r.do(add(name)), name: name})
		case n < 60:
			open = append(open, asked{ticket: r.do(get(name)), name: name, read: true, least: least[name]})
		case n < 65:
			open = append(open, asked{ticket: r.do(wait(time.Duration(random.IntN(2000)) * time.Millisecond)), name: name})
		case n < 70:
			r.log.set(func() { r.log.lag = !r.log.lag })
		case n < 80:
			r.log.set(func() {
				if r.log.end > r.log.hw {
					r.log.hw += kafka.Offset(1 + random.IntN(int(r.log.end-r.log.hw)))
				}
			})
		case n < 84:
			err := []error{nil, nil, kafka.NotEnoughReplicas, kafka.KafkaStorageError, errors.New("torn")}[random.IntN(5)]
			r.log.set(func() { r.log.appendEr = err })
		case n < 86:
			err := []error{nil, errors.New("EIO")}[random.IntN(2)]
			r.log.set(func() { r.log.readEr = err })
		case n < 90: // another broker leads for a moment, and has less
			r.log.set(func() { r.log.truncate(); r.log.epoch += 2 })
			r.log.waiters.WakeAll()
			if random.IntN(2) == 0 {
				r.shards.Resign(0)
			}
			r.shards.Elect(0, r.log.epoch)
		case n < 91:
			r.do(func(m *tally, _ int64, _ Token, _ *output) { m.counts["a"] = 1000; panic("boom") })
		default:
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond)
		}
		if random.IntN(3) == 0 {
			synctest.Wait()
			settle()
		}
	}
	r.shards.Close()
	synctest.Wait()
	settle()
	if len(open) != 0 || r.shards.Stats().Pending != 0 {
		t.Errorf("%d requests have no answer, %d are counted", len(open), r.shards.Stats().Pending)
	}
	kept := r.log.values(t)
	for _, text := range told {
		if !kept[text] {
			t.Errorf("%s was told, and is not in the log", text)
		}
	}
}

// truncate takes away what is not committed.
func (l *memLog) truncate() {
	for n := len(l.batches); n > 0; n = len(l.batches) {
		h, _ := batch.Parse(l.batches[n-1])
		if h.BaseOffset < l.hw {
			l.hw = max(l.hw, h.NextOffset()) // a batch is committed as a whole
			break
		}
		l.batches = l.batches[:n-1]
	}
	l.end = l.hw
}

// values lists all that the log holds.
func (l *memLog) values(t *testing.T) map[string]bool {
	all := map[string]bool{}
	for _, b := range l.batches {
		h, err := batch.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		it := batch.Records(&h, b[batch.HeaderSize:])
		for rec := (batch.Record{}); it.Next(&rec); {
			all[fmt.Sprintf("%s=%d", rec.Key, binary.BigEndian.Uint32(rec.Value))] = true
		}
	}
	return all
}
