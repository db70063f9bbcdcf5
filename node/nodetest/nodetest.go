// SPDX-License-Identifier: Apache-2.0

// Package nodetest runs whole nodes in one process on memory network and memory
// disk, for tests in testing/synctest bubbles: there time is virtual, so a
// test of hours takes milliseconds and waits for nothing by luck. Such tests
// need the build tag synctests, under which kgo takes no mutex over a wait.
package nodetest

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/netx"
	"gregor/base/vfs"
	"gregor/config"
	"gregor/node"
)

// Options of a Node. The zero value is a node with the defaults.
type Options struct {
	// Set holds key=value configuration, as for --set.
	Set []string
	// FS wraps the node's disk, to inject faults or record calls.
	FS func(*vfs.Memory) vfs.FS
	// Seed decides the node's ids.
	Seed uint64
	// Log takes the node's log; without it the test's output does.
	Log slog.Handler
}

// Node is a node under test. Its methods are for the test's own goroutine.
type Node struct {
	*node.Node
	Disk *vfs.Memory
	Net  *netx.Memory

	t      testing.TB
	o      Options
	random io.Reader
	up     bool
}

// host is the name of the node on its network; clients are on another one.
const (
	host       = "n1"
	clientHost = "client"
	// Addr is where the node listens.
	Addr = host + ":9092"
)

// Start starts a node on an empty disk; it is closed when the test ends.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	n := Prepare(t, o)
	n.Up()
	return n
}

// Prepare is Start without the start.
func Prepare(t testing.TB, o Options) *Node {
	n := &Node{Disk: vfs.NewMemory(), Net: netx.NewMemory(), t: t, o: o, random: seeded(o.Seed)}
	t.Cleanup(n.Stop)
	return n
}

func seeded(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return &shared{r: rand.NewChaCha8(key)}
}

// shared lets several goroutines read.
type shared struct {
	mu sync.Mutex
	r  io.Reader // guarded by mu
}

func (s *shared) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(b)
}

// Up starts the node on the disk as it is.
func (n *Node) Up() {
	n.t.Helper()
	if err := n.TryUp(); err != nil {
		n.t.Fatal(err)
	}
}

// TryUp is Up for a start that may fail.
func (n *Node) TryUp() error {
	n.t.Helper()
	set := append([]string{
		"listeners=PLAINTEXT://" + Addr, "gregor.insecure.public.listeners=PLAINTEXT",
		"log.dirs=/data", "gregor.admin.listener=",
	}, n.o.Set...)
	c, _, err := config.Load(config.Sources{Set: set})
	if err != nil {
		n.t.Fatal(err)
	}
	var disk vfs.FS = n.Disk
	if n.o.FS != nil {
		disk = n.o.FS(n.Disk)
	}
	log := n.o.Log
	if log == nil {
		log = slog.NewTextHandler(n.t.Output(), nil)
	}
	n.Node = node.New(node.Options{
		Config: c, FS: disk, Net: n.Net.Host(host), Now: time.Now, Random: n.random,
		Logger: slog.New(log), Hostname: host,
	})
	if err := n.Node.Start(context.Background()); err != nil {
		return err
	}
	n.up = true
	return nil
}

// Stop stops the node cleanly, if it is up.
func (n *Node) Stop() {
	n.t.Helper()
	if !n.up {
		return
	}
	n.up = false
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		n.t.Errorf("stop: %v", err)
	}
}

// Crash kills the node. Its disk keeps all that was written, as the page cache
// does when a process dies.
func (n *Node) Crash() {
	n.up = false
	n.Kill()
	n.Net.ResetHost(host)
}

// PowerCut kills the node, and its disk keeps only what loss leaves.
func (n *Node) PowerCut(loss vfs.Loss) {
	n.Disk = n.Disk.CrashClone(loss)
	n.Crash()
}

// Client makes a client of the node; it is closed when the test ends.
func (n *Node) Client(opts ...kgo.Opt) *kgo.Client {
	n.t.Helper()
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(Addr),
		kgo.Dialer(func(ctx context.Context, _, addr string) (net.Conn, error) {
			return n.Net.Host(clientHost).Dial(ctx, addr)
		}),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}, opts...)
	c, err := kgo.NewClient(opts...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(c.Close)
	return c
}
