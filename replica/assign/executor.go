// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/config"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/storage/logdir"
)

// Dir is a log directory.
type Dir interface {
	ID() kafka.DirectoryID
	// OpenLog opens the log of a partition; a missing one is created.
	OpenLog(tp kafka.TopicPartition, id kafka.TopicID, c commitlog.Config) (*commitlog.Log, error)
	// DeleteLog takes the log away at once and removes its files later.
	DeleteLog(log *commitlog.Log) error
	// SetAside renames the folder of a log that nobody has opened.
	SetAside(tp kafka.TopicPartition) error
	// Offline is why the directory takes part no more, or nil.
	Offline() error
}

// Options make an Executor.
type Options struct {
	Self   kafka.NodeID
	Table  *replica.Table
	Dirs   []Dir
	Config *config.Node
	// Homes tells in which of Dirs a log lies already, for partitions that the
	// image places nowhere in particular.
	Homes map[kafka.TopicPartition]int
	// Flusher keeps flush.ms; nil leaves it to the next append.
	Flusher *replica.Flusher
	// Workers is how many partitions are opened, closed or switched at a time.
	Workers int
	Now     func() time.Time
	Logger  *slog.Logger
}

// Executor carries out plans. Its methods are called by one goroutine, the
// publisher, in the order of a plan's parts, and return at once; Wait waits.
//
// Invariant: steps of one partition name, whatever its topic's id, are carried
// out in the order in which they came, since they share a folder.
type Executor struct {
	o    Options
	seed maphash.Seed

	mu     sync.Mutex // guards homes and placed
	placed []int      // partitions per directory
	homes  map[kafka.TopicPartition]int

	queues []queue
	busy   tally
}

// queue is a worker's work. The worker's goroutine exists while there is some.
type queue struct {
	mu      sync.Mutex // guards what follows
	work    []func()
	running bool
}

// tally counts what is under way. A WaitGroup may not be waited for while work
// comes from elsewhere, as it does during a start.
type tally struct {
	mu   sync.Mutex // guards what follows
	n    int
	none chan struct{} // closed when n is 0; nil while nobody waits
}

func (t *tally) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n += n
	if t.n == 0 && t.none != nil {
		close(t.none)
		t.none = nil
	}
}

func (t *tally) wait() {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	if t.none == nil {
		t.none = make(chan struct{})
	}
	none := t.none
	t.mu.Unlock()
	<-none
}

// NewExecutor makes an Executor.
func NewExecutor(o Options) *Executor {
	x := &Executor{o: o, seed: maphash.MakeSeed(), placed: make([]int, len(o.Dirs)), homes: make(map[kafka.TopicPartition]int),
		queues: make([]queue, max(1, o.Workers))}
	for tp, dir := range o.Homes {
		x.homes[tp] = dir
	}
	return x
}

// Configure applies changed configurations to the partitions that are here.
func (x *Executor) Configure(d *image.Delta, img *image.Image) {
	everyone := false
	topics := make(map[string]bool)
	for r := range d.Configs() {
		switch r.Type {
		case image.ResourceTopic:
			topics[r.Name] = true
		case image.ResourceBroker:
			everyone = true
		}
	}
	if !everyone && len(topics) == 0 {
		return
	}
	rules := make(map[string]*replica.Rules)
	x.o.Table.All(func(p *replica.Partition) bool {
		tp := p.TopicPartition()
		if !everyone && !topics[tp.Topic] {
			return true
		}
		r, ok := rules[tp.Topic]
		if !ok {
			r = x.resolve(img, tp.Topic)
			rules[tp.Topic] = r
		}
		p.SetRules(r)
		x.post(tp, func() { p.Configure(r) })
		return true
	})
}

// Delete carries out the first part of a plan.
func (x *Executor) Delete(steps []Step) {
	for _, s := range steps {
		p := x.o.Table.Get(s.ID.TopicID, s.ID.Partition)
		if p == nil {
			continue
		}
		x.o.Table.Remove(p)
		dir := x.unplace(s.TopicPartition)
		x.post(s.TopicPartition, func() {
			if err := x.delete(p, dir); err != nil {
				x.o.Logger.Error("delete a partition", "partition", s.TopicPartition, "err", err)
			}
		})
	}
}

// delete takes a partition's log away. One that could not be opened is set
// aside: its name must become free, and nobody knows what it holds.
func (x *Executor) delete(p *replica.Partition, dir int) error {
	d, opened := x.o.Dirs[dir], false
	err := p.Close(func(log *commitlog.Log) error {
		opened = true
		return d.DeleteLog(log)
	})
	if opened || d.Offline() != nil {
		return err
	}
	if err := d.SetAside(p.TopicPartition()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Follow carries out the second part of a plan.
func (x *Executor) Follow(steps []Step, img *image.Image) {
	rules := make(map[string]*replica.Rules)
	for _, s := range steps {
		p, dir := x.enter(s, img, rules)
		x.post(s.TopicPartition, func() {
			defer p.End()
			if x.open(p, dir) {
				p.Follow(s.Leadership.Epoch)
			}
		})
	}
}

// Lead carries out the last part of a plan.
func (x *Executor) Lead(steps []Step, img *image.Image) {
	rules := make(map[string]*replica.Rules)
	for _, s := range steps {
		p, dir := x.enter(s, img, rules)
		x.post(s.TopicPartition, func() {
			defer p.End()
			if !x.open(p, dir) {
				return
			}
			if err := p.Lead(s.Leadership); err != nil {
				x.o.Logger.Error("partition cannot lead", "partition", s.TopicPartition, "err", err)
			}
		})
	}
}

// enter makes sure that the partition is in the table, marked as switching,
// and tells in which directory it is.
func (x *Executor) enter(s Step, img *image.Image, rules map[string]*replica.Rules) (p *replica.Partition, dir int) {
	p = x.o.Table.Get(s.ID.TopicID, s.ID.Partition)
	if p != nil {
		p.Begin()
		x.mu.Lock()
		defer x.mu.Unlock()
		return p, x.homes[s.TopicPartition]
	}
	r, ok := rules[s.TopicPartition.Topic]
	if !ok {
		r = x.resolve(img, s.TopicPartition.Topic)
		rules[s.TopicPartition.Topic] = r
	}
	p = replica.New(s.ID, s.TopicPartition, x.o.Now)
	p.SetRules(r)
	p.FlushWith(x.o.Flusher)
	p.Begin()
	dir = x.place(s)
	x.o.Table.Add(p)
	return p, dir
}

// open opens the log of a partition unless it is open.
func (x *Executor) open(p *replica.Partition, dir int) bool {
	err := p.Open(func() (*commitlog.Log, error) {
		d := x.o.Dirs[dir]
		if err := d.Offline(); err != nil {
			return nil, fmt.Errorf("directory is offline: %w", err)
		}
		return d.OpenLog(p.TopicPartition(), p.ID().TopicID, p.Rules().Log)
	})
	if err == nil {
		// FailDir may have come before the partition had its log.
		if err = x.o.Dirs[dir].Offline(); err != nil {
			p.Fail(err)
		}
	}
	switch {
	case errors.Is(err, kafka.InconsistentTopicID):
		x.o.Logger.Warn("partition is offline while the log of an earlier topic has its name", "partition", p.TopicPartition().String(), "err", err)
	case err != nil:
		x.o.Logger.Error("partition stays offline", "partition", p.TopicPartition().String(), "err", err)
	}
	return err == nil
}

// place chooses the directory of a replica: where the image says, where its log
// lies already, or else the emptiest that works.
func (x *Executor) place(s Step) int {
	chosen := -1
	works := make([]bool, len(x.o.Dirs))
	for i, d := range x.o.Dirs {
		works[i] = d.Offline() == nil
		if !s.Directory.IsZero() && d.ID() == s.Directory {
			chosen = i
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if home, ok := x.homes[s.TopicPartition]; ok && chosen < 0 {
		chosen = home
	}
	if chosen < 0 {
		chosen = x.emptiestLocked(works)
	}
	x.homes[s.TopicPartition] = chosen
	x.placed[chosen]++
	return chosen
}

func (x *Executor) emptiestLocked(works []bool) int {
	emptiest := -1
	for i, ok := range works {
		if ok && (emptiest < 0 || x.placed[i] < x.placed[emptiest]) {
			emptiest = i
		}
	}
	return max(emptiest, 0)
}

// unplace forgets where a replica was, and tells it.
func (x *Executor) unplace(tp kafka.TopicPartition) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	dir, ok := x.homes[tp]
	if ok {
		delete(x.homes, tp)
		x.placed[dir]--
	}
	return dir
}

// FailDir takes all partitions of a directory offline.
func (x *Executor) FailDir(dir int, err error) {
	x.o.Table.All(func(p *replica.Partition) bool {
		x.mu.Lock()
		home, ok := x.homes[p.TopicPartition()]
		x.mu.Unlock()
		if ok && home == dir {
			p.Fail(err)
		}
		return true
	})
}

// post gives work for a partition to the worker that does all of its work.
func (x *Executor) post(tp kafka.TopicPartition, f func()) {
	q := &x.queues[maphash.Comparable(x.seed, tp)%uint64(len(x.queues))]
	x.busy.add(1)
	q.mu.Lock()
	q.work = append(q.work, f)
	start := !q.running
	q.running = true
	q.mu.Unlock()
	if start {
		go x.work(q)
	}
}

func (x *Executor) work(q *queue) {
	for {
		q.mu.Lock()
		work := q.work
		q.work = nil
		if len(work) == 0 {
			q.running = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, f := range work {
			f()
			x.busy.add(-1)
		}
	}
}

// Wait waits until all that was asked for is done, for a stop.
func (x *Executor) Wait() { x.busy.wait() }

// Stop waits until all that was asked for is done and takes every partition
// out of use. The logs stay open for their directories, which close them.
func (x *Executor) Stop() {
	x.Wait()
	x.o.Table.All(func(p *replica.Partition) bool {
		_ = p.Close(func(*commitlog.Log) error { return nil })
		x.o.Table.Remove(p)
		return true
	})
}

var _ Dir = (*logdir.Dir)(nil)
