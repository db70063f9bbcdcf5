// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// patience is how long one step may take.
const patience = 30 * time.Second

// leaving is how long a worker may take to leave its group.
const leaving = 15 * time.Second

// event is one line that a worker said; an empty one says that it is gone.
type event struct{ what, value string }

// process is a worker that runs.
type process struct {
	name    string
	command *exec.Cmd
	events  chan event
}

func start(ctx context.Context, name string, arguments ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, command: exec.CommandContext(ctx, self, append([]string{"-worker", name}, arguments...)...), events: make(chan event, 100)}
	p.command.Stderr = os.Stderr
	p.command.Cancel = func() error { return p.command.Process.Signal(syscall.SIGTERM) }
	p.command.WaitDelay = leaving
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			what, value, _ := strings.Cut(lines.Text(), " ")
			p.events <- event{what, value}
		}
	}()
	return p, nil
}

// end has the worker leave its group, kills it if it does not, and waits until
// it is gone, so that none outlives the story.
func (p *process) end() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(leaving, func() { _ = p.command.Process.Kill() })
	defer late.Stop()
	for range p.events {
	}
	_ = p.command.Wait()
}

var errGone = errors.New("is gone")

// next waits for what the worker says next.
func (p *process) next(ctx context.Context) (event, error) {
	select {
	case e, ok := <-p.events:
		if !ok {
			return event{}, fmt.Errorf("worker %s %w", p.name, errGone)
		}
		return e, nil
	case <-time.After(patience):
		return event{}, fmt.Errorf("worker %s said nothing for %v", p.name, patience)
	case <-ctx.Done():
		return event{}, ctx.Err()
	}
}

// owns waits until the worker has so many partitions.
func (p *process) owns(ctx context.Context, count string) error {
	for {
		e, err := p.next(ctx)
		if err != nil || e == (event{"owns", count}) {
			return err
		}
	}
}

// tell runs the four steps and writes what happens.
func tell(ctx context.Context, servers, commit string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(servers), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ManualFlushing()) // all orders in one batch
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	topic := fmt.Sprintf("at-least-once-%s-%d", commit, time.Now().UnixMilli())
	created, err := admin.CreateTopic(ctx, 2, 1, nil, topic)
	if err = errors.Join(err, created.Err); err != nil {
		return fmt.Errorf("create topic %s at %s: %w", topic, servers, err)
	}
	defer func() { // nothing stays behind
		ctx := context.WithoutCancel(ctx)
		_, _ = admin.DeleteTopics(ctx, topic)
		_, _ = admin.DeleteGroups(ctx, topic)
	}()

	arguments := []string{"-b", servers, "-commit", commit, "-topic", topic}
	fmt.Println("1. Two workers share the two partitions of a topic, and process.")
	a, err := start(ctx, "A", append(arguments, "-crash-at", "order-3")...)
	if err != nil {
		return err
	}
	defer a.end()
	if err := a.owns(ctx, "2"); err != nil {
		return err
	}
	b, err := start(ctx, "B", arguments...)
	if err != nil {
		return err
	}
	defer b.end()
	if err := errors.Join(b.owns(ctx, "1"), a.owns(ctx, "1")); err != nil {
		return err
	}
	var refused kgo.FirstErrPromise
	for i := range 4 {
		order := &kgo.Record{Topic: topic, Partition: 0, Value: fmt.Appendf(nil, "order-%d", i+1)} // A's partition
		client.Produce(ctx, order, refused.Promise())
	}
	if err := errors.Join(client.Flush(ctx), refused.Err()); err != nil {
		return err
	}
	times := map[string]int{}
	if err := crashing(ctx, a, times); err != nil {
		return err
	}

	fmt.Println("3. Nobody told the broker. When A has been silent for its session timeout, B is given its partition.")
	if err := b.owns(ctx, "2"); err != nil {
		return err
	}
	fmt.Println("   B has both partitions")
	fmt.Println("4. B begins behind the last commit, and sees again what A processed and did not commit.")
	return finish(ctx, b, commit, times)
}

// crashing follows A to its end.
func crashing(ctx context.Context, a *process, times map[string]int) error {
	for {
		e, err := a.next(ctx)
		switch {
		case errors.Is(err, errGone):
			fmt.Println("   A is dead")
			return nil
		case err != nil:
			return err
		case e.what == "processed":
			times[e.value]++
			if e.value == "order-3" {
				fmt.Println("2. A crashes after it has processed order-3, before it commits it.")
			}
		}
		fmt.Printf("   A %s %s\n", e.what, e.value)
	}
}

// finish follows B to the last order, and counts.
func finish(ctx context.Context, b *process, commit string, times map[string]int) error {
	last := event{"processed", "order-4"}
	if commit == "manual" {
		last.what = "committed"
	}
	for {
		e, err := b.next(ctx)
		if err != nil {
			return err
		}
		again := ""
		if e.what == "processed" {
			if times[e.value]++; times[e.value] > 1 {
				again = " again"
			}
		}
		fmt.Printf("   B %s %s%s\n", e.what, e.value, again)
		if e == last {
			break
		}
	}
	for i := range 4 {
		order := fmt.Sprintf("order-%d", i+1)
		fmt.Printf("%s was processed %s\n", order, map[int]string{1: "once", 2: "twice"}[times[order]])
	}
	return nil
}
