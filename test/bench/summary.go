// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"gregor/cmd/gregor/bench"
)

// figures collects every figure of every round.
type figures struct {
	rounds int
	order  []string                        // names, as they first came
	values map[string]map[string][]float64 // name, system: a value a round
}

func newFigures() *figures { return &figures{values: map[string]map[string][]float64{}} }

func (f *figures) round() { f.rounds++ }

func (f *figures) add(system, name string, value float64) {
	if f.values[name] == nil {
		f.order = append(f.order, name)
		f.values[name] = map[string][]float64{}
	}
	f.values[name][system] = append(f.values[name][system], value)
}

// spread is the least, the median and the most.
type spread struct{ least, median, most float64 }

func spreadOf(values []float64) (spread, bool) {
	if len(values) == 0 {
		return spread{}, false
	}
	sorted := slices.Sorted(slices.Values(values))
	median := sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		median = (median + sorted[len(sorted)/2-1]) / 2
	}
	return spread{sorted[0], median, sorted[len(sorted)-1]}, true
}

func (s spread) String() string {
	return fmt.Sprintf("%s / %s / %s", short(s.least), short(s.median), short(s.most))
}

func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}

// ratio divides two figures round by round, so that what the machine did in a
// round cancels out.
func (f *figures) ratio(system, name, toSystem, toName string) []float64 {
	over, under := f.values[name][system], f.values[toName][toSystem]
	var out []float64
	for i := range min(len(over), len(under)) {
		if under[i] != 0 {
			out = append(out, over[i]/under[i])
		}
	}
	return out
}

// target is a figure that gregor must not exceed.
type target struct {
	what   string
	values []float64
	most   float64
}

const (
	cpuPerGB      = ": broker CPU-s/GB"
	overLimit     = ": broker CPU over "
	bothOverLimit = ": broker and client CPU over "
)

func (f *figures) targets() []target {
	own := func(name string) []float64 { return f.values[name]["gregor"] }
	all := []target{
		{"exec to first answered ApiVersions, ms", own("exec to first ApiVersions, ms"), 100},
		{"idle resident memory, MB", own("idle resident memory, MB"), 50},
		{createTopics, own(createTopics), 2},
		{describeNew, own(describeNew), 50},
		{describeAgain, own(describeAgain), 50},
		{describeOld, own(describeOld), 50},
		{slowestCommand, own(slowestCommand), 100},
		{crashReady, own(crashReady), 1500},
		{unusedAnswer, own(unusedAnswer), 300},
		{unusedMemory, own(unusedMemory), 120},
		{usedAnswer, own(usedAnswer), 300},
		{usedMemory, own(usedMemory), 120},
		{latencyRatio, own(latencyRatio), 1.5},
		{burstStable, own(burstStable), 5},
		{waveStable, own(waveStable), 5},
		{beatsCPU, own(beatsCPU), 8},
		{classicP99, own(classicP99), 10},
		{loadReady, own(loadReady), 2},
	}
	for _, row := range []struct {
		load, limit string
		most        float64
	}{{produceLarge, bench.LimitTCPToFile, 1.25}, {consumeLarge, bench.LimitFileToTCP, 1.15}, {consumeLarge, bench.LimitAskedFile, 1.15}} {
		for _, over := range []string{overLimit, bothOverLimit} {
			name := row.load + over + row.limit
			all = append(all, target{name, own(name), row.most})
		}
	}
	for _, name := range f.order {
		if values := own(name); len(values) > 0 && strings.HasSuffix(name, ": allocations a request") {
			all = append(all, target{name, values, 12})
		}
	}
	return all
}

// print writes the tables. A target is met when the median meets it; those of
// parts that did not run are left out.
func (f *figures) print(w io.Writer, kafka bool) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "LIMITS (%d rounds)\tleast / median / most\n", f.rounds)
	for _, name := range f.order {
		if s, ok := spreadOf(f.values[name]["limit"]); ok {
			fmt.Fprintf(table, "%s\t%s\n", name, s)
		}
	}
	_ = table.Flush()
	fmt.Fprintln(w)
	if kafka {
		fmt.Fprintln(table, "BROKERS\tgregor\tApache Kafka\tgregor over Kafka")
	} else {
		fmt.Fprintln(table, "BROKER\tgregor")
	}
	for _, name := range f.order {
		own, ok := spreadOf(f.values[name]["gregor"])
		if !ok {
			continue
		}
		fmt.Fprintf(table, "%s\t%s", name, own)
		if other, ok := spreadOf(f.values[name]["kafka"]); ok {
			over, _ := spreadOf(f.ratio("gregor", name, "kafka", name))
			fmt.Fprintf(table, "\t%s\t%s", other, over)
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
	fmt.Fprintln(w)
	fmt.Fprintln(table, "TARGETS\tleast / median / most\tat most\t")
	for _, t := range f.targets() {
		s, ok := spreadOf(t.values)
		if !ok {
			continue
		}
		verdict := "met"
		if s.median > t.most {
			verdict = "MISSED"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", t.what, s, short(t.most), verdict)
	}
	_ = table.Flush()
}
