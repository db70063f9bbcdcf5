// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/bench"
)

const (
	crashAnswered = "kill -9 under load, 1,000 partitions: exec to first ApiVersions, ms"
	crashReady    = "kill -9 under load, 1,000 partitions: exec until every partition tells its offsets, ms"
	unusedAnswer  = "clean start, 10,000 partitions never used: exec to first ApiVersions, ms"
	unusedReady   = "clean start, 10,000 partitions never used: exec until every partition tells its offsets, ms"
	unusedMemory  = "clean start, 10,000 partitions never used: resident memory, MB"
	usedAnswer    = "clean start, 10,000 partitions with a record: exec to first ApiVersions, ms"
	usedReady     = "clean start, 10,000 partitions with a record: exec until every partition tells its offsets, ms"
	usedMemory    = "clean start, 10,000 partitions with a record: resident memory, MB"
	quietLatency  = "producer at 10,000/s, quiet: p99 µs"
	busyLatency   = "producer at 10,000/s, recovery points and retention: p99 µs"
	latencyRatio  = "producer at 10,000/s, recovery points and retention over quiet: p99"

	crashTopic      = "crash"
	crashPartitions = 1000
	crashBatchBytes = 64 << 10
	loadBeforeKill  = 3 * time.Second
	oldLoadBytes    = 600_000_000 // dirty when the first recovery point is due
)

// durability measures what recovery costs: a start behind kill -9, clean starts
// with many partitions, and what recovery points and retention do to a producer.
func (b *session) durability(ctx context.Context, s system, dir string) error {
	if err := b.crash(ctx, s, dir+"crash"); err != nil {
		return err
	}
	if err := b.cleanStarts(ctx, s, dir+"clean"); err != nil {
		return err
	}
	return b.disturbed(ctx, s, dir+"busy")
}

// crash fills 1,000 partitions, kills the broker under load and starts it again.
func (b *session) crash(ctx context.Context, s system, dir string) error {
	defer os.RemoveAll(dir)
	p, err := startSystem(ctx, s, dir)
	if err != nil {
		return err
	}
	fill := []string{"produce", "--bootstrap-server", p.address, "--topic", crashTopic, "--partitions", fmt.Sprint(crashPartitions),
		"--batch-bytes", fmt.Sprint(crashBatchBytes)}
	if _, err := b.gregor(ctx, append(fill, "--records", fmt.Sprint(b.options.crashBytes/1024))...); err != nil {
		p.stop()
		return err
	}
	load := exec.CommandContext(ctx, b.options.gregor, append(append([]string{"bench"}, fill...), "--duration", "60s", "-o", "jsonl")...)
	if err := load.Start(); err != nil {
		p.stop()
		return err
	}
	time.Sleep(loadBeforeKill)
	p.kill()
	_ = load.Process.Kill()
	_ = load.Wait()
	began := time.Now()
	if p, err = startSystem(ctx, s, dir); err != nil {
		return err
	}
	defer p.stop()
	if err := reachable(ctx, p, []string{crashTopic}, crashPartitions); err != nil {
		return err
	}
	b.figures.add(s.name(), crashAnswered, milliseconds(p.answered))
	b.figures.add(s.name(), crashReady, milliseconds(time.Since(began)))
	return nil
}

// cleanStarts starts behind a clean stop with 10,000 partitions, first those
// that nobody has used, then with a record in each.
func (b *session) cleanStarts(ctx context.Context, s system, dir string) error {
	defer os.RemoveAll(dir)
	p, err := startSystem(ctx, s, dir)
	if err != nil {
		return err
	}
	if _, err := createMany(ctx, p); err != nil {
		p.stop()
		return err
	}
	for _, use := range []bool{false, true} {
		answer, ready, memory := unusedAnswer, unusedReady, unusedMemory
		if use {
			answer, ready, memory = usedAnswer, usedReady, usedMemory
			if err := useMany(ctx, p); err != nil {
				p.stop()
				return err
			}
		}
		p.stop()
		began := time.Now()
		if p, err = startSystem(ctx, s, dir); err != nil {
			return err
		}
		if err := reachable(ctx, p, manyNames(), manyPartitions); err != nil {
			p.stop()
			return err
		}
		b.figures.add(s.name(), answer, milliseconds(p.answered))
		b.figures.add(s.name(), ready, milliseconds(time.Since(began)))
		rss, _, err := bench.ProcessMemory(p.pid())
		if err != nil {
			p.stop()
			return err
		}
		b.figures.add(s.name(), memory, float64(rss)/1e6)
	}
	p.stop()
	return nil
}

// useMany writes a record into every one of the many partitions.
func useMany(ctx context.Context, p *process) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(p.address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(manyTopics*manyPartitions))
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, name := range manyNames() {
		for i := range int32(manyPartitions) {
			records = append(records, &kgo.Record{Topic: name, Partition: i, Value: []byte("used")})
		}
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// disturbed measures a producer beside nothing, and then beside recovery points
// of much dirty data and a retention that always finds something.
func (b *session) disturbed(ctx context.Context, s system, dir string) error {
	quiet, err := b.latencyOf(ctx, s, dir, nil)
	if err != nil {
		return err
	}
	busy, err := b.latencyOf(ctx, s, dir, map[string]string{
		"log.flush.offset.checkpoint.interval.ms": "3000", "log.retention.check.interval.ms": "500",
		"log.retention.bytes": "20000000", "log.segment.bytes": "4000000", "log.initial.task.delay.ms": "500",
	})
	if err != nil {
		return err
	}
	b.figures.add(s.name(), quietLatency, quiet)
	b.figures.add(s.name(), busyLatency, busy)
	if quiet > 0 {
		b.figures.add(s.name(), latencyRatio, busy/quiet)
	}
	return nil
}

func (b *session) latencyOf(ctx context.Context, s system, dir string, settings map[string]string) (p99 float64, err error) {
	defer os.RemoveAll(dir)
	b.warm.touch()
	p, err := startConfigured(ctx, s, dir, settings)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	if _, err := b.gregor(ctx, "produce", "--bootstrap-server", p.address, "--topic", "old", "--records", fmt.Sprint(oldLoadBytes/1024)); err != nil {
		return 0, err
	}
	r, err := b.gregor(ctx, "latency", "--bootstrap-server", p.address, "--topic", "latency", "--duration", (2 * b.options.duration).String())
	if err != nil {
		return 0, err
	}
	b.note(s.name(), filepath.Base(dir), r)
	return float64(r.Latency.P99Us), nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
