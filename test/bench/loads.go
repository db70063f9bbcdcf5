// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"gregor/cmd/gregor/bench"
)

// load is one measurement of a running broker.
type load struct {
	name        string
	command     string // of gregor bench
	arguments   []string
	limits      []string // measured before and after
	allocations bool     // also count the broker's allocations, a request
	figures     func(*bench.Result) []figure
}

type figure struct {
	name  string
	value float64
}

const (
	produceLarge = "produce 1 KB, 1 MiB batches"
	consumeLarge = "consume 1 KB, 1 MiB batches"
)

// loads are in the order in which they run; consumers read what came before.
func loads(o options) []load {
	records := func(bytes int64, recordBytes int) string { return fmt.Sprint(bytes / int64(recordBytes)) }
	return []load{
		{produceLarge, "produce", []string{"--topic", "large", "--records", records(o.bytes, 1024)}, []string{bench.LimitTCPToFile}, false, throughput},
		{consumeLarge, "consume", []string{"--topic", "large", "--records", records(o.bytes, 1024)}, []string{bench.LimitFileToTCP, bench.LimitAskedFile}, false, throughput},
		{"produce 1 KB, 16 KiB batches", "produce", []string{
			"--topic", "small", "--records", records(o.bytes/4, 1024), "--batch-bytes", "16384", "--connections", "2"}, nil, false, throughput},
		{"produce 100 B, 64 KiB batches", "produce", []string{
			"--topic", "narrow", "--records", records(o.bytes/4, 100), "--record-size", "100", "--batch-bytes", "65536"}, nil, false, throughput},
		{"produce 1 KB zstd, 256 KiB batches", "produce", []string{
			"--topic", "zstd", "--records", records(o.bytes, 1024), "--batch-bytes", "262144", "--codec", "zstd"}, nil, false, throughput},
		{"one record a request, 100 connections", "produce", []string{
			"--topic", "single", "--records", "100000", "--record-size", "100", "--batch-bytes", "1", "--connections", "100", "--window", "1"}, nil, false, requests},
		{"produce, 1 record a request", "produce", []string{
			"--topic", "one", "--records", "40000", "--record-size", "100", "--batch-bytes", "1"}, nil, true, requests},
		{"produce, 1,000 records a request", "produce", []string{
			"--topic", "thousand", "--records", "5000000", "--record-size", "100", "--batch-bytes", "108000"}, nil, true, requests},
		{"fetch, 1 record a batch", "consume", []string{
			"--topic", "one", "--records", "100000", "--fetch-bytes", "1"}, nil, true, requests},
		{"fetch, 1,000 records a batch", "consume", []string{
			"--topic", "thousand", "--records", "20000000", "--fetch-bytes", "1"}, nil, true, requests},
		{"client: produce 1 KB", "produce", []string{
			"--mode", "client", "--topic", "client", "--records", records(o.bytes/4, 1024)}, nil, false, throughput},
		{"client: consume 1 KB", "consume", []string{"--mode", "client", "--topic", "client"}, nil, false, throughput},
		{"end to end, 10,000/s", "latency", []string{"--topic", "latency", "--duration", o.duration.String()}, nil, false, latency},
	}
}

func throughput(r *bench.Result) []figure {
	return []figure{
		{"MB/s", r.MegabytesPerSecond}, {"broker CPU-s/GB", r.Broker.PerGB},
		{"of it user", r.Broker.UserPerGB}, {"machine CPU-s/GB", r.Machine.PerGB},
	}
}

func requests(r *bench.Result) []figure {
	return []figure{
		{"requests/s", r.RequestsPerSecond}, {"broker CPU µs a request", r.Broker.MicrosecondsPerReq},
		{"p50 µs", float64(r.Latency.P50Us)}, {"p99 µs", float64(r.Latency.P99Us)},
	}
}

func latency(r *bench.Result) []figure {
	return []figure{
		{"p50 µs", float64(r.Latency.P50Us)}, {"p99 µs", float64(r.Latency.P99Us)}, {"p99.9 µs", float64(r.Latency.P999Us)},
		{"max µs", float64(r.Latency.MaxUs)}, {"client's own delay p99 µs", float64(r.SendDelay.P99Us)}, {"broker CPU-s/GB", r.Broker.PerGB},
	}
}
