// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/binary"
	"hash/crc32"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gregor/base/kafka"
)

// allMetrics is the prefix that stands for all metrics.
const allMetrics = "*"

// Subscription asks the clients that match for metrics.
type Subscription struct {
	Metrics  []string // prefixes of names
	Interval time.Duration
	// Match has a pattern for each selector, which a client's value must match
	// whole; all clients match when it is empty.
	Match map[string]*regexp.Regexp
}

func (s *Subscription) matches(c Client, id kafka.UUID) bool {
	for selector, pattern := range s.Match {
		if value, ok := c.value(selector, id); !ok || !pattern.MatchString(value) {
			return false
		}
	}
	return true
}

// value is what a selector looks at.
func (c *Client) value(selector string, id kafka.UUID) (string, bool) {
	switch selector {
	case "client_instance_id":
		return id.String(), true
	case "client_id":
		return c.ID, true
	case "client_software_name":
		return c.Software.Name, true
	case "client_software_version":
		return c.Software.Version, true
	case "client_source_address":
		return c.Remote.Addr().Unmap().String(), c.Remote.IsValid()
	case "client_source_port":
		return strconv.Itoa(int(c.Remote.Port())), c.Remote.IsValid()
	}
	return "", false
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// subscriptionID tells sets of subscriptions apart, by Kafka's formula: a client
// that moves from one broker to another goes on pushing.
func subscriptionID(metrics []string, interval time.Duration, id kafka.UUID) int32 {
	text := "[" + strings.Join(metrics, ", ") + "]" + strconv.FormatInt(interval.Milliseconds(), 10)
	half := binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:])
	return int32(crc32.Checksum([]byte(text), castagnoli) ^ uint32(half>>32) ^ uint32(half))
}
