// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"

	"gregor/config"
	"gregor/coordinator/group"
)

// allowsConsumerGroups says whether a broker is to have groups of the new protocol.
func allowsConsumerGroups(c *config.Node) bool {
	return slices.Contains(c.List(config.GroupCoordinatorRebalanceProtocols), string(group.Consumer))
}
