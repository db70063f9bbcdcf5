// SPDX-License-Identifier: Apache-2.0

// Package prodstate is what a log knows of the idempotent and transactional
// producers that wrote to it.
package prodstate

import "gregor/base/kafka"

// Producer is one producer as DescribeProducers tells it.
type Producer struct {
	ID               kafka.ProducerID
	Epoch            kafka.ProducerEpoch
	LastSequence     int32
	LastTimestampMs  int64
	CoordinatorEpoch int32        // -1: no marker yet
	TxnStart         kafka.Offset // kafka.NoOffset: no transaction is open
}
