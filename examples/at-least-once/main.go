// SPDX-License-Identifier: Apache-2.0

// Command at-least-once shows what a consumer group promises: every record is
// processed at least once, and a crash between processing and committing has
// records processed again. README.md tells the story; any Kafka broker will do.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sessionTimeout is how long a silent member is believed to be alive: the
// least that a broker allows (group.min.session.timeout.ms).
const sessionTimeout = 6 * time.Second

func main() {
	servers := flag.String("b", "localhost:9092", "a broker, host:port")
	commit := flag.String("commit", "manual", "manual: commit each record after it is processed; auto: let the client commit every 5 s")
	worker := flag.String("worker", "", "used by the story itself: be the worker of this name")
	topic := flag.String("topic", "", "used by the story itself")
	crashAt := flag.String("crash-at", "", "used by the story itself: die after processing this record, before committing it")
	flag.Parse()
	if *commit != "manual" && *commit != "auto" {
		fmt.Fprintln(os.Stderr, "-commit is manual or auto")
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var err error
	if *worker != "" {
		err = work(ctx, *servers, *topic, *worker, *commit, *crashAt)
	} else {
		err = tell(ctx, *servers, *commit)
	}
	switch {
	case ctx.Err() != nil && *worker == "":
		os.Exit(130)
	case err != nil && ctx.Err() == nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// work is one worker: a member of the group, in a process of its own. It says
// on stdout what it does, one word and one value a line.
func work(ctx context.Context, servers, topic, name, commit, crashAt string) error {
	said := func(what string, value any) { fmt.Println(what, value) }
	owned := map[int32]bool{}
	options := []kgo.Opt{
		kgo.SeedBrokers(servers), kgo.ClientID(name), kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(kgo.RangeBalancer()),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(500 * time.Millisecond), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) {
			for _, p := range added[topic] {
				owned[p] = true
			}
			said("owns", len(owned))
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, client *kgo.Client, gone map[string][]int32) {
			_ = client.CommitUncommittedOffsets(ctx) // who takes over begins behind what is done
			for _, p := range gone[topic] {
				delete(owned, p)
			}
		}),
	}
	if commit == "manual" {
		options = append(options, kgo.DisableAutoCommit())
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		// What a poll gives is committed by the client, at the earliest, when
		// it is asked again: so auto-commit too commits after processing.
		fetches := client.PollFetches(ctx)
		for it := fetches.RecordIter(); !it.Done(); {
			record := it.Next()
			said("processed", string(record.Value)) // the work itself
			if string(record.Value) == crashAt {
				crash()
			}
			if commit == "manual" {
				if err := client.CommitRecords(ctx, record); err != nil {
					return err
				}
				said("committed", string(record.Value))
			}
		}
		client.AllowRebalance()
	}
	return nil
}

// crash ends the process as a power cut would: nothing is committed, nobody is
// told.
func crash() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
