// SPDX-License-Identifier: Apache-2.0

package fetchsession

// list is an intrusive list of partitions; which of their links it uses is an
// argument.
type list struct{ head, tail *Partition }

func orderOf(p *Partition) *links { return &p.order }
func lookOf(p *Partition) *links  { return &p.look }

func (l *list) push(p *Partition, of func(*Partition) *links) {
	k := of(p)
	k.prev, k.next = l.tail, nil
	if l.tail == nil {
		l.head = p
	} else {
		of(l.tail).next = p
	}
	l.tail = p
}

func (l *list) remove(p *Partition, of func(*Partition) *links) {
	k := of(p)
	if k.prev == nil {
		l.head = k.next
	} else {
		of(k.prev).next = k.next
	}
	if k.next == nil {
		l.tail = k.prev
	} else {
		of(k.next).prev = k.prev
	}
	k.prev, k.next = nil, nil
}
