// SPDX-License-Identifier: Apache-2.0

package config

// InternalReplicationFactor gives the replicas of an internal topic, whose number
// key is. What was set by hand holds;
// otherwise a cluster of fewer than three nodes gets as many as it can have:
// Kafka would leave its internal topics uncreated there.
func (n *Node) InternalReplicationFactor(key IntKey, brokers, voters int) int16 {
	if _, set := n.IsSet(string(key)); set {
		return int16(n.Int(key))
	}
	return int16(min(3, max(1, brokers, voters)))
}
