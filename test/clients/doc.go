// SPDX-License-Identifier: Apache-2.0

// Package clients holds no code of the product: its tests drive a whole node
// from outside with the Kafka clients that people use, unmodified. It is a
// module of its own so that the product's go.mod lists the product only
// (librdkafka needs cgo, the product does not).
//
// The tests start a node as a process: GREGOR_BIN names the binary, without
// it the tests build one. Two more ways exist so that a doubt about a test is
// settled by Apache Kafka itself: BOOTSTRAP=host:port runs everything that
// needs no node of its own against that broker, and KAFKA_LIBS=folder starts
// Apache Kafka from the jars in that folder wherever a node would be started.
package clients
