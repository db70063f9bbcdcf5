// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
	"gregor/storage/logdir"
)

// twoDirs is a node with two log directories; the metadata log is in /a.
var twoDirs = []string{"log.dirs=/a,/b"}

// within gives the directory of each partition of topic t, from the folders.
func within(t *testing.T, n *Node) (dirs [partitions]string) {
	t.Helper()
	c := n.Client()
	defer c.Close()
	described, err := kadm.NewClient(c).DescribeAllLogDirs(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range described[1] {
		for id := range d.Topics["t"] {
			dirs[id] = d.Dir
		}
	}
	return dirs
}

// state is what clients are told of topic t and the directories.
type state struct {
	leaderless []int32
	offline    []int32           // partitions with an offline replica
	dirs       map[string]string // errors of directories
}

func stateOf(ctx context.Context, t *testing.T, n *Node) state {
	t.Helper()
	c := n.Client()
	defer c.Close()
	adm := kadm.NewClient(c)
	s := state{dirs: map[string]string{}}
	m, err := adm.Metadata(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Topics["t"].Partitions.Sorted() {
		if p.Leader < 0 {
			s.leaderless = append(s.leaderless, p.Partition)
		}
		if len(p.OfflineReplicas) > 0 {
			s.offline = append(s.offline, p.Partition)
		}
	}
	described, err := adm.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range described[1] {
		s.dirs[d.Dir] = ""
		if d.Err != nil {
			s.dirs[d.Dir] = d.Err.Error()
		}
	}
	return s
}

// whole checks that all partitions lead and both directories work.
func (s state) whole(t *testing.T) {
	t.Helper()
	if len(s.leaderless)+len(s.offline) > 0 || s.dirs["/a"]+s.dirs["/b"] != "" {
		t.Fatalf("not all is well: %+v", s)
	}
}

// without checks that the partitions in /b are offline and the others not.
func (s state) without(t *testing.T, at [partitions]string) {
	t.Helper()
	var lost []int32
	for p, dir := range at {
		if dir == "/b" {
			lost = append(lost, int32(p))
		}
	}
	if !slices.Equal(s.leaderless, lost) || !slices.Equal(s.offline, lost) {
		t.Fatalf("partitions are in %v, without a leader are %v, with offline replicas %v", at, s.leaderless, s.offline)
	}
	if s.dirs["/a"] != "" || !strings.Contains(s.dirs["/b"], "KAFKA_STORAGE_ERROR") {
		t.Fatalf("directories: %v", s.dirs)
	}
}

// serve writes to the partitions in dir and reads them back.
func (l *ledger) serve(ctx context.Context, t *testing.T, n *Node, at [partitions]string, dir string) {
	t.Helper()
	for p := range partitions {
		if at[p] != dir {
			continue
		}
		if err := tryProduce(ctx, n, int32(p), l.next[p]); err != nil {
			t.Fatalf("partition %d in %s: %v", p, dir, err)
		}
		l.acked[p] = append(l.acked[p], l.next[p])
		l.next[p]++
		c := n.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {int32(p): kgo.NewOffset().AtStart()}}))
		for read := 0; read < len(l.acked[p]); {
			fs := c.PollFetches(ctx)
			if err := fs.Err0(); err != nil {
				t.Fatalf("read partition %d in %s: %v", p, dir, err)
			}
			read += fs.NumRecords()
		}
		c.Close()
	}
}

// One directory fails, in this way or that: its partitions go offline, the
// others are served, new topics go to the other directory. After a restart with
// the disk broken still, and after one with it well again, too.
func TestOneDirectoryFailsAlone(t *testing.T) {
	for name, rule := range map[string]vfs.Rule{
		"write of a log":         {Ops: vfs.OpWrite, Path: "/b/t-", Err: syscall.EIO},
		"short write of a log":   {Ops: vfs.OpWrite, Path: "/b/t-", Err: syscall.EIO, ShortBytes: 9},
		"sync of a log":          {Ops: vfs.OpSyncData, Path: "/b/t-", Err: syscall.EIO},
		"write of a checkpoint":  {Ops: vfs.OpWrite, Path: "/b/replication-offset", Err: syscall.EIO},
		"sync of the directory":  {Ops: vfs.OpSyncDir, Path: "/b", Err: syscall.EIO},
		"every call on the disk": {Ops: vfs.OpAny, Path: "/b", Err: syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
				var disk *vfs.Fault
				broken := false
				n := Prepare(t, Options{Set: twoDirs, FS: func(m *vfs.Memory) vfs.FS {
					disk = vfs.NewFault(m)
					if broken {
						disk.Add(vfs.Rule{Ops: vfs.OpAny, Path: "/b", Err: syscall.EIO})
					}
					return disk
				}})
				n.Up()
				c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
				createTopic(ctx, t, c, map[string]*string{"flush.messages": kadm.StringPtr("1")})
				var l ledger
				l.produce(ctx, t, c, 10)
				c.Close()
				at := within(t, n)
				if slices.Index(at[:], "/a") < 0 || slices.Index(at[:], "/b") < 0 {
					t.Fatalf("partitions are in %v", at)
				}
				stateOf(ctx, t, n).whole(t)

				disk.Add(rule)
				for p := range partitions {
					if at[p] == "/b" {
						if err := tryProduce(ctx, n, int32(p), 1000); err == nil {
							l.acked[p] = append(l.acked[p], 1000) // before the checkpoint's turn
						} else if !errors.Is(err, kerr.KafkaStorageError) && !errors.Is(err, kerr.LeaderNotAvailable) && !errors.Is(err, kerr.NotLeaderForPartition) {
							t.Errorf("produce to a failed directory: %v", err)
						}
					}
				}
				time.Sleep(2 * time.Minute) // recovery points and checkpoints have their turn
				stateOf(ctx, t, n).without(t, at)
				l.serve(ctx, t, n, at, "/a")
				for p := range partitions {
					short, done := context.WithTimeout(ctx, 5*time.Second)
					if err := tryProduce(short, n, int32(p), 2000); at[p] == "/b" && err == nil {
						t.Errorf("partition %d takes records without its directory", p)
					} else if at[p] == "/a" {
						l.acked[p] = append(l.acked[p], 2000)
					}
					done()
				}
				checkNewTopic(ctx, t, n, "new", "/a")

				n.Stop() // with an offline directory it is a clean stop all the same
				broken = true
				n.Up()
				stateOf(ctx, t, n).without(t, at)
				checkNewTopic(ctx, t, n, "newer", "/a")
				l.serve(ctx, t, n, at, "/a")

				n.Stop()
				broken = false
				n.Up()
				time.Sleep(time.Second)
				stateOf(ctx, t, n).whole(t)
				if now := within(t, n); now != at {
					t.Errorf("partitions were in %v, and are in %v", at, now)
				}
				checkAtLeast(ctx, t, n, &l)
				n.Stop()
			})
		})
	}
}

// checkNewTopic creates a topic of two partitions and looks where it is.
func checkNewTopic(ctx context.Context, t *testing.T, n *Node, topic, dir string) {
	t.Helper()
	c := n.Client()
	defer c.Close()
	adm := kadm.NewClient(c)
	if _, err := adm.CreateTopic(ctx, 2, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	all, err := adm.DescribeAllLogDirs(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range all[1] {
		if got := len(d.Topics[topic]); (d.Dir == dir) != (got == 2) {
			t.Errorf("%s holds %d partitions of the new topic", d.Dir, got)
		}
	}
}

// The first call of /b that fails, whichever it is of a whole life, takes /b
// offline and nothing else: /a serves every request of that life, the node
// lives, and the next start on a disk that works finds what was acknowledged.
func TestAnyCallMayFailInOneDirectory(t *testing.T) {
	const which = vfs.OpChanges | vfs.OpSyncs
	calls := int64(0)
	synctest.Test(t, func(t *testing.T) { calls = lifeOfTwo(t, vfs.Rule{}) })
	if calls < 30 {
		t.Fatalf("a life has only %d calls in /b", calls)
	}
	for _, err := range []error{syscall.EIO, syscall.ENOSPC} {
		for at := int64(0); at < calls; at += max(1, calls/60) {
			synctest.Test(t, func(t *testing.T) {
				lifeOfTwo(t, vfs.Rule{Ops: which, Path: "/b", Skip: int(at), Times: 1, Err: err, ShortBytes: 7})
			})
			if t.Failed() {
				t.Fatalf("with %v at call %d of %d", err, at, calls)
			}
		}
	}
}

// lifeOfTwo runs a life of two directories, on a disk with a rule from the
// moment the topic is there, and one after it on a disk that works.
func lifeOfTwo(t *testing.T, rule vfs.Rule) (calls int64) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var disk failing
	counter := vfs.Rule{Ops: vfs.OpChanges | vfs.OpSyncs, Path: "/b", Skip: 1 << 30, Err: syscall.EIO}
	n := Start(t, Options{Set: twoDirs, FS: disk.over})
	c := n.Client()
	createTopic(ctx, t, c, map[string]*string{"flush.messages": kadm.StringPtr("1"), "segment.bytes": kadm.StringPtr("1048576")})
	c.Close()
	if rule.Err != nil {
		disk.Add(rule)
	} else {
		disk.Add(counter)
	}
	before := disk.Count(vfs.OpChanges | vfs.OpSyncs)
	var l ledger
	for i := range 12 {
		p := i % partitions
		err := tryProduce(ctx, n, int32(p), l.next[p])
		if err == nil {
			l.acked[p] = append(l.acked[p], l.next[p])
		} else if p != 1 { // the second is in /b
			t.Fatalf("record %d of partition %d: %v", l.next[p], p, err)
		}
		l.next[p]++
	}
	time.Sleep(70 * time.Second) // a flush of the file system
	c = n.Client()
	if _, err := kadm.NewClient(c).DeleteRecords(ctx, kadm.Offsets{"t": {1: {Topic: "t", Partition: 1, At: 1}}}); err != nil && rule.Err == nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case <-n.Failed():
		t.Fatal("the node ended")
	default:
	}
	stopOrKill(n)
	calls = disk.Count(vfs.OpChanges|vfs.OpSyncs) - before
	disk.Clear()
	n.Up()
	time.Sleep(time.Second)
	stateOf(ctx, t, n).whole(t)
	if len(l.acked[1]) > 0 {
		l.acked[1] = l.acked[1][1:] // DeleteRecords
	}
	checkLogs(ctx, t, n, &l)
	n.Stop()
	return calls
}

// checkLogs is checkAtLeast from the logs' starts on.
func checkLogs(ctx context.Context, t *testing.T, n *Node, l *ledger) {
	t.Helper()
	for p := range partitions {
		if len(l.acked[p]) == 0 {
			continue
		}
		last := l.acked[p][len(l.acked[p])-1]
		c := n.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {int32(p): kgo.NewOffset().AtStart()}}))
		var got []string
		for !slices.Contains(got, strconv.Itoa(last)) { // one whose answer was an error may follow
			short, done := context.WithTimeout(ctx, time.Minute)
			fs := c.PollFetches(short)
			done()
			if err := fs.Err0(); err != nil {
				t.Fatalf("partition %d: %v after %v, acknowledged were %v", p, err, got, l.acked[p])
			}
			fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Key)) })
		}
		for _, i := range l.acked[p] {
			if !slices.Contains(got, strconv.Itoa(i)) {
				t.Fatalf("partition %d lost record %d: %v", p, i, got)
			}
		}
		c.Close()
	}
}

// A disk that is missing at a start is not begun anew: what was in it is
// offline, nothing is written in its place, and when it is back so is all.
func TestMissingDiskIsNotBegunAnew(t *testing.T) {
	bubble(t, time.Hour, func(ctx context.Context, t *testing.T) {
		n := Start(t, Options{Set: twoDirs})
		c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		createTopic(ctx, t, c, nil)
		var l ledger
		l.produce(ctx, t, c, 5)
		at := within(t, n)
		c.Close()
		n.Stop()

		for _, place := range []string{"nothing", "an empty folder"} {
			must(t, n.Disk.Rename("/b", "/elsewhere"))
			if place == "an empty folder" {
				must(t, n.Disk.MkdirAll("/b"))
			}
			n.Up()
			stateOf(ctx, t, n).without(t, at)
			l.serve(ctx, t, n, at, "/a")
			n.Stop()
			if infos, err := n.Disk.ReadDir("/b"); len(infos) > 0 {
				t.Errorf("where the disk was mounted there is %v, %v now", infos, err)
			}
			must(t, n.Disk.RemoveAll("/b"))
			must(t, n.Disk.Rename("/elsewhere", "/b"))
			n.Up()
			stateOf(ctx, t, n).whole(t)
			l.check(ctx, t, n)
			n.Stop()
		}

		// The disk is lost for good, and a new one is formatted: what was in it
		// begins anew, and the rest is as it was.
		must(t, n.Disk.RemoveAll("/b"))
		must(t, n.Disk.MkdirAll("/b"))
		a, _, err := logdir.ReadProperties(n.Disk, "/a")
		must(t, err)
		_, err = logdir.Format(logdir.Options{FS: n.Disk, Path: "/b", NodeID: a.NodeID, ClusterID: a.ClusterID, Random: seeded(9)})
		must(t, err)
		n.Up()
		time.Sleep(time.Second)
		stateOf(ctx, t, n).whole(t)
		for p := range partitions {
			if at[p] == "/b" {
				l.acked[p] = nil
			}
		}
		l.serve(ctx, t, n, at, "/b")
		l.serve(ctx, t, n, at, "/a")
		n.Stop()
	})
}

// What several directories can be at odds about stops the start with a line
// that says what to do.
func TestDirectoriesAtOdds(t *testing.T) {
	for name, tc := range map[string]struct {
		set    []string // of the second start
		damage func(t *testing.T, disk *vfs.Memory)
		want   string
	}{
		"one partition in two": {twoDirs, func(t *testing.T, disk *vfs.Memory) { copyTree(t, disk, "/a/t-0", "/b/t-0") },
			"the log of t-0 is in two directories, /a/t-0 and /b/t-0"},
		"a copy of a directory": {twoDirs, func(t *testing.T, disk *vfs.Memory) { copyTree(t, disk, "/a/meta.properties", "/b/meta.properties") },
			"/a and /b have one directory.id"},
		"of another cluster": {twoDirs, func(t *testing.T, disk *vfs.Memory) {
			must(t, vfs.WriteFileAtomic(disk, "/b/meta.properties", []byte("version=1\ncluster.id=other\nnode.id=1\n")))
		}, "/b/meta.properties says cluster.id=other"},
		"a second metadata log": {twoDirs, func(t *testing.T, disk *vfs.Memory) { must(t, disk.MkdirAll("/b/__cluster_metadata-0")) },
			"unexpected metadata log in /b/__cluster_metadata-0: metadata.log.dir is /a"},
		"the metadata log is elsewhere": {[]string{"log.dirs=/a,/b", "metadata.log.dir=/c"}, func(*testing.T, *vfs.Memory) {},
			"/c has no meta.properties, and other directories of this node have one"},
		"the directories change places": {[]string{"log.dirs=/b,/a"}, func(*testing.T, *vfs.Memory) {},
			"unexpected metadata log in /a/__cluster_metadata-0: metadata.log.dir is /b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := Start(t, Options{Set: twoDirs})
				c := n.Client()
				createTopic(t.Context(), t, c, nil)
				useTopic(t.Context(), t, c)
				c.Close()
				n.Stop()
				tc.damage(t, n.Disk)
				n.o.Set = tc.set
				if err := n.TryUp(); err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("start: %v, want %q", err, tc.want)
				}
			})
		})
	}
}

func copyTree(t *testing.T, disk *vfs.Memory, from, to string) {
	t.Helper()
	if info, err := disk.Stat(from); err == nil && !info.IsDir() {
		b, err := vfs.ReadFile(disk, from, 1<<20)
		must(t, err)
		must(t, vfs.WriteFileAtomic(disk, to, b))
		return
	}
	infos, err := disk.ReadDir(from)
	must(t, err)
	must(t, disk.MkdirAll(to))
	for _, info := range infos {
		copyTree(t, disk, filepath.Join(from, info.Name), filepath.Join(to, info.Name))
	}
}
