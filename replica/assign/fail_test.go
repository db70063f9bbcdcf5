// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gregor/base/kafka"
	"gregor/base/vfs"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/storage/logdir"
	"gregor/storage/segment"
)

// bad is a directory in which opening does what a test wants.
type bad struct {
	*dir
	opening func(kafka.TopicID) error
	offline atomic.Bool
}

var errBroken = errors.New("broken")

func (d *bad) Offline() error {
	if d.offline.Load() {
		return errBroken
	}
	return nil
}

func (d *bad) OpenLog(tp kafka.TopicPartition, id kafka.TopicID, c commitlog.Config) (*commitlog.Log, error) {
	log, err := d.dir.OpenLog(tp, id, c)
	return log, errors.Join(err, d.opening(id))
}

// A directory that fails while a log in it is being opened, which may take
// long, takes that partition offline too.
func TestDirectoryFailsWhileAPartitionIsOpened(t *testing.T) {
	for _, early := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			x := executor(t, nil, newDir(1))
			d := &bad{dir: newDir(1)}
			x.o.Dirs[0] = d
			d.opening = func(kafka.TopicID) error {
				d.offline.Store(true)
				if early { // before the partition has its log
					x.FailDir(0, errBroken)
				}
				return nil
			}
			x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: kafka.TopicID{1}}, partition(kafka.TopicID{1}, 0, 1, 1))
			x.Wait()
			if s := x.o.Table.Get(kafka.TopicID{1}, 0).Status(); s.Role != replica.Offline || !errors.Is(s.Err, kafka.KafkaStorageError) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// The name of a deleted topic is free although its log could not be opened; what
// lies in the folder is kept.
func TestDeletedLogThatCannotBeOpenedMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := executor(t, nil, newDir(1))
		d := &bad{dir: newDir(1), opening: func(id kafka.TopicID) error {
			if id == (kafka.TopicID{1}) {
				return errBroken
			}
			return nil
		}}
		x.o.Dirs[0] = d
		one, two := kafka.TopicID{1}, kafka.TopicID{2}
		img := x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: one}, partition(one, 0, 1, 1))
		x.Wait()
		x.apply(t, img, &metarec.RemoveTopic{TopicID: one}, &metarec.Topic{Name: "a", TopicID: two}, partition(two, 0, 1, 1))
		x.Wait()
		if s := x.o.Table.Get(two, 0).Status(); s.Role != replica.Leader {
			t.Errorf("%+v after %v", s, d.did)
		}
	})
}

// reluctant opens a log after some refusals.
type reluctant struct {
	*dir
	refusals int
	err      error
}

func (d *reluctant) OpenLog(tp kafka.TopicPartition, id kafka.TopicID, c commitlog.Config) (*commitlog.Log, error) {
	if d.refusals--; d.refusals >= 0 {
		return nil, d.err
	}
	return d.dir.OpenLog(tp, id, c)
}

// What passes keeps no partition offline: it is opened as soon as it can be.
func TestOpeningIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want replica.Role
	}{{syscall.ENOSPC, replica.Leader}, {syscall.EMFILE, replica.Leader}, {syscall.ENFILE, replica.Leader}, {syscall.ENOMEM, replica.Leader}, {errBroken, replica.Offline},
		{&logdir.OfflineError{Err: syscall.EMFILE}, replica.Offline}} { // which never comes back
		synctest.Test(t, func(t *testing.T) {
			x := executor(t, nil, newDir(1))
			x.o.Dirs[0] = &reluctant{dir: newDir(1), refusals: 3, err: fmt.Errorf("list the folder: %w", c.err)}
			id := kafka.TopicID{1}
			x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: id}, partition(id, 0, 1, 1))
			time.Sleep(10 * tryAgainEvery)
			x.Wait()
			if s := x.o.Table.Get(id, 0).Status(); s.Role != c.want {
				t.Errorf("%v: %+v", c.err, s)
			}
		})
	}
}

// A disk without room for another name delays a deletion, and the next topic of
// that name, and keeps nothing for ever.
func TestDeletionIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := vfs.NewFault(vfs.NewMemory())
		d, err := logdir.Open(logdir.Options{FS: full, Path: "/data", Files: segment.NewFiles(full, 16), NodeID: 1, ClusterID: "c",
			Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Kill()
		x := executor(t, nil, newDir(1))
		x.o.Dirs[0] = d
		one, two := kafka.TopicID{1}, kafka.TopicID{2}
		img := x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: one}, partition(one, 0, 1, 1))
		x.Wait()
		if _, err := x.o.Table.Get(one, 0).Log().Segments(); err != nil { // makes the folder
			t.Fatal(err)
		}
		full.Add(vfs.Rule{Ops: vfs.OpRename, Path: "/a-0", Times: 3, Err: syscall.ENOSPC})
		x.apply(t, img, &metarec.RemoveTopic{TopicID: one}, &metarec.Topic{Name: "a", TopicID: two}, partition(two, 0, 1, 1))
		x.Wait()
		p := x.o.Table.Get(two, 0)
		if s := p.Status(); s.Role != replica.Offline || !errors.Is(s.Err, kafka.KafkaStorageError) {
			t.Errorf("while the name is taken: %+v", s)
		}
		time.Sleep(6 * tryAgainEvery)
		x.Wait()
		if s := p.Status(); s.Role != replica.Leader {
			t.Fatalf("%+v", s)
		}
		if _, err := p.Log().Segments(); err != nil {
			t.Error(err)
		}
		if err := d.Offline(); err != nil {
			t.Error(err)
		}
	})
}

// A stop gives up a deletion that is to be tried again, also where the time for that
// has come while it waits: the directories close next.
func TestDeletionIsGivenUpByAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := executor(t, nil, newDir(1))
		d := &undeleted{dir: newDir(1)}
		x.o.Dirs[0] = d
		id := kafka.TopicID{1}
		img := x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: id}, partition(id, 0, 1, 1))
		x.Wait()
		p := x.o.Table.Get(id, 0)
		x.apply(t, img, &metarec.RemoveTopic{TopicID: id})
		x.Wait()
		x.post(p.Home(), p.TopicPartition(), func() { time.Sleep(2 * tryAgainEvery) })
		time.Sleep(tryAgainEvery + tryAgainEvery/2)
		x.Halt()
		if d.tries != 1 {
			t.Errorf("%d tries", d.tries)
		}
	})
}

// undeleted is a directory without room for another name.
type undeleted struct {
	*dir
	tries int
}

func (d *undeleted) DeleteLog(log *commitlog.Log) error {
	d.tries++
	log.Kill()
	return syscall.ENOSPC
}

// Rules that wait for their turn on a partition do not come back over newer ones.
func TestRulesDoNotGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := executor(t, nil, newDir(1))
		id := kafka.TopicID{1}
		img := x.apply(t, image.Empty(), &metarec.Topic{Name: "a", TopicID: id}, partition(id, 0, 1, 1))
		x.Wait()
		p := x.o.Table.Get(id, 0)
		var seen []int
		look := func() { seen = append(seen, p.Rules().Batch.MessageBytesMax) }
		x.post(0, p.TopicPartition(), func() { time.Sleep(time.Second) })
		for _, size := range []string{"100", "200"} {
			img = x.apply(t, img, &metarec.Config{ResourceType: int8(image.ResourceTopic), ResourceName: "a", Name: "max.message.bytes", Value: &size})
			x.post(0, p.TopicPartition(), look)
		}
		look()
		x.Wait()
		if want := []int{200, 200, 200}; !slices.Equal(seen, want) {
			t.Errorf("max.message.bytes was %v, want %v", seen, want)
		}
	})
}
