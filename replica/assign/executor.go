// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
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
	replica.Gate
}

// Options make an Executor.
type Options struct {
	Self   kafka.NodeID
	Table  *replica.Table
	Dirs   []Dir
	Config *config.Node
	// Homes tells where logs lie already. More than one of a name are of
	// different topics.
	Homes map[kafka.TopicPartition][]Home
	// Assigned is told of every replica that is in another directory than the
	// image says. It does not wait. nil: nobody is.
	Assigned func(kafka.TopicIDPartition, kafka.DirectoryID)
	// Flusher keeps flush.ms; nil leaves it to the next append.
	Flusher *replica.Flusher
	// Workers is how many partitions of a directory are opened, closed or
	// switched at a time.
	Workers int
	Now     func() time.Time
	Logger  *slog.Logger
}

// Executor carries out plans. Its methods are called by one goroutine, the
// publisher, in the order of a plan's parts, and return at once; Wait waits.
//
// Invariant: steps of one partition name in one directory, whatever its topic's
// id, are carried out in the order in which they came, since they share a
// folder. Each directory has workers of its own: one that hangs holds up none
// but its own partitions.
type Executor struct {
	o     Options
	seed  maphash.Seed
	homes homes // of the publisher

	queues []queue // Workers for each directory
	later  later
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
	o.Workers = max(1, o.Workers)
	return &Executor{o: o, seed: maphash.MakeSeed(), homes: newHomes(len(o.Dirs), o.Homes),
		queues: make([]queue, o.Workers*max(1, len(o.Dirs))), later: later{steps: make(map[*replica.Partition]laterStep)}}
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
		x.post(p.Home(), tp, p.ApplyRules) // those that hold then: there may be newer ones
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
		x.unplace(p)
		x.post(p.Home(), s.TopicPartition, func() {
			if err := x.delete(p); err != nil {
				x.o.Logger.Error("delete a partition", "partition", s.TopicPartition, "err", err)
			}
		})
	}
}

// delete takes a partition's log away. One that could not be opened is set
// aside: its name must become free, and nobody knows what it holds. What is in
// a directory that has failed stays there.
func (x *Executor) delete(p *replica.Partition) error {
	forget := func(log *commitlog.Log) error { log.Kill(); return nil }
	if p.Home() == noDirectory {
		return p.Close(forget)
	}
	d := x.o.Dirs[p.Home()]
	if d.Offline() != nil {
		return p.Close(forget)
	}
	var opened *commitlog.Log
	err := p.Close(func(log *commitlog.Log) error {
		opened = log
		return d.DeleteLog(log)
	})
	switch {
	case opened != nil && d.Offline() == nil && passes(err):
		x.o.Logger.Warn("the folder of a deleted partition keeps its name until there is what a renaming needs", "partition", p.TopicPartition().String(), "err", err)
		x.deleteLater(p, opened)
		return nil
	case opened != nil || d.Offline() != nil:
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
		p := x.enter(s, img, rules)
		x.carryOut(p, s, func() error { p.Follow(s.Leadership.Epoch); return nil })
	}
}

// Lead carries out the last part of a plan.
func (x *Executor) Lead(steps []Step, img *image.Image) {
	rules := make(map[string]*replica.Rules)
	for _, s := range steps {
		p := x.enter(s, img, rules)
		x.carryOut(p, s, func() error { return p.Lead(s.Leadership) })
	}
}

// enter makes sure that the partition is in the table, marked as switching, and
// has a home.
func (x *Executor) enter(s Step, img *image.Image, rules map[string]*replica.Rules) *replica.Partition {
	p := x.o.Table.Get(s.ID.TopicID, s.ID.Partition)
	if p != nil {
		p.Begin()
		return p
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
	dir := x.place(s)
	p.SetHome(dir)
	if dir >= 0 {
		p.SetGate(x.o.Dirs[dir])
	}
	x.o.Table.Add(p)
	return p
}

// open opens the log of a partition unless it is open. named is the directory
// in which the image has it.
func (x *Executor) open(p *replica.Partition, named kafka.DirectoryID) bool {
	dir := p.Home()
	if dir == noDirectory {
		_ = p.Open(func() (*commitlog.Log, error) { return nil, &awayError{named} })
		x.o.Logger.Debug("partition stays offline with its directory", "partition", p.TopicPartition().String(), "directory", named.String())
		return false
	}
	d := x.o.Dirs[dir]
	err := p.Open(func() (*commitlog.Log, error) {
		if err := d.Offline(); err != nil {
			return nil, err
		}
		return d.OpenLog(p.TopicPartition(), p.ID().TopicID, p.Rules().Log)
	})
	// FailDir may have come before the partition had its log, or was entered.
	if gone := d.Offline(); gone != nil {
		p.Lose(gone)
		x.o.Logger.Debug("partition stays offline with its directory", "partition", p.TopicPartition().String(), "err", err)
		return false
	}
	switch {
	case err == nil:
		if d.ID() != named {
			x.report(p.ID(), d.ID())
		}
	case errors.Is(err, kafka.InconsistentTopicID):
		x.o.Logger.Warn("partition is offline while the log of an earlier topic has its name", "partition", p.TopicPartition().String(), "err", err)
	case passes(err):
		x.o.Logger.Debug("a partition cannot be opened for now", "partition", p.TopicPartition().String(), "err", err)
	default:
		x.o.Logger.Error("partition stays offline", "partition", p.TopicPartition().String(), "err", err)
	}
	return err == nil
}

// post gives work for a partition in a directory to the worker that does all of
// its work.
func (x *Executor) post(dir int, tp kafka.TopicPartition, f func()) {
	q := &x.queues[max(dir, 0)*x.o.Workers+int(maphash.Comparable(x.seed, tp)%uint64(x.o.Workers))]
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

// Wait waits until all that was asked for is done.
func (x *Executor) Wait() { x.busy.wait() }

// Halt waits until all that was asked for is done; what waits for room is given
// up.
func (x *Executor) Halt() {
	x.later.halt()
	x.Wait()
}

// Stop is Halt, and takes every partition out of use. The logs stay open for
// their directories, which close them.
func (x *Executor) Stop() {
	x.Halt()
	x.o.Table.All(func(p *replica.Partition) bool {
		_ = p.Close(func(*commitlog.Log) error { return nil })
		x.o.Table.Remove(p)
		return true
	})
}

var _ Dir = (*logdir.Dir)(nil)
