// SPDX-License-Identifier: Apache-2.0

// Package badinput makes requests that no client should send: for each API and
// version a request that is right, and from it, by what its fields are, all
// that a peer can do wrong in one place.
//
//	Sample ─► kmsg request ─┬─► one field set to what it should not be  ─┐
//	                        ├─► a length, count or tag of the bytes bent ├─► Cases
//	                        └─► bytes cut off or put behind              ─┘
//
// Each Case says what Kafka does with it: it ends the connection where the
// bytes are not a request, and answers where they are one. The messages of kmsg
// are walked by reflection, so an API that is new needs nothing here; where the
// bytes of a field stand is found by writing the message twice.
package badinput
