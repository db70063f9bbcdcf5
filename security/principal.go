// SPDX-License-Identifier: Apache-2.0

// Package security says who is asking. It holds only the principal, which the
// broker, its quotas and the controller share. A Principal is an immutable
// value.
package security

// Principal is who a connection speaks for, as Kafka's KafkaPrincipal.
type Principal struct {
	Type string // "User" for all that authentication yields
	Name string
}

// Anonymous is the principal of a connection that proved nothing.
var Anonymous = Principal{Type: "User", Name: "ANONYMOUS"}

// String gives Kafka's text form, Type:Name.
func (p Principal) String() string { return p.Type + ":" + p.Name }
