// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"gregor/base/kafka"
	"gregor/cluster/image"
)

// placer chooses the replicas of new partitions in stripes, as Kafka's striped
// placer does: the first replica of a partition goes to the rack behind that of
// the partition before it, the others to the racks that follow, and within a
// rack brokers take turns. So racks A, B and C give
//
//	partition 0: A0 B0 C0
//	partition 1: B1 C1 A1
//	partition 2: C2 A2 B2
//
// from random starting points. Fenced brokers are taken only when a rack has no
// other left, and never first. Brokers that are stopping, and those all of whose
// directories are cordoned, are not taken. When each unfenced broker was first
// once, everything is shuffled, so that the same sets do not come again.
type placer struct {
	random   *random
	racks    []*rack
	total    int
	unfenced int
	round    int // partitions since the last shuffle
	next     int // rack of the next partition's first replica
}

type rack struct {
	name             string
	fenced, unfenced turns
}

// turns hands out brokers one after the other, each once in a round.
type turns struct {
	brokers       []kafka.NodeID
	start, handed int
	round         int
}

func (t *turns) take(round int) (kafka.NodeID, bool) {
	if len(t.brokers) == 0 {
		return 0, false
	}
	if t.round != round {
		t.round, t.handed = round, 0
		t.start = (t.start + 1) % len(t.brokers)
	}
	if t.handed == len(t.brokers) {
		return 0, false
	}
	b := t.brokers[(t.start+t.handed)%len(t.brokers)]
	t.handed++
	return b, true
}

func newPlacer(img *image.Image, rnd *random) *placer {
	p := &placer{random: rnd}
	byName := map[string]*rack{}
	for b := range img.Brokers() {
		if b.InControlledShutdown || allCordoned(b) {
			continue
		}
		name := ""
		if b.Rack != nil {
			name = "/" + *b.Rack // a rack of the empty name is not the lack of one
		}
		r := byName[name]
		if r == nil {
			r = &rack{name: name}
			byName[name] = r
		}
		p.total++
		if b.Fenced {
			r.fenced.brokers = append(r.fenced.brokers, b.BrokerID)
		} else {
			p.unfenced++
			r.unfenced.brokers = append(r.unfenced.brokers, b.BrokerID)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		r := byName[name]
		r.fenced.start, r.unfenced.start = rnd.below(len(r.fenced.brokers)), rnd.below(len(r.unfenced.brokers))
		p.racks = append(p.racks, r)
	}
	p.next = rnd.below(len(p.racks))
	return p
}

// check refuses a replication factor that cannot be had.
func (p *placer) check(replicas int) *refusal {
	switch {
	case replicas <= 0:
		return refuse(kafka.InvalidReplicationFactor, "Invalid replication factor %d: the replication factor must be positive.", replicas)
	case p.unfenced == 0:
		return refuse(kafka.InvalidReplicationFactor, "All brokers are currently fenced.")
	case replicas > p.total:
		return refuse(kafka.InvalidReplicationFactor, "The target replication factor of %d cannot be reached because only %d broker(s) are registered or some brokers have all their log directories cordoned.", replicas, p.total)
	}
	return nil
}

// place gives the replicas of one more partition; check has passed.
func (p *placer) place(replicas int) []kafka.NodeID {
	if p.round == p.unfenced && p.unfenced > 1 {
		p.shuffle()
	}
	at := p.next
	first := at
	out := make([]kafka.NodeID, 0, replicas)
	for len(out) == 0 {
		if b, ok := p.racks[first].unfenced.take(p.round); ok {
			out = append(out, b)
		} else {
			first = (first + 1) % len(p.racks)
		}
	}
	passed := false // the rack of the first replica has had its turn
	for len(out) < replicas {
		r := p.racks[at]
		if at == first && !passed {
			passed = true
		} else if b, ok := r.unfenced.take(p.round); ok {
			out = append(out, b)
		} else if b, ok := r.fenced.take(p.round); ok {
			out = append(out, b)
		}
		at = (at + 1) % len(p.racks)
	}
	p.round++
	p.next = (p.next + 1) % len(p.racks)
	return out
}

func (p *placer) shuffle() {
	p.round = 0
	shuffle(p.random, p.racks)
	for _, r := range p.racks {
		shuffle(p.random, r.fenced.brokers)
		shuffle(p.random, r.unfenced.brokers)
	}
}

func allCordoned(b *image.Broker) bool {
	return len(b.LogDirs) != 0 && len(openDirectories(b)) == 0
}

func openDirectories(b *image.Broker) []kafka.DirectoryID {
	var open []kafka.DirectoryID
	for _, d := range b.LogDirs {
		if !slices.Contains(b.CordonedLogDirs, d) {
			open = append(open, d)
		}
	}
	return open
}

// directoriesFor gives the directories that new replicas start with: the only
// one that the broker has, or none yet, which lets the broker choose.
func (v view) directoriesFor(replicas []kafka.NodeID) []kafka.DirectoryID {
	out := make([]kafka.DirectoryID, len(replicas))
	for i, id := range replicas {
		b := v.img.Broker(id)
		switch {
		case b == nil:
			out[i] = kafka.DirectoryUnassigned
		case len(b.LogDirs) == 0:
			out[i] = kafka.DirectoryMigrating
		default:
			if open := openDirectories(b); len(open) == 1 {
				out[i] = open[0]
			}
		}
	}
	return out
}

// random draws small numbers from a source of bytes.
type random struct {
	from io.Reader
	err  error
}

// below draws a number in [0, n), 0 if n is 0. The bias of the remainder is
// below n/2^64.
func (r *random) below(n int) int {
	if n <= 1 {
		return 0
	}
	var b [8]byte
	if _, err := io.ReadFull(r.from, b[:]); err != nil && r.err == nil {
		r.err = fmt.Errorf("draw a random number: %w", err)
	}
	return int(binary.BigEndian.Uint64(b[:]) % uint64(n))
}

func shuffle[T any](r *random, s []T) {
	for i := len(s) - 1; i > 0; i-- {
		j := r.below(i + 1)
		s[i], s[j] = s[j], s[i]
	}
}
