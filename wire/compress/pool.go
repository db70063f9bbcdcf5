// SPDX-License-Identifier: Apache-2.0

package compress

import "sync"

// Pool lends Coders, so that a thousand connections do not hold a thousand
// zstd windows. The zero value is ready.
type Pool struct {
	coders sync.Pool
}

// Get lends a Coder until Put.
func (p *Pool) Get() *Coder {
	if c, ok := p.coders.Get().(*Coder); ok {
		return c
	}
	return &Coder{}
}

// Put takes a Coder back.
func (p *Pool) Put(c *Coder) {
	c.forget()
	p.coders.Put(c)
}
