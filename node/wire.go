// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/api"
	"gregor/broker/call"
	"gregor/broker/conn"
	"gregor/broker/fetchsession"
	"gregor/cluster/active"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/link"
	"gregor/cluster/metalog"
	"gregor/cluster/metalog/loader"
	"gregor/cluster/metarec"
	"gregor/cluster/raftnode"
	"gregor/config"
	"gregor/ops"
	"gregor/replica"
	"gregor/replica/assign"
)

// built are the features of this program and their levels.
var built = [...]metarec.FeatureRange{
	{Name: image.FeatureMetadataVersion, Min: 7, Max: controller.MetadataVersion44IV2},
	{Name: controller.FeatureKRaftVersion, Min: 0, Max: 1},
	{Name: image.FeatureGroupVersion, Min: 0, Max: 1},
}

// requestTimeout bounds what the broker asks of the controller for itself.
const requestTimeout = 30 * time.Second

// openFilesDefault is what fits into any process's limit.
const openFilesDefault = 1000

// millis takes what is too long for a Duration, 292 years, as that.
func millis(ms int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Millisecond)
	return time.Duration(min(max(ms, -most), most)) * time.Millisecond
}

// deleteDelay makes 0 what it says; as an option that is the default.
func deleteDelay(ms int64) time.Duration {
	if ms == 0 {
		return -1
	}
	return millis(ms)
}

// socket is a bound listener of the Kafka protocol.
type socket struct {
	listener   net.Listener
	at         *call.Listener
	port       int
	controller bool
}

// bind binds every port, so that port 0 becomes a number before anybody is told
// of it. Nothing is accepted yet.
func (n *Node) bind(ctx context.Context) error {
	c := n.o.Config
	for _, l := range c.Listeners() {
		if err := n.bindOne(ctx, l, call.Broker, l.Name == c.InterBrokerListener()); err != nil {
			return err
		}
	}
	for _, l := range c.ControllerListeners() {
		if err := n.bindOne(ctx, l, call.Controller, true); err != nil {
			return err
		}
	}
	addr := c.Text(config.GregorAdminListener)
	if addr == "" {
		return nil
	}
	l, err := n.o.Net.Listen(ctx, addr)
	if _, set := c.IsSet(string(config.GregorAdminListener)); err != nil && set {
		return fmt.Errorf("%s=%s: %w", config.GregorAdminListener, addr, err)
	}
	if err != nil {
		n.o.Logger.Warn("metrics and health are not served: the default port cannot be bound; set gregor.admin.listener to another, or to nothing",
			"gregor.admin.listener", addr, "err", err)
		return nil
	}
	n.admin = l
	return nil
}

func (n *Node) bindOne(ctx context.Context, l config.Listener, role call.Role, interBroker bool) error {
	bound, err := n.o.Net.Listen(ctx, l.Address())
	if err != nil {
		return fmt.Errorf("listener %s: %w", l.Name, err)
	}
	host, port, err := splitAddr(bound.Addr())
	if err != nil {
		return errors.Join(fmt.Errorf("listener %s: %w", l.Name, err), bound.Close())
	}
	n.sockets = append(n.sockets, socket{
		listener: bound, port: port, controller: role == call.Controller,
		at: &call.Listener{Name: l.Name, Role: role, InterBroker: interBroker, Host: host, Port: int32(port)},
	})
	return nil
}

func splitAddr(a net.Addr) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(a.String())
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}

// openQuorum starts raft, the controller's loop and the publisher.
func (n *Node) openQuorum(context.Context) error {
	if err := n.openGroups(); err != nil { // before others read from Random
		return err
	}
	if err := n.openTelemetry(); err != nil {
		return err
	}
	c := n.o.Config
	env := n.controllerEnv()
	endpoint := n.voterEndpoint()
	directory := n.metadataID
	voter := metalog.NewVoter(n.ident.node, directory, endpoint)
	var err error
	n.raft, err = raftnode.Open(raftnode.Options{
		FS: n.o.FS, Dir: c.MetadataLogDir(), NodeID: n.ident.node, DirectoryID: directory,
		Form: &raftnode.Formation{
			Voters: []metarec.Voter{voter}, Bootstrap: controller.Bootstrap(env.Config), MetadataVersion: controller.MetadataVersion44IV2,
		},
		Endpoints: []metarec.VoterEndpoint{endpoint},
		Image:     n.applied,
		Failed:    func(op string, err error) { n.fail(fmt.Errorf("metadata quorum: %s: %w", op, err)) },
		Logger:    n.o.Logger, Now: n.o.Now,
		TickEvery:            millis(int64(c.Int(config.ControllerQuorumElectionTimeoutMs))) / 10,
		CheckpointBytesEvery: c.Long(config.MetadataLogMaxRecordBytesBetweenSnapshots),
		Log: metalog.Options{
			SegmentBytesMax: int64(c.Int(config.MetadataLogSegmentBytes)),
			RetentionBytes:  c.Long(config.MetadataMaxRetentionBytes),
			RetentionMs:     c.Long(config.MetadataMaxRetentionMs),
			CutOffset:       kafka.Offset(c.Long(config.GregorMetadataCutOffset)),
		},
	})
	if err != nil {
		return err
	}
	n.control = active.New(active.Options{
		Env: env, Prepare: n.prepare, Quorum: n.raft, Log: n.raft.Log(),
		SessionTimeout: millis(int64(c.Int(config.BrokerSessionTimeoutMs))),
		Now:            n.o.Now, Random: n.o.Random, Logger: n.o.Logger,
		Failed: func(op string, err error) { n.fail(fmt.Errorf("%s: %w", op, err)) },
	})
	if err := n.raft.Start(); err != nil {
		return err
	}
	n.loops.run(func(ctx context.Context) { _ = n.control.Run(ctx) }) // Failed has told
	return nil
}

// voterEndpoint is where the voters record says this controller is reached.
func (n *Node) voterEndpoint() metarec.VoterEndpoint {
	q := n.o.Config.Quorum()
	host, port := q.Endpoint.Host, q.Endpoint.Port
	if host == "" {
		host = n.o.Hostname
	}
	for _, s := range n.sockets {
		if s.controller && s.at.Name == q.ListenerName {
			port = s.port
		}
	}
	return metarec.VoterEndpoint{Name: q.ListenerName, Host: host, Port: uint16(port)}
}

// applied is the metadata for a checkpoint.
func (n *Node) applied() raftnode.Applied {
	img := n.images.Load()
	if img.InTransaction() { // what it holds back is in no checkpoint
		return raftnode.Applied{End: kafka.NoOffset}
	}
	return raftnode.Applied{End: img.Offset() + 1, MetadataVersion: img.MetadataVersion(), Records: img.Records()}
}

func (n *Node) controllerEnv() controller.Env {
	c := n.o.Config
	env := controller.Env{
		Random: n.o.Random,
		Config: &controller.Config{
			NodeID:                   n.ident.node,
			ClusterID:                n.ident.cluster,
			NumPartitions:            c.Int(config.NumPartitions),
			DefaultReplicationFactor: int16(c.Int(config.DefaultReplicationFactor)),
			MinInSyncReplicas:        int(c.Int(config.MinInsyncReplicas)),
			DeleteTopicEnable:        c.Bool(config.DeleteTopicEnable),
			RecordsMax:               10_000,
			Features:                 built[:],

			UncleanLeaderElectionEnable: c.Bool(config.UncleanLeaderElectionEnable),
		},
	}
	judgeConfigs(&env, c)
	return env
}

// register opens the broker's line to the controller and waits until the
// cluster counts on this broker.
func (n *Node) register(ctx context.Context) error {
	c := n.o.Config
	n.table = replica.NewTable()
	dirs := make([]assign.Dir, len(n.dirs))
	for i, d := range n.dirs {
		dirs[i] = d
	}
	homes, err := n.homes()
	if err != nil {
		return err
	}
	workers := 2 * runtime.GOMAXPROCS(0)
	flusher := replica.NewFlusher(workers, n.o.Now, n.o.Logger)
	n.loops.run(flusher.Run)
	n.loops.run(func(ctx context.Context) {
		replica.Sweep(ctx, n.table, millis(int64(c.Int(config.ProducerIDExpirationCheckIntervalMs))), n.o.Logger)
	})
	n.loops.run(func(ctx context.Context) {
		replica.NewRetention(n.table, n.o.Now, n.o.Logger).Run(ctx, millis(c.Long(config.LogInitialTaskDelayMs)), millis(c.Long(config.LogRetentionCheckIntervalMs)))
	})
	n.line = link.New(link.Options{
		NodeID: n.ident.node, ClusterID: n.ident.cluster, Incarnation: n.ident.incarnation,
		Listeners: n.advertised(), Features: brokerFeatures(), Rack: c.Text(config.BrokerRack),
		LogDirs: n.onlineDirs(), PreviousEpoch: n.previousEpoch(),
		Controller:        n.control,
		DirFailureTimeout: millis(c.Long(config.LogDirFailureTimeoutMs)), Failed: n.fail,
		HeartbeatInterval: millis(int64(c.Int(config.BrokerHeartbeatIntervalMs))),
		RequestTimeout:    requestTimeout,
		Logger:            n.o.Logger,
	})
	n.executor = assign.NewExecutor(assign.Options{
		Self: n.ident.node, Table: n.table, Dirs: dirs, Config: c, Homes: homes, Assigned: n.line.Assign, Flusher: flusher, Workers: workers,
		Now: n.o.Now, Logger: n.o.Logger,
	})
	n.publisher = publisher{loader: loader.New(n.raft.Log()), wake: make(chan struct{}, 1)}
	n.loops.run(n.publish)
	n.loops.run(n.line.Run)
	n.loops.run(n.line.RunAssignments)
	for i := range n.dirs {
		n.loops.run(func(ctx context.Context) { n.watchDir(ctx, i) })
	}
	ctx, cancel := context.WithTimeout(ctx, millis(int64(c.Int(config.InitialBrokerRegistrationTimeoutMs))))
	defer cancel()
	err = n.images.Await(ctx, func(img *image.Image) bool {
		b := img.Broker(n.ident.node)
		return b != nil && b.IncarnationID == n.ident.incarnation && !b.Fenced
	})
	if failed := n.live(); err != nil && failed != nil {
		return failed
	}
	return err
}

func (n *Node) advertised() []kmsg.BrokerRegistrationRequestListener {
	bound := make(map[string]int)
	protocols := make(map[string]int16)
	for _, s := range n.sockets {
		bound[s.at.Name] = s.port
		protocols[s.at.Name] = 0 // PLAINTEXT
	}
	var out []kmsg.BrokerRegistrationRequestListener
	for _, l := range n.o.Config.Advertised(bound, n.o.Hostname) {
		r := kmsg.NewBrokerRegistrationRequestListener()
		r.Name, r.Host, r.Port, r.SecurityProtocol = l.Name, l.Host, uint16(l.Port), protocols[l.Name]
		out = append(out, r)
	}
	return out
}

func brokerFeatures() []kmsg.BrokerRegistrationRequestFeature {
	var out []kmsg.BrokerRegistrationRequestFeature
	for _, f := range built {
		r := kmsg.NewBrokerRegistrationRequestFeature()
		r.Name, r.MinSupportedVersion, r.MaxSupportedVersion = f.Name, f.Min, f.Max
		out = append(out, r)
	}
	return out
}

// settle waits until all that the metadata places here is open.
func (n *Node) settle(context.Context) error {
	n.executor.Wait()
	return n.live()
}

// serve lets clients in.
func (n *Node) serve(context.Context) error {
	c := n.o.Config
	var seed [8]byte
	if _, err := io.ReadFull(n.o.Random, seed[:]); err != nil {
		return err
	}
	n.sessions = fetchsession.NewCache(int(c.Int(config.MaxIncrementalFetchSessionCacheSlots)), int(c.Int(config.GregorFetchSessionSlotPartitionsMax)),
		binary.LittleEndian.Uint64(seed[:]), n.o.Now)
	features := make([]api.Feature, len(built))
	for i, f := range built {
		features[i] = api.Feature{Name: f.Name, Min: f.Min, Max: f.Max}
	}
	dirs := make([]api.LogDir, len(n.dirs))
	for i, d := range n.dirs {
		path, err := filepath.Abs(d.Path())
		if err != nil {
			return err
		}
		dirs[i] = api.LogDir{Path: path, Dir: d}
	}
	n.api = api.New(api.Deps{
		NodeID: n.ident.node, ClusterID: n.ident.cluster, Images: n.images, Table: n.table, Config: c, Features: features,
		Controller:   n.line.Do,
		KRaftVersion: func() int16 { return 1 },
		ProducerID:   n.line.ProducerID,
		Quorum:       n.raft.Describe,
		Dirs:         dirs,
		Sessions:     n.sessions,
		Groups:       n.groups,
		Telemetry:    n.telemetry,
		Quotas:       n.quotas,
		Logger:       n.o.Logger,
		LogLevel:     n.o.LogLevel,
		Now:          n.o.Now,
	})
	limits := conn.DefaultLimits()
	limits.FrameBytesMax = c.Int(config.SocketRequestMaxBytes)
	limits.PipelineMax = int(c.Int(config.GregorConnectionPipeline))
	limits.IdleMax = millis(c.Long(config.ConnectionsMaxIdleMs))
	limits.StallMax = millis(int64(c.Int(config.GregorRequestStallMaxMs)))
	limits.ReplyStallMax = millis(int64(c.Int(config.GregorReplyStallMaxMs)))
	total := c.RequestMemoryBytes()
	server := conn.NewServer(conn.Options{
		Handler: n.api, Limits: limits, Rates: n.quotas,
		Budget: conn.NewBudget(total, c.Long(config.GregorRequestMemoryReserveBytes), min(total/4, 64<<20)),
		Logger: n.o.Logger, Now: n.o.Now,
	})
	n.dynamic.attach(server)
	n.server = server
	for _, s := range n.sockets {
		n.serving.Go(func() {
			if err := n.server.Serve(s.listener, s.at); err != nil {
				n.fail(err)
			}
		})
	}
	if n.admin != nil {
		n.ops = ops.NewServer(ops.Options{
			Sources: n.sources(), Live: n.live, Ready: n.readiness, Build: n.o.Build, Logger: n.o.Logger,
		})
		n.serving.Go(func() {
			if err := n.ops.Serve(n.admin); err != nil && !errors.Is(err, net.ErrClosed) {
				n.o.Logger.Warn("metrics and health are not served any more", "err", err)
			}
		})
	}
	return nil
}

// closePartitions ends all that still uses logs; those are closed with their
// directories.
func (n *Node) closePartitions() {
	if n.executor != nil {
		n.executor.Stop()
	}
}
