// SPDX-License-Identifier: Apache-2.0

package telemetry

var kafkaIDs = []struct {
	metrics    []string
	intervalMs int
	id         string
	want       int32
}{}
