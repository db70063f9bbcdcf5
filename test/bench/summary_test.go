// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gregor/cmd/gregor/bench"
)

func TestSpread(t *testing.T) {
	for _, row := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{3, 1, 2}, spread{1, 2, 3}},
		{[]float64{4, 1, 2, 3}, spread{1, 2.5, 4}},
	} {
		if got, ok := spreadOf(row.values); !ok || got != row.want {
			t.Errorf("%v: %v", row.values, got)
		}
	}
	if _, ok := spreadOf(nil); ok {
		t.Error("nothing has a spread")
	}
}

func TestTargetsAreJudgedRoundByRound(t *testing.T) {
	f := newFigures()
	// The machine halves its speed in every round: absolute figures differ by
	// four, ratios do not.
	for _, slow := range []float64{1, 2, 4} {
		f.round()
		f.add("gregor", produceLarge+overLimit+bench.LimitTCPToFile, 1.1+slow/10)
		f.add("gregor", consumeLarge+bothOverLimit+bench.LimitFileToTCP, 1.5)
		f.add("gregor", "exec to first ApiVersions, ms", 40*slow)
		f.add("gregor", produceLarge+cpuPerGB, 0.6*slow)
		f.add("gregor", "produce, 1 record a request: allocations a request", 3)
		f.add("kafka", produceLarge+cpuPerGB, 1.2*slow)
	}
	var out bytes.Buffer
	f.print(&out, true)
	squeezed := regexp.MustCompile(` {2,}`).ReplaceAllString(out.String(), "  ")
	for _, want := range []string{
		produceLarge + overLimit + bench.LimitTCPToFile + "  1.200 / 1.300 / 1.500  1.250  MISSED",
		consumeLarge + bothOverLimit + bench.LimitFileToTCP + "  1.500 / 1.500 / 1.500  1.150  MISSED",
		"exec to first answered ApiVersions, ms  40.0 / 80.0 / 160  100  met",
		"produce, 1 record a request: allocations a request  3.000 / 3.000 / 3.000  12.0  met",
		"0.500 / 0.500 / 0.500", // gregor over Kafka, round by round
	} {
		if !strings.Contains(squeezed, want) {
			t.Errorf("no %q in\n%s", want, squeezed)
		}
	}
	for _, absent := range []string{consumeLarge + overLimit + bench.LimitAskedFile, "idle resident memory", beatsCPU, "0.000 / 0.000"} {
		if strings.Contains(squeezed, absent) {
			t.Errorf("%q was not measured, and is in\n%s", absent, squeezed)
		}
	}
}

func TestWarmthLeavesNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "warm")
	w, err := newWarmth(name, 10<<20)
	if err != nil {
		t.Fatal(err)
	}
	w.touch()
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	if got, err := parseAvailable([]byte("MemTotal: 10 kB\nMemAvailable:    7 kB\n")); err != nil || got != 7<<10 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := parseAvailable([]byte("MemTotal: 10 kB\n")); err == nil {
		t.Error("no MemAvailable passed")
	}
}
