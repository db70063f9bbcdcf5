// SPDX-License-Identifier: Apache-2.0

package park

import (
	"testing"
	"testing/synctest"
)

func TestWakeReadiesOnlyWhatPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewParker()
		var l List
		early, late := &Entry{Parker: p, Owner: "early"}, &Entry{Parker: p, Owner: "late"}
		l.Add(early, 5)
		l.Add(late, 10)
		woken := make(chan struct{})
		go func() { <-p.C; close(woken) }()
		l.Wake(4)
		synctest.Wait()
		select {
		case <-woken:
			t.Fatal("woken below its value")
		default:
		}
		l.Wake(5)
		<-woken
		if e := p.Ready(); e != early {
			t.Fatalf("ready: %v", e)
		}
		if e := p.Ready(); e != nil {
			t.Fatalf("also ready: %v", e.Owner)
		}
		if l.Len() != 1 {
			t.Fatalf("%d left, want 1", l.Len())
		}
		l.Add(early, 6)
		l.WakeAll()
		got := map[any]bool{}
		for e := p.Ready(); e != nil; e = p.Ready() {
			got[e.Owner] = true
		}
		if !got["early"] || !got["late"] || l.Len() != 0 {
			t.Fatalf("ready after WakeAll: %v, %d left", got, l.Len())
		}
	})
}

func TestRemoveAfterWakeIsHarmless(t *testing.T) {
	p := NewParker()
	var l List
	e := &Entry{Parker: p}
	l.Add(e, 0)
	l.Wake(0)
	l.Remove(e)
	if p.Ready() != e || p.Ready() != nil {
		t.Fatal("a woken entry stays ready exactly once")
	}
	l.Add(e, 0)
	l.Remove(e)
	l.Wake(0)
	if p.Ready() != nil {
		t.Fatal("a removed entry was woken")
	}
}
