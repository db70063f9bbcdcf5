// SPDX-License-Identifier: Apache-2.0

//go:build synctests

package nodetest

import (
	"context"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/base/vfs"
)

// R13: a bit that flips in the metadata log, its checkpoints, the quorum's state
// or the identity of a directory, while the node is down, is refused at the next
// start by a line that names what is damaged, or it changes nothing: no topic
// goes, and no record. CRASH_FLIPS sets how many bits (10).
func TestFlipsInMetadata(t *testing.T) {
	flips := 10
	if n, err := strconv.Atoi(os.Getenv("CRASH_FLIPS")); err == nil {
		flips = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	outcomes := map[string]int{}
	for range flips {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			n := Start(t, Options{Set: []string{"log.segment.bytes=1048576"}})
			l := &ledger{}
			c := n.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
			createTopic(ctx, t, c, nil)
			l.produce(ctx, t, c, 3)
			c.Close()
			stopped := random.IntN(2) == 0
			if stopped {
				n.Stop()
			} else {
				n.Crash()
			}
			var files []string
			for _, dir := range []string{"/data", "/data/__cluster_metadata-0"} {
				infos, err := n.Disk.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range infos {
					if !i.IsDir() && i.SizeBytes > 0 {
						files = append(files, path.Join(dir, i.Name))
					}
				}
			}
			if !stopped {
				// Behind a crash a batch of the metadata log that is bad, and above the commit index that
				// quorum-state remembers, is taken for an append that was torn.
				files = slices.DeleteFunc(files, func(name string) bool { return path.Ext(name) == ".log" })
			}
			file := files[random.IntN(len(files))]
			var pos int64
			err := n.Disk.Rot(file, func(f vfs.File) error {
				size, err := f.Size()
				if err != nil {
					return err
				}
				var b [1]byte
				pos = random.Int64N(size)
				if _, err := f.ReadAt(b[:], pos); err != nil {
					return err
				}
				b[0] ^= 1 << random.IntN(8)
				_, err = f.WriteAt(b[:], pos)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("flipped a bit of byte %d of %s", pos, file)
			if err := n.TryUp(); err != nil {
				outcomes[path.Base(file)+" refused"]++
				if !strings.Contains(err.Error(), path.Base(file)) && !strings.Contains(err.Error(), "/data") &&
					!strings.Contains(err.Error(), "none of the metadata quorum's voters") { // that names the directory.id
					t.Errorf("the error names no file: %v", err)
				}
				n.Kill()
				return
			}
			outcomes[path.Base(file)+" no difference"]++
			l.check(ctx, t, n)
		})
		if t.Failed() {
			break
		}
	}
	t.Log(outcomes)
}
