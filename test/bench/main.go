// SPDX-License-Identifier: Apache-2.0

// Command bench (make bench) measures a node beside the limits of the machine
// that it runs on, all in one run and interleaved, so that ratios survive a
// machine whose absolute figures do not: in every round gregor, then (with
// -kafka) Apache Kafka, each on a fresh directory, and the limits right before
// and after the loads that are held against them. It prints
// the least, the median and the most of every figure, and holds gregor against
// its targets.
//
// Page-cache pages that the guest touches for the first time, or that went
// back to the host when a file was deleted, cost several times the system time
// of others. A sparse file as large as the free memory is therefore read into
// the page cache before every measurement: new pages then come from memory
// that is already the guest's.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gregor/cmd/gregor/bench"
)

type options struct {
	gregor, kafka string
	dir, output   string
	only          string
	rounds        int
	bytes         int64
	crashBytes    int64
	warmBytes     int64
	duration      time.Duration
}

func main() {
	var o options
	rounds := 5
	if given, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil && given > 0 {
		rounds = given
	}
	flag.StringVar(&o.gregor, "gregor", "bin/gregor", "the binary under test; it also makes the load")
	flag.StringVar(&o.kafka, "kafka", os.Getenv("KAFKA_LIBS"), "folder with Apache Kafka's jars, to measure it beside gregor")
	flag.StringVar(&o.dir, "dir", "", "folder on the file system to measure (default: the system's temporary one)")
	flag.StringVar(&o.output, "json", "", "file to write every single measurement to, one a line")
	flag.StringVar(&o.only, "only", os.Getenv("ONLY"), "admin: topics in bulk and the command line; durability: starts and what recovery points cost; groups: members and their offsets; loads: all else (default all; ONLY in the environment is the default)")
	flag.IntVar(&o.rounds, "rounds", rounds, "how often everything is measured; ROUNDS in the environment is the default")
	flag.Int64Var(&o.bytes, "bytes", 2e9, "bytes of each produce and consume load")
	flag.Int64Var(&o.crashBytes, "crash-bytes", 10e9, "bytes in the partitions of a broker that is killed")
	flag.Int64Var(&o.warmBytes, "warm", -1, "bytes of page cache to keep warm; -1 is what is free less the room for the loads, 0 is none")
	flag.DurationVar(&o.duration, "duration", 5*time.Second, "of each latency run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.gregor, err = filepath.Abs(o.gregor); err != nil {
		return err
	}
	if parts := []string{onlyAdmin, onlyDurability, onlyGroups, onlyLoads}; o.only != "" && !slices.Contains(parts, o.only) {
		return fmt.Errorf("-only %s: allowed are %s", o.only, strings.Join(parts, ", "))
	}
	if o.dir, err = os.MkdirTemp(o.dir, "gregor-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	if o.only == onlyAdmin || o.only == onlyGroups {
		o.warmBytes = 0
	}
	warm, err := newWarmth(filepath.Join(o.dir, "warm"), o.warmBytes)
	if err != nil {
		return err
	}
	defer warm.close()
	b := &session{options: o, warm: warm, figures: newFigures()}
	if o.output != "" {
		file, err := os.Create(o.output)
		if err != nil {
			return err
		}
		defer file.Close()
		b.raw = json.NewEncoder(file)
	}
	systems := []system{gregorSystem{o}}
	if o.kafka != "" {
		systems = append(systems, kafkaSystem{o})
	}
	// What was measured before a failure is shown too: a round takes minutes.
	defer func() { b.figures.print(os.Stdout, o.kafka != "") }()
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		b.figures.round()
		if err := b.round(ctx, systems, round); err != nil {
			return err
		}
	}
	return nil
}

// Parts of a round, for -only.
const (
	onlyAdmin      = "admin"
	onlyDurability = "durability"
	onlyGroups     = "groups"
	onlyLoads      = "loads"
)

// wants reports whether a part is to be measured.
func (o *options) wants(part string) bool { return o.only == "" || o.only == part }

func (b *session) round(ctx context.Context, systems []system, round int) error {
	if b.options.wants(onlyLoads) {
		if err := b.ceilings(ctx); err != nil {
			return fmt.Errorf("limits: %w", err)
		}
	}
	for _, s := range systems {
		dir := filepath.Join(b.options.dir, fmt.Sprint(s.name(), round))
		if b.options.wants(onlyAdmin) {
			if err := b.administer(ctx, s, dir+"admin"); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
		}
		if b.options.wants(onlyDurability) {
			if err := b.durability(ctx, s, dir); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
		}
		if b.options.wants(onlyGroups) {
			if err := b.groups(ctx, s, dir+"groups"); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
		}
		if b.options.wants(onlyLoads) {
			if err := b.measure(ctx, s, dir); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
		}
	}
	return nil
}

// session is one run of everything.
type session struct {
	options options
	warm    *warmth
	figures *figures
	raw     *json.Encoder
}

// ceilings measures what the raw load reaches when the broker does nothing.
func (b *session) ceilings(ctx context.Context) error {
	for _, name := range []string{bench.LimitNullProduce, bench.LimitNullFetch} {
		if _, err := b.limit(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// limit measures one limit.
func (b *session) limit(ctx context.Context, name string) (cost, error) {
	b.warm.touch()
	r, err := b.gregor(ctx, "limits", "--only", name, "--dir", b.options.dir, "--bytes", fmt.Sprint(b.options.bytes))
	if err != nil {
		return cost{}, err
	}
	b.note("limit", name, r)
	b.figures.add("limit", name+cpuPerGB, r.Broker.PerGB)
	b.figures.add("limit", name+": MB/s", r.MegabytesPerSecond)
	return costOf(r), nil
}

// cost is CPU in seconds a gigabyte: of the broker, or of the process that
// stands where a broker would stand, and of that and the client together. On
// loopback the kernel bills the same work now to one end and now to the other;
// only their sum does not depend on who happened to run.
type cost struct{ broker, both float64 }

func costOf(r *bench.Result) cost { return cost{r.Broker.PerGB, r.Broker.PerGB + r.Client.PerGB} }

func (c cost) plus(d cost) cost { return cost{c.broker + d.broker, c.both + d.both} }

// gregor runs one measurement of the bench command.
func (b *session) gregor(ctx context.Context, arguments ...string) (*bench.Result, error) {
	command := exec.CommandContext(ctx, b.options.gregor, append(append([]string{"bench"}, arguments...), "-o", "jsonl")...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("gregor bench %v: %w", arguments, err)
	}
	r := &bench.Result{}
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("gregor bench %v: %w", arguments, err)
	}
	return r, nil
}

func (b *session) note(system, what string, r *bench.Result) {
	if b.raw != nil {
		_ = b.raw.Encode(struct {
			System string        `json:"system"`
			What   string        `json:"what"`
			Result *bench.Result `json:"result"`
		}{system, what, r})
	}
}

// measure starts a system, runs every load against it and removes it.
func (b *session) measure(ctx context.Context, s system, dir string) error {
	b.warm.touch()
	p, err := startSystem(ctx, s, dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer p.stop()
	b.figures.add(s.name(), "exec to first ApiVersions, ms", float64(p.answered.Microseconds())/1000)
	time.Sleep(idleTime)
	rss, _, err := bench.ProcessMemory(p.pid())
	if err != nil {
		return err
	}
	b.figures.add(s.name(), "idle resident memory, MB", float64(rss)/1e6)
	for _, l := range loads(b.options) {
		r, allocations, err := b.besideLimit(ctx, s, p, l)
		if err != nil {
			return err
		}
		b.note(s.name(), l.name, r)
		for _, f := range l.figures(r) {
			b.figures.add(s.name(), l.name+": "+f.name, f.value)
		}
		if allocations > 0 {
			b.figures.add(s.name(), l.name+": allocations a request", allocations)
		}
	}
	_, peak, err := bench.ProcessMemory(p.pid())
	if err != nil {
		return err
	}
	b.figures.add(s.name(), "most resident memory, MB", float64(peak)/1e6)
	return nil
}

// idleTime is how long a fresh node is left alone before it counts as idle.
const idleTime = 2 * time.Second

// besideLimit runs one load and, where it has one, its limit right before and
// right after it: what the machine allows changes from minute to minute.
func (b *session) besideLimit(ctx context.Context, s system, p *process, l load) (r *bench.Result, allocations float64, err error) {
	if len(l.limits) == 0 {
		b.warm.touch()
		return b.load(ctx, p, l)
	}
	around := map[string]cost{}
	measure := func() error {
		for _, name := range l.limits {
			c, err := b.limit(ctx, name)
			if err != nil {
				return err
			}
			around[name] = around[name].plus(c)
		}
		return nil
	}
	if err := measure(); err != nil {
		return nil, 0, err
	}
	b.warm.touch()
	if r, allocations, err = b.load(ctx, p, l); err != nil {
		return nil, 0, err
	}
	if err := measure(); err != nil {
		return nil, 0, err
	}
	for _, name := range l.limits {
		own, limit := costOf(r), around[name]
		if limit.broker > 0 && limit.both > 0 {
			b.figures.add(s.name(), l.name+overLimit+name, own.broker/(limit.broker/2))
			b.figures.add(s.name(), l.name+bothOverLimit+name, own.both/(limit.both/2))
		}
	}
	return r, allocations, nil
}

func (b *session) load(ctx context.Context, p *process, l load) (*bench.Result, float64, error) {
	before, counted := p.allocations(ctx)
	arguments := append([]string{l.command, "--bootstrap-server", p.address, "--pid", fmt.Sprint(p.pid())}, l.arguments...)
	r, err := b.gregor(ctx, arguments...)
	if err != nil {
		return nil, 0, err
	}
	after, _ := p.allocations(ctx)
	if !counted || r.Requests == 0 || !l.allocations {
		return r, 0, nil
	}
	return r, (after - before) / float64(r.Requests), nil
}
