// SPDX-License-Identifier: Apache-2.0

// Package interop holds gregor against Apache Kafka itself: Kafka's tools read
// the files that gregor writes, Apache Kafka and gregor take turns on one
// directory, and the Java client and kcat are gregor's clients. Its tests need
// java, javac, mvn and kcat and carry the build tag interop; make interop runs
// them. The jars come through mvn into .cache, once.
//
// With INTEROP_ORACLE=1 Apache Kafka stands in gregor's place throughout: a
// test that fails then is wrong about Kafka.
package interop
