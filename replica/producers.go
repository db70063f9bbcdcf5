// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"gregor/base/kafka"
	"gregor/storage/commitlog"
	"gregor/storage/prodstate"
)

// Producers lists the producers that the log remembers, by id. A follower
// answers too.
func (p *Partition) Producers() (list []prodstate.Producer, err error) {
	p.onLane(func() {
		var log *commitlog.Log
		if log, err = p.readable(kafka.NoLeaderEpoch, false); err == nil {
			list, err = log.Producers()
		}
	})
	return list, err
}
