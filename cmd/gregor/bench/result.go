// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is one measurement. Its JSON form is what scripts read: fields are
// added, never renamed.
type Result struct {
	Name        string   `json:"name"`
	Seconds     float64  `json:"seconds"`
	Records     int64    `json:"records,omitempty"`
	Requests    int64    `json:"requests,omitempty"`
	Operations  int64    `json:"operations,omitempty"`
	Bytes       int64    `json:"bytes,omitempty"`       // of record batches, as on the wire
	RecordBytes int64    `json:"recordBytes,omitempty"` // of record values, before compression
	Latency     *Latency `json:"latency,omitempty"`     // of a request, or end to end
	SendDelay   *Latency `json:"sendDelay,omitempty"`   // how late the client itself was
	Broker      *CPU     `json:"broker,omitempty"`      // the process under load
	Client      *CPU     `json:"client,omitempty"`      // this process
	Machine     *CPU     `json:"machine,omitempty"`     // all processes and the kernel
	RSSBytes    int64    `json:"brokerRSSBytes,omitempty"`
	RSSPeak     int64    `json:"brokerRSSPeakBytes,omitempty"`

	RecordsPerSecond   float64 `json:"recordsPerSecond,omitempty"`
	RequestsPerSecond  float64 `json:"requestsPerSecond,omitempty"`
	MegabytesPerSecond float64 `json:"megabytesPerSecond,omitempty"`
}

// CPU is processor time, whole and for each unit of work.
type CPU struct {
	UserSeconds        float64 `json:"userSeconds"`
	SystemSeconds      float64 `json:"systemSeconds"`
	UserPerGB          float64 `json:"userSecondsPerGB,omitempty"`
	SystemPerGB        float64 `json:"systemSecondsPerGB,omitempty"`
	PerGB              float64 `json:"secondsPerGB,omitempty"`
	MicrosecondsPerReq float64 `json:"microsecondsPerRequest,omitempty"`
}

// Latency is the shape of a histogram, in microseconds.
type Latency struct {
	Count   int64   `json:"count"`
	MeanUs  float64 `json:"meanUs"`
	P50Us   int64   `json:"p50Us"`
	P90Us   int64   `json:"p90Us"`
	P99Us   int64   `json:"p99Us"`
	P999Us  int64   `json:"p999Us"`
	P9999Us int64   `json:"p9999Us"`
	MaxUs   int64   `json:"maxUs"`
}

// Histograms span 1 µs to a minute with three digits.
const (
	histogramMaxUs  = 60_000_000
	histogramDigits = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, histogramMaxUs, histogramDigits)
}

// record takes a latency in; what is beyond the scale counts as its end.
func record(h *hdrhistogram.Histogram, microseconds int64) {
	_ = h.RecordValue(min(max(microseconds, 1), histogramMaxUs)) // in range by construction
}

func summarize(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	return &Latency{
		Count: h.TotalCount(), MeanUs: h.Mean(), P50Us: h.ValueAtQuantile(50), P90Us: h.ValueAtQuantile(90),
		P99Us: h.ValueAtQuantile(99), P999Us: h.ValueAtQuantile(99.9), P9999Us: h.ValueAtQuantile(99.99), MaxUs: h.Max(),
	}
}

// finish fills in what follows from the rest.
func (r *Result) finish() *Result {
	if r.Seconds > 0 {
		r.RecordsPerSecond = float64(r.Records) / r.Seconds
		r.RequestsPerSecond = float64(r.Requests+r.Operations) / r.Seconds
		r.MegabytesPerSecond = float64(r.Bytes) / 1e6 / r.Seconds
	}
	for _, cpu := range []*CPU{r.Broker, r.Client, r.Machine} {
		if cpu == nil {
			continue
		}
		if gigabytes := float64(r.Bytes) / 1e9; gigabytes > 0 {
			cpu.UserPerGB, cpu.SystemPerGB = cpu.UserSeconds/gigabytes, cpu.SystemSeconds/gigabytes
			cpu.PerGB = cpu.UserPerGB + cpu.SystemPerGB
		}
		if work := r.Requests + r.Operations; work > 0 {
			cpu.MicrosecondsPerReq = (cpu.UserSeconds + cpu.SystemSeconds) * 1e6 / float64(work)
		}
	}
	return r
}

// Header names the columns of Row.
func Header() []string {
	return []string{"WHAT", "SECONDS", "MB/S", "RECORDS/S", "REQUESTS/S", "BROKER CPU-S/GB (USER+SYS)", "CLIENT", "MACHINE",
		"LATENCY US P50 / P99 / P99.9 / MAX"}
}

// Row shows the result to people, in a table under Header.
func (r *Result) Row() []string {
	return []string{
		r.Name, fmt.Sprintf("%.2f", r.Seconds), number(r.MegabytesPerSecond), number(r.RecordsPerSecond), number(r.RequestsPerSecond),
		r.Broker.cell(), r.Client.cell(), r.Machine.cell(), r.Latency.cell(),
	}
}

func number(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// cell shows CPU by the gigabyte or, where requests are small, by the request.
func (c *CPU) cell() string {
	switch {
	case c == nil:
		return "-"
	case c.PerGB == 0 && c.MicrosecondsPerReq > 0:
		return fmt.Sprintf("%.1f µs each", c.MicrosecondsPerReq)
	case c.MicrosecondsPerReq > 0 && c.MicrosecondsPerReq < 1000:
		return fmt.Sprintf("%.3f (%.3f+%.3f), %.1f µs each", c.PerGB, c.UserPerGB, c.SystemPerGB, c.MicrosecondsPerReq)
	default:
		return fmt.Sprintf("%.3f (%.3f+%.3f)", c.PerGB, c.UserPerGB, c.SystemPerGB)
	}
}

func (l *Latency) cell() string {
	if l == nil {
		return "-"
	}
	return fmt.Sprintf("%d / %d / %d / %d", l.P50Us, l.P99Us, l.P999Us, l.MaxUs)
}
