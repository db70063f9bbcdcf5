// SPDX-License-Identifier: Apache-2.0

package commitlog

import "sync"

// gate lets one goroutine at a time do a piece of I/O that others need done.
// Unlike a mutex nobody holds a lock meanwhile: those who come later wait on a
// channel, then look again.
type gate struct {
	mu   sync.Mutex // guards wait
	wait chan struct{}
}

// pass returns nil once done() is true. If it is not, one caller runs do and
// gets its error; the others wait for it and then try themselves.
func (g *gate) pass(done func() bool, do func() error) error {
	for !done() {
		g.mu.Lock()
		if g.wait != nil {
			wait := g.wait
			g.mu.Unlock()
			<-wait
			continue
		}
		if done() {
			g.mu.Unlock()
			return nil
		}
		if err := g.runLocked(do); err != nil {
			return err
		}
	}
	return nil
}

// alone runs do while nobody is inside: it waits for the one who is, and others
// wait for it.
func (g *gate) alone(do func() error) error {
	for {
		g.mu.Lock()
		if g.wait == nil {
			return g.runLocked(do)
		}
		wait := g.wait
		g.mu.Unlock()
		<-wait
	}
}

// runLocked runs do as the one who is inside, and without mu, which it gives
// back.
func (g *gate) runLocked(do func() error) error {
	g.wait = make(chan struct{})
	g.mu.Unlock()
	err := do()
	g.mu.Lock()
	close(g.wait)
	g.wait = nil
	g.mu.Unlock()
	return err
}
