// SPDX-License-Identifier: Apache-2.0

package lane

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneAtATimeInOrderAndCombined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, runs atomic.Int32
		var seen []int // guarded by the lane
		l := newLane(func(chain *Job[int]) {
			if inside.Add(1) != 1 {
				t.Error("two runners at once")
			}
			runs.Add(1)
			time.Sleep(10 * time.Millisecond)
			for j := chain; j != nil; j = j.Next() {
				seen = append(seen, j.V)
			}
			inside.Add(-1)
		})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Microsecond)
				l.Do(&Job[int]{V: i})
			})
		}
		wg.Wait()
		for i, v := range seen {
			if v != i {
				t.Fatalf("job %d ran at place %d", v, i)
			}
		}
		if len(seen) != 100 {
			t.Fatalf("ran %d jobs, want 100", len(seen))
		}
		if n := runs.Load(); n != 2 {
			t.Fatalf("%d runs, want 2: one for the first job, one for all that queued behind it", n)
		}
	})
}

func TestPostDoesNotWaitAndMixesWithDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sum int
		l := newLane(func(chain *Job[int]) {
			time.Sleep(time.Millisecond)
			for j := chain; j != nil; j = j.Next() {
				sum += j.V
			}
		})
		start := time.Now()
		for range 10 {
			l.Post(&Job[int]{V: 1})
		}
		if time.Since(start) != 0 {
			t.Fatal("Post waited")
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				j := &Job[int]{V: 100}
				for range 10 {
					l.Do(j)
				}
			})
			l.Post(&Job[int]{V: 1})
		}
		wg.Wait()
		l.Do(&Job[int]{})
		if sum != 20+10*10*100 {
			t.Fatalf("sum %d", sum)
		}
	})
}

func TestDoAllocatesNothingUncontended(t *testing.T) {
	l := newLane(func(*Job[int]) {})
	j := &Job[int]{}
	if n := testing.AllocsPerRun(100, func() { l.Do(j) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkDo(b *testing.B) {
	l := newLane(func(*Job[int]) {})
	b.RunParallel(func(pb *testing.PB) {
		j := &Job[int]{}
		for pb.Next() {
			l.Do(j)
		}
	})
}

// A connection recovers the panics of its handlers, and the runner of a lane is
// often a connection's goroutine. The process must end all the same.
func TestPanicEndsTheProcess(t *testing.T) {
	if os.Getenv("LANE_TEST_PANIC") != "" {
		l := newLane(func(*Job[int]) { panic("a bug") })
		func() {
			defer func() { _ = recover() }()
			l.Do(&Job[int]{})
		}()
		os.Exit(0)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestPanicEndsTheProcess$")
	c.Env = append(os.Environ(), "LANE_TEST_PANIC=1")
	out, err := c.CombinedOutput()
	if err == nil {
		t.Fatal("the process went on")
	}
	if !strings.Contains(string(out), "lane: a bug") || !strings.Contains(string(out), "lane_test.go") {
		t.Fatalf("the end of the process does not tell what happened where:\n%s", out)
	}
}

func newLane(run func(chain *Job[int])) *Lane[int] {
	var l Lane[int]
	l.Init(run)
	return &l
}
