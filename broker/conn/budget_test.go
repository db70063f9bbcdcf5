// SPDX-License-Identifier: Apache-2.0

package conn

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestBudgetClasses(t *testing.T) {
	for n := 1; n < 200<<20; n += 1 + n/7 {
		class := classOf(n)
		if class < n || class < firstBytes || n > firstBytes && float64(class) > 1.25*float64(n) {
			t.Fatalf("class of %d is %d", n, class)
		}
		if classOf(class) != class {
			t.Fatalf("class of a class: %d becomes %d", class, classOf(class))
		}
	}
}

func TestBudgetKeepsItsReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		b := NewBudget(1<<20, 256<<10, 0)
		big, ok := b.get(768<<10, false, time.Second, never)
		if !ok {
			t.Fatal("the budget is empty and refuses")
		}
		began := time.Now()
		if _, ok := b.get(16<<10, false, time.Second, never); ok {
			t.Fatal("an ordinary frame got the reserve")
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("refused after %v", d)
		}
		small, ok := b.get(16<<10, true, time.Second, never)
		if !ok {
			t.Fatal("a privileged frame did not get the reserve")
		}
		b.put(small)
		// Who waits gets what is given back.
		go func() {
			time.Sleep(300 * time.Millisecond)
			b.put(big)
		}()
		began = time.Now()
		again, ok := b.get(512<<10, false, time.Second, never)
		if !ok || time.Since(began) != 300*time.Millisecond {
			t.Fatalf("got %v after %v", ok, time.Since(began))
		}
		b.put(again)
		if used, _ := b.usage(); used != 0 {
			t.Errorf("%d bytes are charged at the end", used)
		}
	})
}

func TestBudgetWaitsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		b := NewBudget(1<<20, 0, 0)
		all, _ := b.get(1<<20, false, time.Second, never)
		var mu sync.Mutex
		var got []int
		for i, n := range []int{900 << 10, 16 << 10, 900 << 10} {
			go func() {
				buf, ok := b.get(n, false, time.Minute, never)
				if !ok {
					t.Errorf("waiter %d got nothing", i)
					return
				}
				mu.Lock()
				got = append(got, i)
				mu.Unlock()
				time.Sleep(time.Second)
				b.put(buf)
			}()
			synctest.Wait()
		}
		b.put(all)
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		// The small one behind the large one neither passes it nor starves it.
		if len(got) != 3 || got[0] == 2 || got[2] != 2 {
			t.Errorf("served in order %v", got)
		}
	})
}

// Whatever happens, what is charged is what is held.
func TestBudgetBalances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		b := NewBudget(1<<20, 128<<10, 1<<20)
		var work sync.WaitGroup
		for worker := range 20 {
			work.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(worker)))
				for range 200 {
					buf, ok := b.get(1+random.IntN(700<<10), random.IntN(2) == 0, time.Duration(random.IntN(100))*time.Millisecond, never)
					if used, _ := b.usage(); used > 1<<20 {
						t.Errorf("%d bytes are charged", used)
					}
					if ok {
						time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
						b.put(buf)
					}
				}
			})
		}
		work.Wait()
		if used, _ := b.usage(); used != 0 {
			t.Errorf("%d bytes are charged at the end", used)
		}
		if b.first != nil || b.last != nil {
			t.Error("somebody still waits")
		}
		if b.retained > b.retainBytes {
			t.Errorf("%d bytes of free buffers are kept", b.retained)
		}
	})
}

// A frame of another broker gets through while clients hold all they may.
func TestClosedConnectionStopsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(1<<20, 0, 0)
		closed := make(chan struct{})
		if _, ok := b.get(1<<20, false, time.Second, closed); !ok {
			t.Fatal("empty budget refuses")
		}
		go func() {
			time.Sleep(time.Second)
			close(closed)
		}()
		began := time.Now()
		if _, ok := b.get(1<<20, false, time.Hour, closed); ok || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", ok, time.Since(began))
		}
	})
}

// What can never be had is refused at once.
func TestBudgetRefusesTheImpossible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(1<<20, 256<<10, 0)
		began := time.Now()
		if _, ok := b.get(900<<10, false, time.Hour, nil); ok || time.Since(began) != 0 {
			t.Errorf("got %v after %v", ok, time.Since(began))
		}
		if _, ok := b.get(2<<20, true, time.Hour, nil); ok || time.Since(began) != 0 {
			t.Errorf("privileged: got %v after %v", ok, time.Since(began))
		}
		if buf, ok := b.get(900<<10, true, time.Hour, nil); !ok {
			t.Error("a privileged frame may take the reserve")
		} else {
			b.put(buf)
		}
	})
}

// Free buffers of a burst give way to those that are asked for now.
func TestBudgetKeepsWhatIsInUse(t *testing.T) {
	b := NewBudget(64<<20, 1<<20, 4<<20)
	get := func(n int) []byte {
		buf, ok := b.get(n, false, time.Second, nil)
		if !ok {
			t.Fatal("no memory")
		}
		return buf
	}
	var burst [][]byte
	for range 8 {
		burst = append(burst, get(1<<20))
	}
	for _, buf := range burst {
		b.put(buf)
	}
	first := get(100_000)
	b.put(first)
	if second := get(100_000); &second[0] != &first[0] {
		t.Error("a buffer that is in use all the time was allocated anew")
	}
	if b.retained > b.retainBytes {
		t.Errorf("%d bytes are kept, allowed are %d", b.retained, b.retainBytes)
	}
}
