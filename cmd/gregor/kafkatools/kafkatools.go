// SPDX-License-Identifier: Apache-2.0

// Package kafkatools is Apache Kafka's shell tools under their own names:
// kafka-topics, kafka-configs, kafka-console-producer, kafka-console-consumer,
// kafka-consumer-groups, kafka-get-offsets, kafka-delete-records and kafka-dump-log take the options
// of Kafka 4.4, print what it prints and exit as it exits, so that scripts need
// no change. Help texts are this program's own.
//
// Where Kafka's tools leave the order to a hash table, here it is by name.
package kafkatools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// KafkaVersion is what --version prints: the release whose tools these are.
const KafkaVersion = "4.4.0"

// Streams are what a tool reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// tool is one of Kafka's programs.
type tool struct {
	name    string
	about   string
	example string // command lines, one a line
	options []option
	run     func(ctx context.Context, o *given, s Streams) error
	// prefix goes before the error of a run, on the stream that Kafka's tool
	// uses: inOut is stdout.
	prefix string
	inOut  bool
}

func tools() []tool {
	return []tool{topicsTool(), configsTool(), getOffsetsTool(), deleteRecordsTool(), dumpLogTool(), producerTool(), consumerTool(), groupsTool()}
}

// Names lists the tools.
func Names() []string {
	var names []string
	for _, t := range tools() {
		names = append(names, t.name)
	}
	slices.Sort(names)
	return names
}

// About says in a line what a tool is for.
func About(name string) string {
	for _, t := range tools() {
		if t.name == name {
			return t.about
		}
	}
	return ""
}

// Example gives command lines of a tool, one a line.
func Example(name string) string {
	for _, t := range tools() {
		if t.name == name {
			return t.example
		}
	}
	return ""
}

// Called finds the tool that a program was called as, by the base name of its
// first argument: kafka-topics or kafka-topics.sh.
func Called(program string) (name string, ok bool) {
	name = strings.TrimSuffix(program, ".sh")
	return name, slices.Contains(Names(), name)
}

// Exit codes of Kafka's tools.
const (
	exitDone        = 0
	exitFailed      = 1
	exitInterrupted = 130
)

// errTold ends a tool that has said what is wrong.
var errTold = errors.New("told")

// Run carries out a command line of a tool and gives its exit code.
func Run(ctx context.Context, name string, args []string, s Streams) int {
	i := slices.IndexFunc(tools(), func(t tool) bool { return t.name == name })
	if i < 0 {
		fmt.Fprintf(s.Err, "there is no %s\n", name)
		return exitFailed
	}
	t := tools()[i]
	o, err := parse(&t, args)
	if err != nil {
		fmt.Fprintln(s.Err, err)
		return exitFailed
	}
	switch {
	case o.has("help"):
		t.usage(s.Err)
		return exitDone
	case o.has("version"):
		fmt.Fprintln(s.Out, KafkaVersion)
		return exitDone
	}
	if len(o.rest) > 0 {
		fmt.Fprintf(s.Err, "WARNING: ignored, as Kafka's tools do: %s\n", strings.Join(o.rest, " "))
	}
	err = t.run(ctx, o, s)
	var wrong *usageError
	switch {
	case ctx.Err() != nil:
		return exitInterrupted
	case err == nil:
		return exitDone
	case errors.As(err, &wrong):
		fmt.Fprintln(s.Err, wrong)
		if !wrong.terse {
			t.usage(s.Err)
		}
	case errors.Is(err, errTold):
	case t.inOut:
		if _, full := fmt.Fprintf(s.Out, "%s%s\n", t.prefix, err); full != nil {
			fmt.Fprintf(s.Err, "%s%s\n", t.prefix, err)
		}
	default:
		fmt.Fprintf(s.Err, "%s%s\n", t.prefix, err)
	}
	return exitFailed
}
