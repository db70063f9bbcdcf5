// SPDX-License-Identifier: Apache-2.0

package api

import "gregor/base/kafka"

// topicNameMax is the longest topic name: the folder of a partition must fit
// into a file name.
const topicNameMax = 249

// validTopicName reports whether a topic may have the name.
func validTopicName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > topicNameMax {
		return false
	}
	for _, b := range []byte(name) {
		ok := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '.' || b == '_' || b == '-'
		if !ok {
			return false
		}
	}
	return true
}

// isInternal reports whether a topic is the broker's own: clients may not
// produce to it.
func isInternal(name string) bool {
	switch name {
	case kafka.OffsetsTopic, kafka.TransactionsTopic, kafka.ShareStateTopic:
		return true
	}
	return false
}
