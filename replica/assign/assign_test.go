// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/config"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/storage/logdir"
	"gregor/storage/segment"
	"gregor/wire/batch"
	"gregor/wire/compress"
)

const self kafka.NodeID = 1

func partition(topic kafka.TopicID, id kafka.PartitionID, leader kafka.NodeID, replicas ...kafka.NodeID) metarec.Record {
	p := &metarec.Partition{TopicID: topic, PartitionID: id, Leader: leader, Replicas: replicas, ISR: replicas}
	p.Directories = make([]kafka.DirectoryID, len(replicas))
	return p
}

func replay(t testing.TB, base *image.Image, records ...metarec.Record) (*image.Delta, *image.Image) {
	t.Helper()
	d := image.NewDelta(base)
	for _, r := range records {
		if err := d.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	return d, d.Apply(base.Offset()+kafka.Offset(len(records)), 1)
}

// show tells a plan in a line.
func show(p Plan) string {
	var parts []string
	for _, s := range p.Delete {
		parts = append(parts, fmt.Sprintf("delete %s", s.TopicPartition))
	}
	for _, s := range p.Follow {
		parts = append(parts, fmt.Sprintf("follow %s@%d", s.TopicPartition, s.Leadership.Epoch))
	}
	for _, s := range p.Lead {
		parts = append(parts, fmt.Sprintf("lead %s@%d", s.TopicPartition, s.Leadership.Epoch))
	}
	return strings.Join(parts, ", ")
}

func TestPlan(t *testing.T) {
	a, b := kafka.TopicID{1}, kafka.TopicID{2}
	base := []metarec.Record{
		&metarec.Topic{Name: "a", TopicID: a}, partition(a, 0, 1, 1), partition(a, 1, 2, 1, 2), partition(a, 2, 2, 2),
	}
	for _, tc := range []struct {
		name    string
		base    []metarec.Record
		records []metarec.Record
		want    string
	}{
		{"nothing", base, nil, ""},
		{"start", nil, base, "follow a-1@0, lead a-0@0"},
		{"elected", base, []metarec.Record{&metarec.PartitionChange{TopicID: a, PartitionID: 1, Leader: 1, LeaderRecoveryState: -1}}, "lead a-1@1"},
		{"voted out", base, []metarec.Record{&metarec.PartitionChange{TopicID: a, Leader: 2, LeaderRecoveryState: -1}}, "follow a-0@1"},
		{"isr", base, []metarec.Record{&metarec.PartitionChange{TopicID: a, PartitionID: 1, ISR: []kafka.NodeID{2}, Leader: image.NoLeaderChange, LeaderRecoveryState: -1}}, "follow a-1@0"},
		{"of others", base, []metarec.Record{&metarec.PartitionChange{TopicID: a, PartitionID: 2, Leader: 2, LeaderRecoveryState: -1}}, ""},
		{"taken away", base, []metarec.Record{&metarec.PartitionChange{TopicID: a, Replicas: []kafka.NodeID{2}, Directories: make([]kafka.DirectoryID, 1), ISR: []kafka.NodeID{2}, Leader: 2, LeaderRecoveryState: -1}}, "delete a-0"},
		{"deleted", base, []metarec.Record{&metarec.RemoveTopic{TopicID: a}}, "delete a-0, delete a-1"},
		{"created again", base, []metarec.Record{&metarec.RemoveTopic{TopicID: a}, &metarec.Topic{Name: "a", TopicID: b}, partition(b, 0, 1, 1)}, "delete a-0, delete a-1, lead a-0@0"},
	} {
		_, img := replay(t, image.Empty(), tc.base...)
		d, _ := replay(t, img, tc.records...)
		if got := show(Make(d, self)); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestStrays(t *testing.T) {
	a := kafka.TopicID{1}
	_, img := replay(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: a}, partition(a, 0, 1, 1), partition(a, 1, 2, 2))
	found := func(topic string, p kafka.PartitionID, id kafka.TopicID) logdir.Found {
		return logdir.Found{TopicPartition: kafka.TopicPartition{Topic: topic, Partition: p}, TopicID: id}
	}
	all := []logdir.Found{found("a", 0, a), found("a", 0, kafka.TopicID{}), found("a", 0, kafka.TopicID{9}), found("a", 1, a), found("a", 2, a), found("b", 0, kafka.TopicID{3})}
	got := straysOf(all, img, self)
	if len(got) != 4 || got[0] != all[2] || got[1] != all[3] || got[2] != all[4] || got[3] != all[5] {
		t.Errorf("%v", got)
	}
}

func TestRulesFromConfig(t *testing.T) {
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	c := config.Resolve(nil, nil, nil, cfg)
	r := rulesOf(&c, 30_000)
	if !r.Batch.KeepCodec || r.Batch.Strict || r.Batch.Compacted || r.Batch.MessageBytesMax != 1048588 || r.Batch.AfterMaxMs != 3600_000 ||
		r.ISR.MinInsyncReplicas != 1 || r.Log.SegmentBytes != 1<<30 || r.Log.IndexIntervalBytes != 4096 {
		t.Errorf("defaults: %+v", r)
	}
	c = config.Resolve(map[string]string{"compression.type": "zstd", "compression.zstd.level": "7", "cleanup.policy": "compact,delete",
		"message.timestamp.type": "LogAppendTime", "gregor.produce.validation": "strict", "min.insync.replicas": "2", "max.message.bytes": "5"}, nil, nil, cfg)
	r = rulesOf(&c, 30_000)
	if r.Batch.KeepCodec || r.Batch.Codec != compress.Zstd || r.Batch.Level != 7 || !r.Batch.Compacted || !r.Batch.Strict ||
		r.Batch.TimestampType != batch.LogAppendTime || r.ISR.MinInsyncReplicas != 2 || r.Batch.MessageBytesMax != 5 {
		t.Errorf("set by hand: %+v", r)
	}
}

// dir is a log directory that takes time, and may refuse.
type dir struct {
	id   kafka.DirectoryID
	fs   vfs.FS
	fail error

	mu   sync.Mutex
	did  []string
	open map[string]bool
}

func newDir(n byte) *dir {
	return &dir{id: kafka.DirectoryID{n}, fs: vfs.NewMemory(), open: map[string]bool{}}
}

func (d *dir) note(format string, args ...any) {
	d.mu.Lock()
	d.did = append(d.did, fmt.Sprintf(format, args...))
	d.mu.Unlock()
}

func (d *dir) ID() kafka.DirectoryID { return d.id }
func (d *dir) Offline() error        { return d.fail }
func (d *dir) Refuses() error        { return d.fail }
func (d *dir) OpenLog(tp kafka.TopicPartition, id kafka.TopicID, c commitlog.Config) (*commitlog.Log, error) {
	time.Sleep(10 * time.Millisecond)
	d.note("open %s", tp)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[tp.String()] {
		return nil, errors.New("the folder is taken")
	}
	d.open[tp.String()] = true
	return commitlog.Open(commitlog.Options{FS: d.fs, Files: segment.NewFiles(d.fs, 16), Dir: "/" + tp.String() + id.String(), TopicPartition: tp, TopicID: id,
		Config: c, Logger: slog.New(slog.DiscardHandler), Now: time.Now})
}

func (d *dir) DeleteLog(l *commitlog.Log) error {
	time.Sleep(10 * time.Millisecond)
	d.note("delete %s", l.TopicPartition())
	d.mu.Lock()
	d.open[l.TopicPartition().String()] = false
	d.mu.Unlock()
	l.Kill()
	return nil
}

func executor(t testing.TB, homes map[kafka.TopicPartition][]Home, dirs ...*dir) *Executor {
	t.Helper()
	cfg, _, err := config.Load(config.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Self: self, Table: replica.NewTable(), Config: cfg, Homes: homes, Workers: 3, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
	for _, d := range dirs {
		o.Dirs = append(o.Dirs, d)
	}
	x := NewExecutor(o)
	t.Cleanup(func() { x.Stop() })
	return x
}

func (x *Executor) apply(t testing.TB, img *image.Image, records ...metarec.Record) *image.Image {
	t.Helper()
	d, next := replay(t, img, records...)
	p := Make(d, self)
	x.Configure(d, next)
	x.Delete(p.Delete)
	x.Follow(p.Follow, next)
	x.Lead(p.Lead, next)
	return next
}

// The publisher waits for nothing; what switches is in the table at once.
func TestExecutorNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDir(1)
		x := executor(t, nil, d)
		a := kafka.TopicID{1}
		records := []metarec.Record{&metarec.Topic{Name: "a", TopicID: a}}
		for i := range kafka.PartitionID(30) {
			records = append(records, partition(a, i, 1, 1))
		}
		began := time.Now()
		x.apply(t, image.Empty(), records...)
		if time.Since(began) != 0 {
			t.Errorf("it waited %v", time.Since(began))
		}
		p := x.o.Table.Get(a, 29)
		if p == nil || p.Switching() == nil {
			t.Fatal("a partition that switches is not in the table")
		}
		x.Wait()
		if p.Status().Role != replica.Leader || p.Switching() != nil || x.o.Table.Len() != 30 {
			t.Errorf("%+v, %d partitions", p.Status(), x.o.Table.Len())
		}
		// Three workers share thirty opens of 10 ms.
		if took := time.Since(began); took < 100*time.Millisecond || took > 250*time.Millisecond {
			t.Errorf("opening took %v", took)
		}
	})
}

// A topic created again under its name uses the folder after the old one left it.
func TestRecreatedTopicWaitsForItsFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDir(1)
		x := executor(t, nil, d)
		img := image.Empty()
		for life := byte(1); life < 10; life++ {
			id := kafka.TopicID{life}
			records := []metarec.Record{&metarec.Topic{Name: "a", TopicID: id}, partition(id, 0, 1, 1)}
			if life > 1 {
				records = append([]metarec.Record{&metarec.RemoveTopic{TopicID: kafka.TopicID{life - 1}}}, records...)
			}
			img = x.apply(t, img, records...)
		}
		x.Wait()
		p := x.o.Table.Get(kafka.TopicID{9}, 0)
		if p == nil || p.Status().Role != replica.Leader || x.o.Table.Len() != 1 {
			t.Fatalf("%d partitions: %v", x.o.Table.Len(), d.did)
		}
		for i, what := range d.did {
			if want := []string{"open a-0", "delete a-0"}[i%2]; what != want {
				t.Errorf("step %d: %s, want %s", i, what, want)
			}
		}
	})
}

// Changed configurations reach open partitions: of the topic, or of all.
func TestConfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := executor(t, nil, newDir(1))
		a, b := kafka.TopicID{1}, kafka.TopicID{2}
		img := x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: a}, partition(a, 0, 1, 1), &metarec.Topic{Name: "b", TopicID: b}, partition(b, 0, 1, 1))
		set := func(kind image.ResourceType, name, key, value string) {
			img = x.apply(t, img, &metarec.Config{ResourceType: int8(kind), ResourceName: name, Name: key, Value: &value})
			x.Wait()
		}
		check := func(wantA, wantB int) {
			t.Helper()
			if gotA, gotB := x.o.Table.Get(a, 0).Rules().Batch.MessageBytesMax, x.o.Table.Get(b, 0).Rules().Batch.MessageBytesMax; gotA != wantA || gotB != wantB {
				t.Errorf("max.message.bytes %d and %d, want %d and %d", gotA, gotB, wantA, wantB)
			}
		}
		check(1048588, 1048588)
		set(image.ResourceTopic, "a", "max.message.bytes", "100")
		check(100, 1048588)
		set(image.ResourceBroker, "", "message.max.bytes", "200")
		check(100, 200)
		set(image.ResourceBroker, "1", "message.max.bytes", "300")
		check(100, 300)
		set(image.ResourceBroker, "2", "message.max.bytes", "400") // of another broker
		check(100, 300)
	})
}
