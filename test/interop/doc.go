// SPDX-License-Identifier: Apache-2.0

// Package interop holds gregor against Apache Kafka itself and against the
// clients of other languages: Kafka's tools read the files that gregor writes
// and administer a node, Apache Kafka and gregor take turns on one directory,
// and clients of Java, Python and Node, and kcat, read what each other wrote.
// Its tests carry the build tag interop; make interop runs them. Jars, Python
// packages and Node modules come through mvn, pip and npm into .cache, and
// again when the list that pins them changes. A test that lacks a program is
// skipped and says which; one that cannot fetch what it needs fails.
//
// With INTEROP_ORACLE=1 Apache Kafka stands in gregor's place throughout: a
// test that fails then is wrong about Kafka.
package interop
