// SPDX-License-Identifier: Apache-2.0

// Package parity sends one list of requests, byte for byte the same, to Apache
// Kafka 4.4.0 and to gregor in both modes of produce validation, and compares
// the answers field by field, and what becomes of the connection.
//
//	list of requests ─┬─► Apache Kafka      ─┐
//	                  ├─► gregor (standard) ─┼─► flatten, name what is a broker's own ─► compare
//	                  └─► gregor (strict)   ─┘
//
// Ids, ports, session ids and times of a broker's own are replaced by names
// before they are compared. What may differ stands in allowed_test.go with its
// reason; a difference that is not there fails the test, and so does an entry
// that nothing needs any more. The tests carry the build tag parity and need
// java and mvn; make parity runs them.
package parity
