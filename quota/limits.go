// SPDX-License-Identifier: Apache-2.0

package quota

import "net/netip"

// Kind is what a quota limits.
type Kind uint8

// The kinds of quotas.
const (
	Produce    Kind = iota // bytes of Produce requests a second
	Fetch                  // bytes of Fetch responses a second
	Request                // time of handlers, in percent of one
	Mutation               // partitions created and deleted a second
	Connection             // connections of an address a second
	kinds
)

// ofClients are the kinds that a client's own requests are charged by.
const ofClients = Request + 1

// Kinds lists all kinds.
func Kinds() []Kind { return []Kind{Produce, Fetch, Request, Mutation, Connection} }

// String names the kind, for metrics.
func (k Kind) String() string {
	return [kinds]string{"produce", "fetch", "request", "controller-mutation", "connection"}[k]
}

// Key is Kafka's name of the limit.
func (k Kind) Key() string {
	return [kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"}[k]
}

// KindOf finds the kind of Kafka's key.
func KindOf(key string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.Key() == key {
			return k, true
		}
	}
	return 0, false
}

// Part is one part of an entity. The zero Part is not there.
type Part struct {
	named   bool
	Default bool
	Name    string
}

// Named is the part of that name.
func Named(name string) Part { return Part{named: true, Name: name} }

// Others is the part that stands for all names without an entity of their own.
var Others = Part{Default: true}

// PartOf is the part that a record's name stands for: no name stands for Others.
func PartOf(name *string) Part {
	if name == nil {
		return Others
	}
	return Named(*name)
}

// Entity is whom a limit is for: a user, a client id, or both.
type Entity struct{ User, ClientID Part }

// Limits are all limits of a cluster. They are built once and then read only.
type Limits struct {
	entities  map[Entity]*[kinds]float64 // 0: none
	addresses map[netip.Addr]float64
	others    float64 // of addresses without a limit of their own
}

// NewLimits has none.
func NewLimits() *Limits {
	return &Limits{entities: map[Entity]*[kinds]float64{}, addresses: map[netip.Addr]float64{}}
}

// Set adds the limit of an entity; one that is not above 0 is none.
func (l *Limits) Set(e Entity, k Kind, perSecond float64) {
	if l.entities[e] == nil {
		l.entities[e] = new([kinds]float64)
	}
	l.entities[e][k] = perSecond
}

// SetAddress adds the limit of an address.
func (l *Limits) SetAddress(a netip.Addr, perSecond float64) { l.addresses[a.Unmap()] = perSecond }

// SetAddresses sets the limit of all addresses without one of their own.
func (l *Limits) SetAddresses(perSecond float64) { l.others = perSecond }

// share is who is counted together under one limit.
type share struct {
	kind         Kind
	user, client Part
}

// Of gives the limit of a client and the entity that it is set for: the first
// that there is, in Kafka's order of precedence. It is 0 where there is none.
func (l *Limits) Of(k Kind, user, clientID string) (perSecond float64, from Entity) {
	if len(l.entities) == 0 {
		return 0, Entity{}
	}
	u, c := Named(user), Named(clientID)
	for _, e := range [...]Entity{
		{u, c}, {u, Others}, {u, Part{}},
		{Others, c}, {Others, Others}, {Others, Part{}},
		{Part{}, c}, {Part{}, Others},
	} {
		if found := l.entities[e]; found != nil && found[k] > 0 {
			return found[k], e
		}
	}
	return 0, Entity{}
}

// find is Of, with who is counted together: who is limited by user, with all
// client ids of that user, and the other way round; a default limits each name
// for itself.
func (l *Limits) find(k Kind, user, clientID string) (perSecond float64, by share) {
	perSecond, from := l.Of(k, user, clientID)
	if perSecond == 0 {
		return 0, share{}
	}
	by = share{kind: k}
	if from.User != (Part{}) {
		by.user = Named(user)
	}
	if from.ClientID != (Part{}) {
		by.client = Named(clientID)
	}
	return perSecond, by
}

// ofAddress gives the limit of an address, 0 for none.
func (l *Limits) ofAddress(a netip.Addr) float64 {
	if perSecond, ok := l.addresses[a]; ok {
		return perSecond
	}
	return l.others
}
