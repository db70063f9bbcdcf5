// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/broker/call"
	"gregor/broker/conn"
	"gregor/broker/fetchsession"
	"gregor/broker/telemetry"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/metalog"
	"gregor/cluster/metarec"
	"gregor/config"
	"gregor/quota"
	"gregor/replica"
	"gregor/replica/assign"
	"gregor/storage/logdir"
	"gregor/storage/segment"
	"gregor/wire/batch"
)

const (
	self      kafka.NodeID = 1
	clusterID              = "Some-Cluster-Id-000000"
	address                = "node:9092"
)

var features = []Feature{{"kraft.version", 0, 1}, {"metadata.version", 7, 33}}

// node is a broker whose controller answers at once.
type node struct {
	t       testing.TB
	net     netx.Net
	addr    string
	dir     *logdir.Dir
	table   *replica.Table
	exec    *assign.Executor
	images  *Images
	groups  *coordinators
	api     *API
	server  *conn.Server
	cfg     *config.Node
	limits  conn.Limits
	nextPID kafka.ProducerID

	mu       sync.Mutex // the controller
	img      *image.Image
	sessions *controller.Sessions
	frozen   bool // the controller does not answer
}

type setup struct {
	fs     vfs.FS
	net    netx.Net
	addr   string
	path   string
	set    []string
	limits func(*conn.Limits)
	slots  int
}

func start(t testing.TB, changes ...func(*setup)) *node {
	t.Helper()
	s := setup{fs: vfs.NewMemory(), net: netx.NewMemory().Host("node"), addr: address, path: "/data", slots: 1000}
	for _, f := range changes {
		f(&s)
	}
	cfg, _, err := config.Load(config.Sources{Set: s.set})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, net: s.net, cfg: cfg, nextPID: 1000, img: image.Empty()}
	logger := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	files := segment.NewFiles(s.fs, 100)
	n.dir, err = logdir.Open(logdir.Options{FS: s.fs, Path: s.path, Files: files, NodeID: self, ClusterID: clusterID, Logger: logger, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	n.table = replica.NewTable()
	n.exec = assign.NewExecutor(assign.Options{Self: self, Table: n.table, Dirs: []assign.Dir{n.dir}, Config: cfg, Workers: 2, Now: time.Now, Logger: logger})
	n.images = NewImages()
	n.groups = newCoordinators(n.images)
	n.api = New(Deps{NodeID: self, ClusterID: clusterID, Images: n.images, Table: n.table, Config: cfg, Features: features,
		KRaftVersion: func() int16 { return 1 },
		Dirs:         []LogDir{{s.path, n.dir}},
		Controller:   n.controller, ProducerID: n.producerID,
		Quorum:   func(context.Context) (metalog.Quorum, error) { return metalog.Quorum{Leader: self}, nil },
		Sessions: fetchsession.NewCache(s.slots, 1000, 42, time.Now), Logger: logger, LogLevel: new(slog.LevelVar), Now: time.Now,
		Telemetry: telemetry.NewManager(telemetry.Options{ClientsMax: 100, PushBytesMax: int(cfg.Int(config.TelemetryMaxBytes)),
			Limits: telemetry.Limits{SeriesMax: 1000, ClientSeriesMax: 100}, RandomUUID: randomUUID}),
		Groups: n.groups, Quotas: newQuotas()})
	n.limits = conn.DefaultLimits()
	if s.limits != nil {
		s.limits(&n.limits)
	}
	n.server = conn.NewServer(conn.Options{Handler: n.api, Limits: n.limits, Budget: conn.NewBudget(256<<20, 16<<20, 8<<20), Logger: logger, Now: time.Now})
	l, err := n.net.Listen(context.Background(), s.addr)
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().String()
	host, port := "node", uint16(9092)
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		port = uint16(a.Port)
	}
	n.sessions = controller.NewSessions(time.Hour, n.img, time.Now())
	n.publish([]metarec.Record{&metarec.FeatureLevel{Name: "metadata.version", Level: 33}})
	b := metarec.NewRegisterBroker()
	b.BrokerID, b.Fenced = self, false
	b.EndPoints = []metarec.Endpoint{{Name: "PLAINTEXT", Host: host, Port: port}}
	b.LogDirs = []kafka.DirectoryID{n.dir.ID()}
	n.publish([]metarec.Record{b})
	n.sessions = controller.NewSessions(time.Hour, n.img, time.Now())
	go n.server.Serve(l, &call.Listener{Name: "PLAINTEXT", Role: call.Broker, Host: host, Port: int32(port)})
	t.Cleanup(n.stop)
	return n
}

func newQuotas() *quota.Manager {
	windows := quota.Windows{Count: 11, Ms: 1000}
	return quota.New(quota.Options{Client: windows, Controller: windows, Start: time.Now()})
}

func (n *node) stop() {
	n.server.Kill()
	n.groups.Close()
	n.exec.Stop()
	n.dir.Kill()
}

// publish commits records, as node's publisher does.
func (n *node) publish(records []metarec.Record) {
	d := image.NewDelta(n.img)
	for _, r := range records {
		if err := d.Replay(r); err != nil {
			n.t.Errorf("replay %T: %v", r, err)
			return
		}
	}
	n.img = d.Apply(n.img.Offset()+kafka.Offset(len(records)), 1)
	n.exec.Configure(d, n.img)
	plan := assign.Make(d, self)
	n.exec.Delete(plan.Delete)
	n.exec.Follow(plan.Follow, n.img)
	n.exec.Lead(plan.Lead, n.img)
	n.images.Publish(n.img)
	n.groups.follow(d)
}

func (n *node) controller(ctx context.Context, who Requester, req kmsg.Request) (kmsg.Response, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen {
		return nil, kafka.NotController
	}
	env := &controller.Env{Now: time.Now(), Random: rand.NewChaCha8([32]byte{byte(n.img.Offset())}), NextOffset: n.img.Offset() + 1, Sessions: n.sessions,
		Config: &controller.Config{ClusterID: clusterID, NumPartitions: 3, DefaultReplicationFactor: 1, DeleteTopicEnable: true, RecordsMax: 10000},
		ValidateTopicConfig: func(_ *image.Image, _ string, o map[string]string) error {
			return config.ValidateTopic(o, nil, nil, n.cfg)
		},
		ValidateConfig: func(_ *image.Image, r image.Resource, values, existing map[string]string) error {
			switch r.Type {
			case image.ResourceTopic:
				return config.ValidateTopic(values, existing, nil, n.cfg)
			case image.ResourceClientMetrics:
				return config.ValidateClientMetrics(values)
			}
			return nil
		},
		ListConfig: func(t image.ResourceType, key string) (string, bool) {
			return config.IsListKey(t == image.ResourceTopic, key, n.cfg)
		}}
	env.Mutations = n.api.d.Quotas.Mutations(who.Principal.Name, who.ClientID, env.Now)
	out, err := controller.Handle(n.img, env, req)
	if err != nil {
		return nil, err
	}
	if len(out.Records) > 0 {
		n.publish(out.Records)
	}
	return out.Response, nil
}

func (n *node) producerID(context.Context) (kafka.ProducerID, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nextPID++
	return n.nextPID, nil
}

// topic creates a topic and returns its id.
func (n *node) topic(name string, partitions int, configs ...string) kafka.TopicID {
	n.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, int32(partitions), 1
	for i := 0; i < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		t.Configs = append(t.Configs, c)
	}
	req.Topics, req.Version = append(req.Topics, t), 7
	resp, err := n.controller(context.Background(), Requester{}, req)
	if err != nil {
		n.t.Fatal(err)
	}
	r := resp.(*kmsg.CreateTopicsResponse).Topics[0]
	if r.ErrorCode != 0 {
		n.t.Fatalf("create %s: %v", name, kafka.Code(r.ErrorCode))
	}
	n.exec.Wait()
	return r.TopicID
}

// client is one connection.
type client struct {
	t    testing.TB
	conn net.Conn
	next int32
}

func (n *node) dial() *client {
	n.t.Helper()
	c, err := n.net.Dial(context.Background(), n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	return &client{t: n.t, conn: c}
}

// send writes a request and returns its correlation id.
func (c *client) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.next++
	c.write(encode(req, c.next))
	return c.next
}

func encode(req kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlation)
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// frame reads one reply with its correlation id.
func (c *client) frame() (int32, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return 0, nil, fmt.Errorf("reply cut short: %w", err)
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

// receive reads the reply to req.
func (c *client) receive(req kmsg.Request, correlation int32) kmsg.Response {
	c.t.Helper()
	got, b, err := c.frame()
	if err != nil {
		c.t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	if got != correlation {
		c.t.Fatalf("reply to %d, want %d", got, correlation)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if resp.IsFlexible() && req.Key() != keyApiVersions {
		if b[0] != 0 {
			c.t.Fatalf("%T v%d: header has tags", req, req.GetVersion())
		}
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		c.t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	return resp
}

func (c *client) do(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	return c.receive(req, c.send(req))
}

// isClosed waits for the broker to close the connection.
func (c *client) isClosed() bool {
	_, _, err := c.frame()
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || err != nil
}

// records makes a batch of values.
func records(values ...string) []byte { return built(batch.NoProducer(0, 0), values...) }

func built(o batch.Options, values ...string) []byte {
	var b batch.Builder
	b.Begin(o)
	for _, v := range values {
		b.Add(time.Now().UnixMilli(), nil, []byte(v))
	}
	out, err := b.Finish(nil, nil)
	if err != nil {
		panic(err)
	}
	return out
}

// produceRequest asks for one partition, by name or by id as the version wants.
func produceRequest(version int16, name string, id kafka.TopicID, partition int32, acks int16, batches []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = name, id
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, batches
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

// produce appends to a partition and returns the answer for it.
func (c *client) produce(version int16, name string, id kafka.TopicID, partition int32, acks int16, batches []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	resp := c.do(produceRequest(version, name, id, partition, acks, batches)).(*kmsg.ProduceResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		c.t.Fatalf("produce answered for %d topics", len(resp.Topics))
	}
	return resp.Topics[0].Partitions[0]
}

// place is a partition to fetch from.
type place struct {
	name      string
	id        kafka.TopicID
	partition int32
	offset    int64
}

// fetchRequest asks for places without a session and without waiting.
func fetchRequest(version int16, places ...place) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MinBytes, req.MaxWaitMillis, req.SessionEpoch = version, 50<<20, 1, 0, -1
	for _, p := range places {
		q := kmsg.NewFetchRequestTopicPartition()
		q.Partition, q.FetchOffset, q.PartitionMaxBytes = p.partition, p.offset, 1<<20
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == p.name && req.Topics[n-1].TopicID == p.id {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, q)
			continue
		}
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = p.name, p.id
		t.Partitions = append(t.Partitions, q)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// fetchOne fetches one partition and returns the answer for it.
func (c *client) fetchOne(req *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	resp := c.do(req).(*kmsg.FetchResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		c.t.Fatalf("fetch v%d answered code %v and %d topics", req.Version, kafka.Code(resp.ErrorCode), len(resp.Topics))
	}
	return resp.Topics[0].Partitions[0]
}

// values reads the records of a fetch: offset and value of each.
func values(t testing.TB, b []byte) (out []string) {
	t.Helper()
	for len(b) > 0 {
		h, err := batch.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.VerifyCRC(b[:h.SizeBytes()]); err != nil {
			t.Fatal(err)
		}
		var rec batch.Record
		it := batch.Records(&h, b[batch.HeaderSize:h.SizeBytes()])
		for it.Next(&rec) {
			out = append(out, fmt.Sprintf("%d=%s", rec.Offset, rec.Value))
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
		b = b[h.SizeBytes():]
	}
	return out
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func randomUUID() kafka.UUID {
	u, _ := kafka.NewUUID(cryptorand.Reader) // it never fails
	return u
}
