// SPDX-License-Identifier: Apache-2.0

package lane

import (
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
		l := New(func(chain *Job[int]) {
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
		l := New(func(chain *Job[int]) {
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
	l := New(func(*Job[int]) {})
	j := &Job[int]{}
	if n := testing.AllocsPerRun(100, func() { l.Do(j) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkDo(b *testing.B) {
	l := New(func(*Job[int]) {})
	b.RunParallel(func(pb *testing.PB) {
		j := &Job[int]{}
		for pb.Next() {
			l.Do(j)
		}
	})
}

// After a panic nobody waits for ever: who waited and who comes later panics too.
func TestPanicBreaksTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enter := make(chan struct{})
		l := New(func(chain *Job[int]) {
			<-enter
			panic("a bug")
		})
		try := func() (r any) {
			defer func() { r = recover() }()
			l.Do(&Job[int]{})
			return nil
		}
		results := make(chan any, 4)
		for range 3 {
			go func() { results <- try() }()
		}
		synctest.Wait()
		close(enter)
		synctest.Wait()
		results <- try()
		bugs := 0
		for range 4 {
			switch r := <-results; r {
			case "a bug":
				bugs++
			case errBroken:
			default:
				t.Errorf("recovered %v", r)
			}
		}
		if bugs != 1 {
			t.Errorf("%d callers saw the bug itself", bugs)
		}
	})
}
