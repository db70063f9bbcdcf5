// SPDX-License-Identifier: Apache-2.0

// Package bench puts a load on a broker, any that speaks the protocol, and
// says what it cost. It promises that its own cost stays out of the numbers as
// far as that can be had, and shows what is left of it:
//
//   - Raw mode sends Produce frames that were encoded, compressed and summed
//     once, several in flight a connection, and throws the payload of Fetch
//     replies away unread. What is left of the client is its system calls, so
//     that the broker is what saturates. A null broker, one of the limits,
//     shows that this is so.
//   - Client mode is a whole client (kgo): what an application gets.
//   - Latency mode is an open loop: every record carries the time at which it
//     was meant to be sent, and a late sender counts against the result
//     instead of hiding it.
//   - Limits measures what the machine allows without a broker, in processes
//     of their own, in the same units: they are what a broker is held against.
//
// A gigabyte is 10^9 bytes. Bytes are those of record batches on the wire. CPU
// is user plus system time of one process, or of the whole machine, taken from
// the kernel before and after; on loopback some of the receiver's work is
// billed to the sender, so the machine's figure is always shown beside it.
package bench

import (
	"errors"
	"fmt"
	"time"
)

// Options describe one load. The zero value of a field means its default.
type Options struct {
	Bootstrap   string        // host:port of any broker
	Topic       string        // created when it does not exist
	Partitions  int           // of a topic that has to be created; default 6
	Records     int64         // how many records; default 1,000,000 unless Duration is set
	RecordBytes int           // size of a record's value; default 1024
	BatchBytes  int           // size of a record batch before compression; default 1 MiB
	Rate        float64       // records a second; 0 is as fast as it goes
	Duration    time.Duration // stop after this time; 0 is when Records are done
	Codec       string        // none, gzip, snappy, lz4, zstd; default none
	Connections int           // default 1
	Window      int           // raw mode: requests in flight on a connection; default 4
	Acks        int16         // 1 or -1; raw mode's default is 1, client mode's -1
	FetchBytes  int           // most that one partition gives to one fetch; default 1 MiB
	PID         int           // the broker's process, for its CPU and memory; 0 is unknown
}

func (o *Options) ensureDefaults() {
	setDefault(&o.Bootstrap, "127.0.0.1:9092")
	setDefault(&o.Topic, "gregor-bench")
	setDefault(&o.Partitions, 6)
	setDefault(&o.RecordBytes, 1024)
	setDefault(&o.BatchBytes, 1<<20)
	setDefault(&o.Codec, "none")
	setDefault(&o.Connections, 1)
	setDefault(&o.Window, 4)
	setDefault(&o.FetchBytes, 1<<20)
	if o.Duration == 0 {
		setDefault(&o.Records, 1_000_000)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// smallestRecord has room for the intended send time.
const smallestRecord = 8

func (o *Options) validate() error {
	switch {
	case o.Partitions < 1 || o.Connections < 1 || o.Window < 1:
		return errors.New("partitions, connections and window have to be at least 1")
	case o.RecordBytes < smallestRecord:
		return fmt.Errorf("record size %d: at least %d", o.RecordBytes, smallestRecord)
	case o.Records < 0 || o.Rate < 0 || o.Duration < 0:
		return errors.New("records, rate and duration cannot be negative")
	case o.Acks != 0 && o.Acks != 1 && o.Acks != -1:
		return fmt.Errorf("acks %d: 1 or -1 (all)", o.Acks)
	case o.BatchBytes < 1 || o.FetchBytes < 1:
		return errors.New("batch and fetch sizes have to be at least 1")
	}
	_, err := parseCodec(o.Codec)
	return err
}

// prepare returns the options as they will be used.
func (o Options) prepare() (Options, error) {
	o.ensureDefaults()
	return o, o.validate()
}
