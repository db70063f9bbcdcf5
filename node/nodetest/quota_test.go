// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/vfs"
	"gregor/wire/batch"
)

// setQuota sets or, with a rate of 0, removes one limit of a client id.
func setQuota(ctx context.Context, t *testing.T, admin *kadm.Client, client, key string, rate float64) {
	t.Helper()
	got, err := admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &client}},
		Ops:    []kadm.AlterClientQuotaOp{{Key: key, Value: rate, Remove: rate == 0}},
	}})
	if err != nil || len(got) != 1 || got[0].Err != nil {
		t.Fatalf("%s=%v of %s: %v, %+v", key, rate, client, err, got)
	}
}

// quotaClient is one connection that obeys no throttle time: the broker must.
type quotaClient struct {
	t    *testing.T
	conn net.Conn
	id   string
	n    int32
}

func (n *Node) quotaClient(t *testing.T, id string) *quotaClient {
	t.Helper()
	c, err := n.Net.Host(clientHost).Dial(t.Context(), Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &quotaClient{t: t, conn: c, id: id}
}

func (c *quotaClient) do(req kmsg.Request) (resp kmsg.Response, bytes int) {
	c.t.Helper()
	c.n++
	whole := kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.id)).AppendRequest(nil, req, c.n)
	if _, err := c.conn.Write(whole); err != nil {
		c.t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		c.t.Fatal(err)
	}
	body := make([]byte, int(size[0])<<24|int(size[1])<<16|int(size[2])<<8|int(size[3]))
	if _, err := io.ReadFull(c.conn, body); err != nil {
		c.t.Fatal(err)
	}
	resp = req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	skip := 4
	if resp.IsFlexible() {
		skip++
	}
	if err := resp.ReadFrom(body[skip:]); err != nil {
		c.t.Fatal(err)
	}
	return resp, len(body)
}

// until sends as fast as it is answered until d has gone by, and returns what
// one says that it got, a second.
func until(d time.Duration, one func() float64) float64 {
	began, sum := time.Now(), 0.0
	for time.Since(began) < d {
		sum += one()
	}
	return sum / time.Since(began).Seconds()
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.05*want {
		t.Errorf("%s: %.1f a second, want %v within 5 %%", what, got, want)
	}
}

// slowDisk takes a time for each write of records.
type slowDisk struct {
	vfs.FS
	pause *atomic.Int64
}

type slowFile struct {
	vfs.File
	pause *atomic.Int64
}

func (d slowDisk) Open(name string, flag vfs.OpenFlag, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.Open(name, flag, perm)
	if err != nil || !strings.HasSuffix(name, ".log") || !strings.Contains(name, "/t-") {
		return f, err
	}
	return slowFile{f, d.pause}, nil
}

func (f slowFile) WriteAt(b []byte, at int64) (int, error) {
	if d := time.Duration(f.pause.Load()); d > 0 {
		time.Sleep(d)
	}
	return f.File.WriteAt(b, at)
}

func built(size int) []byte {
	var b batch.Builder
	b.Begin(batch.NoProducer(0, 0))
	b.Add(time.Now().UnixMilli(), nil, bytes.Repeat([]byte("x"), size))
	out, err := b.Finish(nil, nil)
	if err != nil {
		panic(err)
	}
	return out
}

func (f slowFile) WriteVAt(bufs [][]byte, at int64) (int64, error) {
	if d := time.Duration(f.pause.Load()); d > 0 {
		time.Sleep(d)
	}
	return f.File.WriteVAt(bufs, at)
}

func produceOf(size int) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, 1, 1000
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic = "t"
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = built(size)
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return req
}

func fetchOf(bytesMax int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.SessionEpoch = 12, bytesMax, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "t"
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = bytesMax
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	return req
}

// A client beyond its limit gets the limit within 5 %, whatever it thinks of
// throttle times; one with another client id is left alone. Limits hold from
// the answer to the change on, also where the connection was there before, and
// after a restart.
func TestByteRateQuotas(t *testing.T) {
	bubble(t, 24*time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{Set: []string{"connections.max.idle.ms=86400000"}})
		c := n.Client()
		createTopic(ctx, t, c, nil)
		admin := kadm.NewClient(c)
		free, limited := n.quotaClient(t, "free"), n.quotaClient(t, "limited")
		produce := func(c *quotaClient) func() float64 {
			req := produceOf(900)
			size := float64(len(kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.id)).AppendRequest(nil, req, 1)) - 4)
			return func() float64 {
				resp, _ := c.do(req)
				if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
					t.Fatal(kerr.ErrorForCode(code))
				}
				return size
			}
		}
		fetch := func(c *quotaClient) func() float64 {
			return func() float64 {
				_, size := c.do(fetchOf(3000))
				return float64(size + 4)
			}
		}
		unhindered := func(what string, one func() float64) {
			t.Helper()
			began := time.Now()
			for range 200 {
				one()
			}
			if d := time.Since(began); d > 100*time.Millisecond {
				t.Errorf("%s took %v", what, d)
			}
		}
		unhindered("producing before there is a limit", produce(limited))
		setQuota(ctx, t, admin, "limited", "producer_byte_rate", 5000)
		until(30*time.Second, produce(limited)) // what ten seconds allow comes at once
		near(t, "produce", until(10*time.Minute, produce(limited)), 5000)
		unhindered("producing with another client id", produce(free))
		setQuota(ctx, t, admin, "limited", "producer_byte_rate", 20000)
		until(30*time.Second, produce(limited))
		near(t, "produce, limit raised", until(10*time.Minute, produce(limited)), 20000)

		setQuota(ctx, t, admin, "limited", "consumer_byte_rate", 4000)
		until(30*time.Second, fetch(limited))
		near(t, "fetch", until(10*time.Minute, fetch(limited)), 4000)
		size := int32(1 << 20)
		near(t, "fetch of much at a time", until(10*time.Minute, func() float64 {
			_, got := limited.do(fetchOf(size))
			return float64(got + 4)
		}), 4000)
		unhindered("fetching with another client id", fetch(free))

		n.Stop()
		n.Up()
		free, limited = n.quotaClient(t, "free"), n.quotaClient(t, "limited")
		until(30*time.Second, fetch(limited))
		near(t, "fetch after a restart", until(10*time.Minute, fetch(limited)), 4000)
		unhindered("producing after a restart with another client id", produce(free))
		admin = kadm.NewClient(n.Client())
		setQuota(ctx, t, admin, "limited", "consumer_byte_rate", 0)
		time.Sleep(time.Minute) // it may be muted still
		limited.do(fetchOf(1))
		unhindered("fetching when the limit is gone", fetch(limited))
		got, err := admin.DescribeClientQuotas(ctx, false, nil)
		if err != nil || len(got) != 1 || len(got[0].Values) != 1 || got[0].Values[0].Key != "producer_byte_rate" || got[0].Values[0].Value != 20000 {
			t.Errorf("%v, %+v", err, got)
		}
		n.Stop()
	})
}

// Handlers' time is held to the limit too: here, that of writes to a disk that
// takes 5 ms each. Time that a fetch waits for records does not count.
func TestRequestQuota(t *testing.T) {
	bubble(t, 24*time.Hour, func(ctx context.Context, t *testing.T) {
		var pause atomic.Int64
		n := Start(t, Options{FS: func(m *vfs.Memory) vfs.FS { return slowDisk{m, &pause} }})
		c := n.Client()
		createTopic(ctx, t, c, nil)
		admin := kadm.NewClient(c)
		setQuota(ctx, t, admin, "limited", "request_percentage", 10)
		setQuota(ctx, t, admin, "waiting", "request_percentage", 1)
		free, limited, waiting := n.quotaClient(t, "free"), n.quotaClient(t, "limited"), n.quotaClient(t, "waiting")
		free.do(produceOf(10)) // files are open
		pause.Store(int64(5 * time.Millisecond))
		one := func(c *quotaClient) func() float64 {
			return func() float64 { c.do(produceOf(10)); return 0.5 } // percent of a second
		}
		until(30*time.Second, one(limited))
		near(t, "percent", until(5*time.Minute, one(limited)), 10)
		if got := until(time.Minute, one(free)); got < 50 {
			t.Errorf("another client id got %.0f %%", got)
		}
		poll := fetchOf(1000)
		poll.MinBytes, poll.MaxWaitMillis = 1000, 1000
		poll.Topics[0].Partitions[0].FetchOffset = endOf(ctx, t, admin)
		for range 60 {
			if resp, _ := waiting.do(poll); resp.(*kmsg.FetchResponse).ThrottleMillis != 0 {
				t.Fatal("throttled for waiting")
			}
		}
		pause.Store(0)
		n.Stop()
	})
}

func endOf(ctx context.Context, t *testing.T, admin *kadm.Client) int64 {
	t.Helper()
	ends, err := admin.ListEndOffsets(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("t", 0)
	return end.Offset
}

// Partitions are created and deleted no faster than the limit says, by clients
// that try again when they are told to and by those that are too old for it.
func TestMutationQuota(t *testing.T) {
	for _, version := range []int16{7, 5} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) {
			bubble(t, 24*time.Hour, func(ctx context.Context, t *testing.T) {
				n := Start(t, Options{})
				admin := kadm.NewClient(n.Client())
				setQuota(ctx, t, admin, "limited", "controller_mutation_rate", 2)
				count := 0
				create := func(c *quotaClient, partitions int32) func() float64 {
					return func() float64 {
						count++
						req := kmsg.NewPtrCreateTopicsRequest()
						req.Version, req.TimeoutMillis = version, 1000
						topic := kmsg.NewCreateTopicsRequestTopic()
						topic.Topic, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprint("t", count), partitions, 1
						req.Topics = append(req.Topics, topic)
						resp, _ := c.do(req)
						err := kerr.ErrorForCode(resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
						switch {
						case err == nil:
							return float64(partitions)
						case version >= 6 && errors.Is(err, kerr.ThrottlingQuotaExceeded):
							return 0
						}
						t.Fatal(err)
						return 0
					}
				}
				limited, free := n.quotaClient(t, "limited"), n.quotaClient(t, "free")
				until(30*time.Second, create(limited, 3))
				near(t, "partitions", until(3*time.Minute, create(limited, 3)), 2)
				began := time.Now()
				for range 20 {
					create(free, 5)()
				}
				if d := time.Since(began); d > time.Second {
					t.Errorf("another client id took %v", d)
				}
				n.Stop()
			})
		})
	}
}

// Clients that obey throttle times and try again get through.
func TestQuotasAndARealClient(t *testing.T) {
	bubble(t, 24*time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{})
		c := n.Client()
		createTopic(ctx, t, c, nil)
		admin := kadm.NewClient(c)
		setQuota(ctx, t, admin, "limited", "producer_byte_rate", 10_000)
		setQuota(ctx, t, admin, "limited", "consumer_byte_rate", 10_000)
		const records = 1000
		writer := n.Client(kgo.ClientID("limited"), kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(8000))
		began := time.Now()
		for range records {
			writer.Produce(ctx, &kgo.Record{Value: bytes.Repeat([]byte("x"), 1000)}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := writer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		// A megabyte at ten kilobytes a second, the first hundred of them at once.
		if d := time.Since(began); d < 80*time.Second || d > 110*time.Second {
			t.Errorf("a megabyte took %v", d)
		}
		reader := n.Client(kgo.ClientID("limited"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		began = time.Now()
		got := 0
		for got < records && ctx.Err() == nil {
			fetches := reader.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			got += fetches.NumRecords()
		}
		if d := time.Since(began); got != records || d < 80*time.Second || d > 125*time.Second {
			t.Errorf("%d records took %v", got, d)
		}
		writer.Close()
		reader.Close()
		c.Close()
		n.Stop()
	})
}

// Connections beyond the rate of their address are closed; those that are open
// stay. The rate of the node makes them wait.
func TestConnectionRates(t *testing.T) {
	bubble(t, 24*time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{Set: []string{"connections.max.idle.ms=-1"}})
		c := n.Client()
		admin := kadm.NewClient(c)
		ip := n.quotaClient(t, "first").conn.LocalAddr().(*net.TCPAddr).IP.String()
		limit := func(kind string, name *string, rate float64) {
			t.Helper()
			got, err := admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{
				Entity: kadm.ClientQuotaEntity{{Type: kind, Name: name}},
				Ops:    []kadm.AlterClientQuotaOp{{Key: "connection_creation_rate", Value: rate, Remove: rate == 0}},
			}})
			if err != nil || got[0].Err != nil {
				t.Fatal(err, got)
			}
		}
		ask := kmsg.NewPtrMetadataRequest()
		ask.Version = 1
		// served counts who gets an answer of those that dial in a time.
		served := func(count int, every time.Duration) (n2 int) {
			t.Helper()
			frame := kmsg.NewRequestFormatter().AppendRequest(nil, ask, 1)
			for range count {
				conn, err := n.Net.Host(clientHost).Dial(ctx, Addr)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = conn.Write(frame)
				conn.SetReadDeadline(time.Now().Add(time.Hour))
				if _, err := conn.Read(make([]byte, 4)); err == nil {
					n2++
				}
				conn.Close()
				time.Sleep(every)
			}
			return n2
		}
		limit("ip", &ip, 2)
		open := n.quotaClient(t, "open")
		served(40, 10*time.Millisecond)
		began := time.Now()
		got := served(1000, 10*time.Millisecond)
		// Never beyond the limit, so that up to a window in eleven is lost.
		if rate := float64(got) / time.Since(began).Seconds(); rate < 1.8 || rate > 2.05 {
			t.Errorf("%.2f connections of the address a second, want 2", rate)
		}
		open.do(ask)
		other := "10.99.99.99"
		limit("ip", &ip, 0)
		limit("ip", &other, 1)
		if got := served(100, time.Millisecond); got != 100 {
			t.Errorf("%d of 100 connections are served when another address is limited", got)
		}
		limit("ip", nil, 1) // all others
		served(40, 10*time.Millisecond)
		if got := served(100, 10*time.Millisecond); got > 50 {
			t.Errorf("%d of 100 connections are served under the default", got)
		}
		limit("ip", nil, 0)

		alter(ctx, t, admin, "", "max.connection.creation.rate", "5")
		served(60, 0)
		began = time.Now()
		if got := served(300, 0); got != 300 {
			t.Errorf("%d of 300 connections are served", got)
		}
		if rate := 300 / time.Since(began).Seconds(); rate < 4 || rate > 5.25 {
			t.Errorf("%.2f connections a second, want 5", rate)
		}
		alter(ctx, t, admin, "", "max.connection.creation.rate", "")
		began = time.Now()
		if served(200, 0); time.Since(began) > 2*time.Second {
			t.Errorf("200 connections took %v when the rate is gone", time.Since(began))
		}
		c.Close()
		n.Stop()
	})
}
