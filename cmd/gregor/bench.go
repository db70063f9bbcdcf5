// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"gregor/cmd/gregor/bench"
)

// newBenchCommand measures a broker, or the machine under it.
func newBenchCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "bench",
		Short: "Measure a broker: throughput, latency, CPU; and what the machine allows",
		Long: `Puts a load on a broker, any that speaks the Kafka protocol, and tells what it cost.

With --pid the broker's CPU and memory are shown too (Linux). CPU-s/GB is processor time, user plus system, for 10^9
bytes of record batches. On loopback some of the receiver's work is billed to the sender, so the whole machine is shown
beside it.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(
		newBenchLoad("produce", "Write as fast as it goes, or at --rate", "  gregor bench produce --records 100000\n  gregor bench produce --mode client --codec zstd --duration 1s -o json",
			bench.ProduceRaw, bench.ProduceClient),
		newBenchLoad("consume", "Read the topic from its start", "  gregor bench consume --topic orders --records 100\n  gregor bench consume --mode client --topic orders --records 100 -o json",
			bench.FetchRaw, bench.ConsumeClient),
		newBenchLoad("latency", "Time from intended send to receipt, in an open loop", "  gregor bench latency --rate 1000 --duration 1s", nil, bench.EndToEnd),
		newBenchLimits(),
		newBenchPeer(),
	)
	return command
}

type benchRun func(context.Context, bench.Options) (*bench.Result, error)

// newBenchLoad is a subcommand that runs one load; one without a raw mode is
// run by a whole client.
func newBenchLoad(use, short, example string, raw, client benchRun) *cobra.Command {
	var (
		n      connection
		o      bench.Options
		mode   string
		acks   string
		output string
	)
	command := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			switch acks {
			case "":
			case "1":
				o.Acks = 1
			case "all", "-1":
				o.Acks = -1
			default:
				return usage("--acks %s: 1 or all", acks)
			}
			addresses, _, err := n.addresses(command)
			if err != nil {
				return err
			}
			o.Bootstrap = addresses[0]
			run := raw
			switch {
			case mode == "client" || raw == nil:
				run = client
			case mode != "raw":
				return usage("--mode %s: raw or client", mode)
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			ctx, cancel := interruptible(command)
			defer cancel()
			result, err := run(ctx, o)
			if err != nil {
				return failed(err)
			}
			return printResults(command, output, result)
		},
	}
	flags := command.Flags()
	flags.StringVarP(&n.servers, "bootstrap-server", "b", "", "host:port of any broker (default $"+serversVariable+", else "+serversDefault+")")
	flags.StringVar(&o.Topic, "topic", "gregor-bench", "topic to load; created when it does not exist")
	flags.IntVar(&o.Partitions, "partitions", 6, "partitions of a topic that has to be created")
	flags.Int64Var(&o.Records, "records", 0, "stop after this many (default 1000000 unless --duration is given)")
	flags.IntVar(&o.RecordBytes, "record-size", 1024, "bytes of a record's value")
	flags.IntVar(&o.BatchBytes, "batch-bytes", 1<<20, "bytes of a record batch before compression")
	flags.Float64Var(&o.Rate, "rate", 0, "records a second, 0 is as fast as it goes (latency: 10000)")
	flags.DurationVar(&o.Duration, "duration", 0, "stop after this time (latency: 10s)")
	flags.StringVar(&o.Codec, "codec", "none", "none, gzip, snappy, lz4 or zstd")
	flags.IntVar(&o.Connections, "connections", 1, "connections, or clients in client mode")
	flags.StringVar(&acks, "acks", "", "1 or all (default: 1 in raw mode, all in client mode)")
	flags.IntVar(&o.PID, "pid", 0, "the broker's process id")
	outputFlag(command, &output)
	if raw != nil {
		flags.StringVar(&mode, "mode", "raw", "raw (pre-encoded frames, discarded payload) or client (a whole client)")
		flags.IntVar(&o.Window, "window", 4, "raw produce: requests in flight on each connection")
		flags.IntVar(&o.FetchBytes, "fetch-bytes", 1<<20, "consume: most that one partition gives to one fetch")
	}
	return command
}

func newBenchLimits() *cobra.Command {
	var (
		o      bench.LimitOptions
		output string
	)
	command := &cobra.Command{
		Use: "limits", Short: "What this machine allows: TCP, files, sendfile, fdatasync, CRC, memcpy", Args: cobra.NoArgs,
		Example: "  gregor bench limits --bytes 20000000 --duration 10ms\n  gregor bench limits --only 'TCP -> file' --bytes 50000000 -o json",
		RunE: func(command *cobra.Command, _ []string) error {
			executable, err := os.Executable()
			if err != nil {
				return err
			}
			o.Executable = executable
			if err := checkOutput(output); err != nil {
				return err
			}
			ctx, cancel := interruptible(command)
			defer cancel()
			var results []*bench.Result
			if err := bench.Limits(ctx, o, func(r *bench.Result) { results = append(results, r) }); err != nil {
				return failed(err)
			}
			return printResults(command, output, results...)
		},
	}
	flags := command.Flags()
	flags.StringVar(&o.Dir, "dir", ".", "folder on the file system to measure")
	flags.Int64Var(&o.Bytes, "bytes", 2e9, "bytes of each stream")
	flags.DurationVar(&o.Duration, "duration", 0, "time for each limit that counts operations (default 1s)")
	flags.StringVar(&o.Only, "only", "", "only the limits whose names begin so")
	outputFlag(command, &output)
	return command
}

// newBenchPeer is the other end of a limit, in a process of its own.
func newBenchPeer() *cobra.Command {
	var p bench.Peer
	command := &cobra.Command{
		Use: "peer", Short: "The other end of a limit", Hidden: true, Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return bench.ServePeer(command.Context(), p, command.OutOrStdout(), command.InOrStdin())
		},
	}
	flags := command.Flags()
	flags.StringVar(&p.Mode, "mode", "", "discard, file, sendfile, echo or null")
	flags.StringVar(&p.Dir, "dir", ".", "folder for files")
	flags.IntVar(&p.PieceBytes, "piece", 0, "bytes of a read")
	return command
}

// printResults writes measurements in the formats of every command.
func printResults(c *cobra.Command, output string, results ...*bench.Result) error {
	l := listing{kind: "BenchResult", header: bench.Header()}
	for _, r := range results {
		l.rows = append(l.rows, r.Row())
		l.items = append(l.items, r)
		l.names = append(l.names, r.Name)
	}
	return l.print(c.OutOrStdout(), output)
}
