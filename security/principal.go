// SPDX-License-Identifier: Apache-2.0

// Package security is the root of what gregor knows about who is asking. Here
// stands only the principal, the value that the packages below it (TLS, SASL,
// ACLs) and the broker share. A Principal is an immutable value.
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
