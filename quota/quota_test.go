// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var epoch = time.Unix(1_700_000_000, 0)

func newManager() *Manager {
	return New(Options{Client: Windows{11, 1000}, Controller: Windows{11, 1000}, Start: epoch})
}

func at(ms int64) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// TestPrecedence gives each of the eight levels a limit of its own and takes
// them away from the first on.
func TestPrecedence(t *testing.T) {
	u, c := Named("u"), Named("c")
	levels := []struct {
		of      Entity
		counted share
	}{
		{Entity{u, c}, share{Produce, u, c}},
		{Entity{u, Others}, share{Produce, u, c}},
		{Entity{u, Part{}}, share{Produce, u, Part{}}},
		{Entity{Others, c}, share{Produce, u, c}},
		{Entity{Others, Others}, share{Produce, u, c}},
		{Entity{Others, Part{}}, share{Produce, u, Part{}}},
		{Entity{Part{}, c}, share{Produce, Part{}, c}},
		{Entity{Part{}, Others}, share{Produce, Part{}, c}},
	}
	for first := range len(levels) + 1 {
		l := NewLimits()
		for i := first; i < len(levels); i++ {
			l.Set(levels[i].of, Produce, float64(i+1))
			// Another kind or name is no limit of this one.
			l.Set(levels[i].of, Fetch, 1000)
		}
		l.Set(Entity{Named("other"), c}, Produce, 99)
		got, by := l.find(Produce, "u", "c")
		if first == len(levels) {
			if got != 0 {
				t.Errorf("no level: limit %v", got)
			}
			continue
		}
		if got != float64(first+1) || by != levels[first].counted {
			t.Errorf("from level %d: limit %v counted by %+v, want %v by %+v", first+1, got, by, first+1, levels[first].counted)
		}
	}
}

// TestEmptyNamesAreNames: a client without a client id has the empty one, which
// defaults limit, and which is not the same as none.
func TestEmptyNamesAreNames(t *testing.T) {
	l := NewLimits()
	l.Set(Entity{ClientID: Others}, Produce, 5)
	if got, by := l.find(Produce, "u", ""); got != 5 || by != (share{Produce, Part{}, Named("")}) {
		t.Errorf("limit %v by %+v", got, by)
	}
}

// The twin measures as the text of KIP-219 says, from all that ever happened,
// where amounts come at least a window apart.
func TestWindowAgainstNaiveTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Windows{rapid.IntRange(1, 12).Draw(t, "count"), rapid.Int64Range(1, 5).Draw(t, "seconds") * 1000}
		var w window
		type event struct {
			startMs, ms int64
			amount      float64
		}
		var all []event
		now, start := int64(0), int64(math.MinInt64/2)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			now += rapid.Int64Range(0, 3*o.Ms).Draw(t, "gap")
			amount := float64(rapid.IntRange(0, 1000).Draw(t, "amount"))
			w.record(o, now, amount)
			if now-start >= o.Ms {
				start = now
			}
			all = append(all, event{start, now, amount})
			sum, oldest := 0.0, now
			// A sample counts while its last event is in the windows.
			last := map[int64]int64{}
			for _, e := range all {
				last[e.startMs] = e.ms
			}
			for _, e := range all {
				if now-last[e.startMs] < int64(o.Count)*o.Ms {
					sum += e.amount
					oldest = min(oldest, e.startMs)
				}
			}
			// Never less than all windows but one, of which those that are
			// missing count whole.
			span := max(now-oldest, 1)
			if full := (now - oldest) / o.Ms; full < int64(o.Count-1) {
				span = now - oldest + (int64(o.Count-1)-full)*o.Ms
			}
			gotSum, gotSpan := w.measure(o, now)
			if gotSum != sum || gotSpan != span {
				t.Fatalf("at %d: sum %v over %d, want %v over %d", now, gotSum, gotSpan, sum, span)
			}
			if len(w.samples) > o.Count+1 {
				t.Fatalf("%d samples for %d windows", len(w.samples), o.Count)
			}
		}
	})
}

// TestThrottleTimes: after the wait the rate is the limit.
func TestThrottleTimes(t *testing.T) {
	for _, c := range []struct {
		sum    float64
		spanMs int64
		limit  float64
		want   int64
	}{
		{10_000, 10_000, 1000, 0},
		{10_001, 10_000, 1000, 1},
		{20_000, 10_000, 1000, 10_000},
		{0, 1, 1, 0},
		{1, 1, 1e-9, math.MaxInt32},
		{math.MaxFloat64, 1, 1, math.MaxInt32},
	} {
		if got := throttleMs(c.sum, c.spanMs, c.limit); got != c.want {
			t.Errorf("%v in %d ms with a limit of %v: %d ms, want %d", c.sum, c.spanMs, c.limit, got, c.want)
		}
	}
}

// TestRateIsHeld: who waits as told gets the limit, whatever it sends at a time.
func TestRateIsHeld(t *testing.T) {
	for _, amount := range []float64{10, 100, 999, 1000, 5000} {
		m := newManager()
		l := NewLimits()
		l.Set(Entity{User: Named("u")}, Produce, 1000)
		m.Update(l)
		var c, free Client
		now, sum, from := int64(0), 0.0, int64(60_000)
		for now < 660_000 {
			m.Bind(&c, "u", "id", at(now))
			m.Bind(&free, "v", "id", at(now))
			if free.Charge(m, Produce, amount, at(now)) != 0 || free.Limited(Produce) {
				t.Fatal("another user is limited")
			}
			if now >= from {
				sum += amount
			}
			now += int64(c.Charge(m, Produce, amount, at(now))) + 1
		}
		if rate := sum / 600; math.Abs(rate-1000) > 50 {
			t.Errorf("%v at a time: %v a second, want 1000", amount, rate)
		}
	}
}

// TestTimeIsThrottledByAWindow at most: requests that are held back use none.
func TestTimeIsThrottledByAWindow(t *testing.T) {
	m := newManager()
	l := NewLimits()
	l.Set(Entity{ClientID: Named("id")}, Request, 1)
	l.Set(Entity{ClientID: Named("id")}, Produce, 1)
	m.Update(l)
	var c Client
	m.Bind(&c, "u", "id", epoch)
	if got := c.Charge(m, Request, Percent(time.Minute), epoch); got != 1000 {
		t.Errorf("a minute of 1 %%: %d ms, want 1000", got)
	}
	if got := c.Charge(m, Produce, 1000, epoch); got != 990_000 {
		t.Errorf("1,000 bytes of 1 a second, 10 s of which were free: %d ms, want 990000", got)
	}
	if got := c.AtOnceMax(m, Produce, epoch); got != 1 {
		t.Errorf("at once %v when all is used, want that of a window, 1", got)
	}
	if got := c.AtOnceMax(m, Produce, at(20_000)); got != 10 {
		t.Errorf("at once %v, want 10", got)
	}
	if got := c.AtOnceMax(m, Fetch, epoch); got >= 0 {
		t.Errorf("at once without a limit %v", got)
	}
}

// TestMutations is the bucket of KIP-599.
func TestMutations(t *testing.T) {
	m := newManager()
	l := NewLimits()
	l.Set(Entity{User: Named("u")}, Mutation, 2) // a burst of 22
	m.Update(l)
	for i, c := range []struct {
		ms         int64
		partitions int
		strict     bool
		ok         bool
		throttleMs int32
	}{
		{0, 20, true, true, 0},
		{0, 10, true, true, 0}, // 2 were left: the last one may take more
		{0, 1, true, false, 4000},
		{1000, 1, true, false, 3000},
		{1000, 4, false, true, 5000}, // permissive: done, and told
		{6000, 1, true, true, 0},
		{6000, 1, true, false, 500},
		{100_000, 30, true, true, 0}, // full again, and no fuller
		{100_000, 1, true, false, 4000},
	} {
		u := m.Mutations("u", "id", at(c.ms))
		if ok := u.Charge(c.partitions, c.strict); ok != c.ok || u.ThrottleMs() != c.throttleMs {
			t.Errorf("step %d: %v after %d ms, want %v after %d", i+1, ok, u.ThrottleMs(), c.ok, c.throttleMs)
		}
	}
	if free := m.Mutations("v", "id", epoch); !free.Charge(1_000_000, true) || free.ThrottleMs() != 0 {
		t.Error("another user is limited")
	}
}

// TestUpdatesHoldAtOnce: what was used counts under the new limit.
func TestUpdatesHoldAtOnce(t *testing.T) {
	m := newManager()
	limit := func(perSecond float64) {
		l := NewLimits()
		l.Set(Entity{ClientID: Named("id")}, Produce, perSecond)
		m.Update(l)
	}
	var one, two Client
	limit(1000)
	m.Bind(&one, "u", "id", epoch)
	m.Bind(&two, "v", "id", epoch)
	if got := one.Charge(m, Produce, 10_000, epoch); got != 0 {
		t.Fatalf("within the limit: %d", got)
	}
	limit(100)
	m.Bind(&two, "v", "id", epoch)
	if got := two.Charge(m, Produce, 0, epoch); got != 90_000 {
		t.Errorf("a tenth of the limit, shared by client id: %d ms, want 90000", got)
	}
	// One that has not seen the change does not bring the old limit back.
	one.meters[Produce].set(1000, 1)
	if got := two.Charge(m, Produce, 0, epoch); got != 90_000 {
		t.Errorf("with an old version about: %d ms, want 90000", got)
	}
	m.Update(NewLimits())
	m.Bind(&one, "u", "id", epoch)
	if one.Limited(Produce) || one.Charge(m, Produce, 1e9, epoch) != 0 {
		t.Error("limited though there is no limit any more")
	}
}

// TestIdleMetersGo when they count no more, and are bounded before that.
func TestIdleMetersGo(t *testing.T) {
	m := New(Options{Client: Windows{11, 1000}, Controller: Windows{11, 1000}, Start: epoch, IdleMax: 50})
	l := NewLimits()
	l.Set(Entity{ClientID: Others}, Produce, 10)
	m.Update(l)
	var stays, c Client
	m.Bind(&stays, "u", "stays", epoch)
	stays.Charge(m, Produce, 1000, epoch)
	for i := range 1000 {
		m.Bind(&c, "u", fmt.Sprint("id", i), epoch)
		c.Charge(m, Produce, 1000, epoch)
	}
	if n := m.Stats().Meters; n > 53 {
		t.Errorf("%d meters after 1,000 client ids, at most 50 of them idle", n)
	}
	if stays.Charge(m, Produce, 0, epoch) == 0 {
		t.Error("a meter in use was forgotten")
	}
	for i := range 200 {
		m.Bind(&c, "u", fmt.Sprint("later", i), at(20_000))
	}
	if n := m.Stats().Meters; n > 3 {
		t.Errorf("%d meters that count no more", n)
	}
	m.Release(&c, at(20_000))
	m.Release(&stays, at(100_000))
	m.Bind(&c, "u", "x", at(200_000))
	m.Release(&c, at(200_000))
	if n := m.Stats().Meters; n > 0 {
		t.Errorf("%d meters though nobody is there", n)
	}
	if got := m.idle.n; got != 0 || m.idle.first != nil || m.idle.last != nil {
		t.Errorf("the list still holds %d", got)
	}
}

func TestConnections(t *testing.T) {
	m := newManager()
	l := NewLimits()
	l.SetAddresses(1)
	l.SetAddress(netip.MustParseAddr("10.0.0.1"), 5)
	m.Update(l)
	taken := func(a string, fromMs, toMs int64) (n int) {
		for ms := fromMs; ms < toMs; ms += 10 {
			if m.ConnectedFrom(netip.MustParseAddr(a), at(ms)) == 0 {
				n++
			}
		}
		return n
	}
	for a, perSecond := range map[string]int{"10.0.0.1": 5, "::ffff:10.0.0.2": 1, "fe80::1": 1} {
		taken(a, 0, 30_000)
		// Few at a time, and whole ones: up to one in ten windows is lost.
		if n := taken(a, 30_000, 130_000); n > 105*perSecond || n < 85*perSecond {
			t.Errorf("%s: %d connections in 100 s, want up to %d", a, n, 100*perSecond)
		}
	}
	if wait := m.ConnectedFrom(netip.MustParseAddr("10.0.0.1"), at(130_000)); wait > time.Second {
		t.Errorf("kept for %v, at most a window", wait)
	}
	m.LimitConnections(10)
	now, n := int64(0), 0
	for ; now < 100_000; n++ {
		now += m.Connected(at(now)).Milliseconds() + 1
	}
	if n < 1000 || n > 1150 { // 10 s of them at once
		t.Errorf("%d connections in 100 s, want 1,000 and a burst of 100", n)
	}
	m.LimitConnections(0)
	if m.Connected(at(now)) != 0 {
		t.Error("limited by 0")
	}
}

func TestKeys(t *testing.T) {
	for _, k := range Kinds() {
		if got, ok := KindOf(k.Key()); !ok || got != k || k.String() == "" {
			t.Errorf("%s: %v %v", k.Key(), got, ok)
		}
	}
	if _, ok := KindOf("no_such_rate"); ok {
		t.Error("a kind of no key")
	}
}

func BenchmarkCharge(b *testing.B) {
	m := newManager()
	l := NewLimits()
	l.Set(Entity{ClientID: Named("id")}, Produce, 1e12)
	m.Update(l)
	for _, id := range []string{"free", "id"} {
		b.Run(id, func(b *testing.B) {
			var c Client
			b.ReportAllocs()
			for i := range b.N {
				now := at(int64(i / 1000))
				m.Bind(&c, "u", id, now)
				c.Charge(m, Produce, 1000, now)
			}
		})
	}
}

func TestChargeAllocatesNothing(t *testing.T) {
	m := newManager()
	l := NewLimits()
	l.Set(Entity{ClientID: Named("id")}, Produce, 1e12)
	m.Update(l)
	var c Client
	ms := int64(0)
	charge := func() {
		ms += 100
		m.Bind(&c, "u", "id", at(ms))
		c.Charge(m, Produce, 1000, at(ms))
	}
	for range 1000 {
		charge() // the windows are there
	}
	if n := testing.AllocsPerRun(1000, charge); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
