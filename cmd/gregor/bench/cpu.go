// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"syscall"
	"time"
)

// ticksPerSecond is the unit of the kernel's process accounting; Linux shows
// 100 to user space on every platform that Go supports.
const ticksPerSecond = 100

// gauge is a reading of the clocks that a Result is made of.
type gauge struct {
	at      time.Time
	broker  CPU
	client  CPU
	machine CPU
	known   struct{ broker, machine bool }
}

// readGauge reads all clocks now. A system without /proc shows the client's
// own CPU only.
func readGauge(pid int) (gauge, error) {
	g := gauge{at: time.Now()}
	if pid != 0 {
		cpu, err := ProcessCPU(pid)
		if err != nil {
			return g, fmt.Errorf("CPU of process %d: %w", pid, err)
		}
		g.broker, g.known.broker = cpu, true
	}
	if cpu, err := machineCPU(); err == nil {
		g.machine, g.known.machine = cpu, true
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return g, err
	}
	g.client = CPU{UserSeconds: seconds(usage.Utime), SystemSeconds: seconds(usage.Stime)}
	return g, nil
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// since fills a result's clocks from the difference of two readings.
func (g gauge) since(before gauge, r *Result) *Result {
	r.Seconds = g.at.Sub(before.at).Seconds()
	if g.known.broker {
		r.Broker = g.broker.minus(before.broker)
	}
	if g.known.machine {
		r.Machine = g.machine.minus(before.machine)
	}
	r.Client = g.client.minus(before.client)
	return r
}

func (c CPU) minus(before CPU) *CPU {
	return &CPU{UserSeconds: c.UserSeconds - before.UserSeconds, SystemSeconds: c.SystemSeconds - before.SystemSeconds}
}

var errFormat = errors.New("unexpected format")

// ProcessCPU is what a process has used so far: utime and stime, fields 14 and 15 of /proc/PID/stat. The
// name before them may hold spaces and brackets: count from its last bracket.
func ProcessCPU(pid int) (CPU, error) {
	text, err := os.ReadFile(path.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return CPU{}, err
	}
	return parseProcessStat(text)
}

func parseProcessStat(text []byte) (CPU, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return CPU{}, errFormat
	}
	user, err1 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(fields[12]), 10, 64)
	return CPU{UserSeconds: float64(user) / ticksPerSecond, SystemSeconds: float64(system) / ticksPerSecond}, errors.Join(err1, err2)
}

// machineCPU reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq, … in ticks.
func machineCPU() (CPU, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return CPU{}, err
	}
	return parseMachineStat(text)
}

func parseMachineStat(text []byte) (CPU, error) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 8 || string(fields[0]) != "cpu" {
		return CPU{}, errFormat
	}
	var ticks [7]float64
	for i := range ticks {
		n, err := strconv.ParseInt(string(fields[i+1]), 10, 64)
		if err != nil {
			return CPU{}, err
		}
		ticks[i] = float64(n) / ticksPerSecond
	}
	return CPU{UserSeconds: ticks[0] + ticks[1], SystemSeconds: ticks[2] + ticks[5] + ticks[6]}, nil
}

// ProcessMemory returns a process's resident memory and the most it ever was,
// from /proc/PID/status.
func ProcessMemory(pid int) (rssBytes, peakBytes int64, err error) {
	text, err := os.ReadFile(path.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) < 3 {
			continue
		}
		kilobytes, _ := strconv.ParseInt(string(fields[1]), 10, 64)
		switch string(fields[0]) {
		case "VmRSS:":
			rssBytes = kilobytes << 10
		case "VmHWM:":
			peakBytes = kilobytes << 10
		}
	}
	return rssBytes, peakBytes, nil
}

// addMemory notes the broker's memory at the end of a run.
func (r *Result) addMemory(pid int) {
	if pid == 0 {
		return
	}
	if rss, peak, err := ProcessMemory(pid); err == nil {
		r.RSSBytes, r.RSSPeak = rss, peak
	}
}
