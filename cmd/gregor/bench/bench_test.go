// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startInProcess serves a peer from this process and returns its address.
func startInProcess(t *testing.T, p Peer) string {
	t.Helper()
	p.Dir = t.TempDir()
	ready, said := io.Pipe()
	held, hold := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- ServePeer(t.Context(), p, said, held) }()
	t.Cleanup(func() {
		_ = hold.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	address, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

func TestRawProduceCountsWhatIsAcknowledged(t *testing.T) {
	address := startInProcess(t, Peer{Mode: peerNull})
	for name, o := range map[string]Options{
		"one connection":         {Records: 10_000, RecordBytes: 100, BatchBytes: 16 << 10},
		"one record, no window":  {Records: 500, BatchBytes: 1, Window: 1},
		"more than partitions":   {Records: 5_000, RecordBytes: 100, BatchBytes: 1 << 10, Connections: 9},
		"compressed":             {Records: 10_000, RecordBytes: 100, BatchBytes: 64 << 10, Codec: "lz4"},
		"at a rate for a while":  {Rate: 10_000, Duration: 300 * time.Millisecond, RecordBytes: 100, BatchBytes: 1000, Connections: 2},
		"as fast as for a while": {Duration: 100 * time.Millisecond, Acks: -1},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := o.prepare()
			if err != nil {
				t.Fatal(err)
			}
			batch, err := encodeBatch(o.BatchBytes, o.RecordBytes, o.Codec, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			r, err := produceTo(t.Context(), o, nullTarget(address))
			if err != nil {
				t.Fatal(err)
			}
			if r.Requests == 0 && o.Duration == 0 || r.Records != r.Requests*int64(batch.records) || r.Bytes != r.Requests*int64(len(batch.bytes)) {
				t.Errorf("%d requests, %d records, %d bytes of batches of %d records, %d bytes",
					r.Requests, r.Records, r.Bytes, batch.records, len(batch.bytes))
			}
			if o.Records > 0 && (r.Records < o.Records || r.Records >= o.Records+int64(batch.records)) {
				t.Errorf("%d records, asked for %d in batches of %d", r.Records, o.Records, batch.records)
			}
			if r.Latency == nil && r.Requests > 0 || r.Latency != nil && r.Latency.Count != r.Requests { // a busy machine may send nothing in a while
				t.Errorf("latencies %+v of %d requests", r.Latency, r.Requests)
			}
			if o.Rate > 0 && r.Records > int64(o.Rate*o.Duration.Seconds())+int64(o.Connections*batch.records) {
				t.Errorf("%d records in %v at %v a second", r.Records, o.Duration, o.Rate)
			}
		})
	}
}

func TestRawConsumeCountsWhatItDiscards(t *testing.T) {
	address := startInProcess(t, Peer{Mode: peerNull})
	batch, err := encodeBatch(1<<20, 1024, "none", time.UnixMilli(0))
	if err != nil {
		t.Fatal(err)
	}
	for _, connections := range []int{1, 3} {
		o, err := Options{Records: 50_000, Connections: connections}.prepare()
		if err != nil {
			t.Fatal(err)
		}
		r, err := fetchFrom(t.Context(), o, nullTarget(address))
		if err != nil {
			t.Fatal(err)
		}
		batches := r.Records / int64(batch.records)
		if r.Records < o.Records || r.Records%int64(batch.records) != 0 || r.Bytes != batches*int64(len(batch.bytes)) {
			t.Errorf("%d records in %d bytes of batches of %d in %d", r.Records, r.Bytes, batch.records, len(batch.bytes))
		}
		if perReply := int64(6 / connections); batches != r.Requests*perReply {
			t.Errorf("%d batches in %d replies of %d", batches, r.Requests, perReply)
		}
	}
}

func TestEncodedBatchesAreValid(t *testing.T) {
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		encoded, err := encodeBatch(50_000, 300, codec, time.UnixMilli(1234))
		if err != nil {
			t.Fatal(err)
		}
		var batch kmsg.RecordBatch
		if err := batch.ReadFrom(encoded.bytes); err != nil {
			t.Fatal(codec, err)
		}
		if int(batch.Length)+12 != len(encoded.bytes) || batch.Magic != 2 || batch.FirstTimestamp != 1234 {
			t.Errorf("%s: header %+v of %d bytes", codec, batch, len(encoded.bytes))
		}
		if uint32(batch.CRC) != crc32.Checksum(encoded.bytes[21:], castagnoli) {
			t.Errorf("%s: CRC", codec)
		}
		raw, err := kgo.DefaultDecompressor().Decompress(batch.Records, kgo.CompressionCodecType(batch.Attributes&7))
		if err != nil {
			t.Fatal(codec, err)
		}
		count := int32(0)
		for ; len(raw) > 0; count++ {
			var r kmsg.Record
			length, n := binary.Varint(raw)
			if err := r.ReadFrom(raw[:n+int(length)]); err != nil {
				t.Fatal(codec, count, err)
			}
			if r.OffsetDelta != count || len(r.Value) != 300 || r.Key != nil {
				t.Fatalf("%s: record %d: %+v", codec, count, r)
			}
			raw = raw[n+int(length):]
		}
		if count != batch.NumRecords || batch.LastOffsetDelta != count-1 || int(count) != encoded.records {
			t.Errorf("%s: %d records, header says %d, last delta %d", codec, count, batch.NumRecords, batch.LastOffsetDelta)
		}
		if codec == "none" && (len(encoded.bytes) > 50_000 || len(encoded.bytes) < 49_500) {
			t.Errorf("%d bytes instead of about 50,000", len(encoded.bytes))
		}
		if codec != "none" && len(encoded.bytes) > 40_000 {
			t.Errorf("%s did not compress: %d bytes", codec, len(encoded.bytes))
		}
	}
}

// fetchReply encodes a reply with kmsg and puts it before a drain.
func fetchReply(reply *kmsg.FetchResponse, end int64) (*drain, error) {
	reply.Version = rawFetchVersion
	frame := reply.AppendTo([]byte{0, 0, 0, 0, 0, 0, 0, 7, 0})
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	d := newDrain(bytes.NewReader(frame), end)
	return d, d.reply(7)
}

func newDrain(from io.Reader, end int64) *drain {
	return &drain{
		run: &fetchRun{}, in: bufio.NewReaderSize(from, 4096), latency: newHistogram(),
		partitions: []partition{{index: 0, end: end}, {index: 1, end: end}}, next: make([]int64, 2),
	}
}

func batchAt(t *testing.T, base int64) []byte {
	t.Helper()
	batch, err := encodeBatch(5000, 100, "none", time.UnixMilli(0))
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(batch.bytes, uint64(base))
	return batch.bytes
}

func TestFetchReplyIsWalkedBatchByBatch(t *testing.T) {
	one := batchAt(t, 0)
	count := int64(binary.BigEndian.Uint32(one[57:]))
	reply := func(records ...[]byte) *kmsg.FetchResponse {
		response, topic := kmsg.NewPtrFetchResponse(), kmsg.NewFetchResponseTopic()
		for i, r := range records {
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition, p.RecordBatches = int32(i), r
			p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1, FirstOffset: 2}}
			topic.Partitions = append(topic.Partitions, p)
		}
		response.Topics = append(response.Topics, topic)
		return response
	}
	two := slices.Concat(one, batchAt(t, count))
	t.Run("whole batches", func(t *testing.T) {
		d, err := fetchReply(reply(two, nil), 1000)
		if err != nil || d.records != 2*count || d.next[0] != 2*count || d.next[1] != 0 || d.bytes != int64(len(two)) {
			t.Errorf("%v, %d records, next %v, %d bytes", err, d.records, d.next, d.bytes)
		}
	})
	t.Run("the last one is cut", func(t *testing.T) {
		for _, cut := range []int{1, len(one) / 2, len(one) - 20} {
			d, err := fetchReply(reply(nil, two[:len(two)-cut]), 1000)
			if err != nil || d.records != count || d.next[1] != count {
				t.Errorf("cut by %d: %v, %d records, next %v", cut, err, d.records, d.next)
			}
		}
	})
	t.Run("the end of the log starts it over", func(t *testing.T) {
		if d, err := fetchReply(reply(two), 2*count); err != nil || d.next[0] != 0 {
			t.Errorf("%v, next %v", err, d.next)
		}
	})
	t.Run("errors", func(t *testing.T) {
		failed := reply(one)
		failed.Topics[0].Partitions[0].ErrorCode = 1
		if _, err := fetchReply(failed, 1000); err == nil || !strings.Contains(err.Error(), "OFFSET_OUT_OF_RANGE") {
			t.Errorf("partition error: %v", err)
		}
		whole := reply()
		whole.ErrorCode = 70
		if _, err := fetchReply(whole, 1000); err == nil || !strings.Contains(err.Error(), "FETCH_SESSION_ID_NOT_FOUND") {
			t.Errorf("error of the whole: %v", err)
		}
		unknown := reply(one)
		unknown.Topics[0].Partitions[0].Partition = 9
		if _, err := fetchReply(unknown, 1000); err == nil {
			t.Error("a partition that was not asked for passed")
		}
	})
}

// FuzzFetchReply holds that no reply makes the walk panic, loop or believe
// more than it was given.
func FuzzFetchReply(f *testing.F) {
	f.Add([]byte{0, 0, 0, 20, 0, 0, 0, 7})
	reply := kmsg.NewPtrFetchResponse()
	reply.Version = rawFetchVersion
	reply.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{{RecordBatches: make([]byte, 100)}}}}
	frame := reply.AppendTo([]byte{0, 0, 0, 0, 0, 0, 0, 7, 0})
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	f.Add(frame)
	f.Fuzz(func(t *testing.T, reply []byte) {
		d := newDrain(bytes.NewReader(reply), 1000)
		if err := d.reply(7); err == nil && d.bytes > int64(len(reply)) {
			t.Errorf("%d bytes of records in a reply of %d", d.bytes, len(reply))
		}
	})
}

func TestEveryConnectionHasWorkAndEveryPartitionAConnection(t *testing.T) {
	topic := &target{}
	for i := range int32(6) {
		topic.partitions = append(topic.partitions, partition{index: i, leader: []string{"a", "a", "b"}[i%3]})
	}
	for connections := 1; connections <= 20; connections++ {
		served := map[int32]bool{}
		for i, lane := range topic.deal(connections) {
			if len(lane.partitions) == 0 {
				t.Errorf("%d connections: number %d has no partition", connections, i)
			}
			for _, p := range lane.partitions {
				served[p.index] = true
				if p.leader != lane.leader {
					t.Errorf("%d connections: partition %d of %s goes to %s", connections, p.index, p.leader, lane.leader)
				}
			}
		}
		if len(served) != 6 {
			t.Errorf("%d connections serve partitions %v", connections, served)
		}
	}
}

func TestPeers(t *testing.T) {
	stream := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, mode := range []string{peerDiscard, peerFile} {
		conn := dialTest(t, startInProcess(t, Peer{Mode: mode, PieceBytes: 3000}))
		if _, err := conn.Write(stream); err != nil {
			t.Fatal(mode, err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(mode, err)
		}
		if all, err := io.ReadAll(conn); err != nil || len(all) != 1 {
			t.Errorf("%s: %d bytes back, %v", mode, len(all), err)
		}
	}
	conn := dialTest(t, startInProcess(t, Peer{Mode: peerSendfile}))
	wanted := int64(sourceBytes + 12_345)
	if err := binary.Write(conn, binary.BigEndian, wanted); err != nil {
		t.Fatal(err)
	}
	if n, err := io.CopyN(io.Discard, conn, wanted); err != nil {
		t.Errorf("sendfile: %d bytes of %d, %v", n, wanted, err)
	}
	// A second request goes on where the first one ended.
	if err := binary.Write(conn, binary.BigEndian, int64(10)); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	payload(block, 1)
	if rest, err := io.ReadAll(conn); err != nil || !bytes.Equal(rest, block[12_345:12_355]) {
		t.Errorf("sendfile: %q, %v, expected %q", rest, err, block[12_345:12_355])
	}
}

func dialTest(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := dialPeer(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestScheduleDoesNotWaitForTheLate(t *testing.T) {
	began := time.Now().Add(-1000 * time.Second)
	p := newPace(began, 1)
	for n := range 1000 {
		if due := p.wait(t.Context(), n); !due.Equal(began.Add(time.Duration(n) * time.Second)) {
			t.Fatalf("record %d is due %v after the start", n, due.Sub(began))
		}
	}
	if took := time.Since(began) - 1000*time.Second; took > time.Minute {
		t.Errorf("a schedule in the past took %v", took)
	}
}

func TestProcFormats(t *testing.T) {
	cpu, err := parseProcessStat([]byte("42 (a b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 250 0 0 20 0 9 0 100 1 1"))
	if err != nil || cpu.UserSeconds != 1.5 || cpu.SystemSeconds != 2.5 {
		t.Errorf("%+v %v", cpu, err)
	}
	cpu, err = parseMachineStat([]byte("cpu  100 50 200 9999 50 25 25 0 0 0\ncpu0 1 1 1\n"))
	if err != nil || cpu.UserSeconds != 1.5 || cpu.SystemSeconds != 2.5 {
		t.Errorf("%+v %v", cpu, err)
	}
	for _, bad := range []string{"", "42 (x) S 1", "cpu 1 2"} {
		if _, err := parseProcessStat([]byte(bad)); err == nil {
			t.Errorf("process %q passed", bad)
		}
		if _, err := parseMachineStat([]byte(bad)); err == nil {
			t.Errorf("machine %q passed", bad)
		}
	}
}

func sample() *Result {
	h := newHistogram()
	for us := range int64(1000) {
		record(h, us+1)
	}
	return (&Result{
		Name: "produce raw", Seconds: 2, Records: 2000, Requests: 2, Bytes: 2e9, RecordBytes: 19e8, Latency: summarize(h),
		Broker: &CPU{UserSeconds: 0.5, SystemSeconds: 1}, Client: &CPU{SystemSeconds: 0.25}, RSSBytes: 1 << 20, RSSPeak: 2 << 20,
	}).finish()
}

func TestOutputIsPinned(t *testing.T) {
	got, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	const wantJSON = `{"name":"produce raw","seconds":2,"records":2000,"requests":2,"bytes":2000000000,"recordBytes":1900000000,` +
		`"latency":{"count":1000,"meanUs":500.5,"p50Us":500,"p90Us":900,"p99Us":990,"p999Us":999,"p9999Us":1000,"maxUs":1000},` +
		`"broker":{"userSeconds":0.5,"systemSeconds":1,"userSecondsPerGB":0.25,"systemSecondsPerGB":0.5,"secondsPerGB":0.75,"microsecondsPerRequest":750000},` +
		`"client":{"userSeconds":0,"systemSeconds":0.25,"systemSecondsPerGB":0.125,"secondsPerGB":0.125,"microsecondsPerRequest":125000},` +
		`"brokerRSSBytes":1048576,"brokerRSSPeakBytes":2097152,"recordsPerSecond":1000,"requestsPerSecond":1,"megabytesPerSecond":1000}`
	if string(got) != wantJSON {
		t.Errorf("JSON\n got %s\nwant %s", got, wantJSON)
	}
	wantRow := []string{"produce raw", "2.00", "1000", "1000", "1.00", "0.750 (0.250+0.500)", "0.125 (0.000+0.125)", "-", "500 / 990 / 999 / 1000"}
	if row := sample().Row(); !slices.Equal(row, wantRow) || len(row) != len(Header()) {
		t.Errorf("row\n got %q\nwant %q", row, wantRow)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"codec": {Codec: "brotli"}, "record": {RecordBytes: 3}, "rate": {Rate: -1}, "acks": {Acks: 2}, "connections": {Connections: -1},
	} {
		if _, err := o.prepare(); err == nil {
			t.Errorf("%s: %+v passed", name, o)
		}
	}
	o, err := Options{}.prepare()
	if err != nil || o.Records != 1_000_000 || o.Partitions != 6 || o.BatchBytes != 1<<20 {
		t.Errorf("defaults %+v, %v", o, err)
	}
}
