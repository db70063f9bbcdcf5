// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

func (d *Delta) putBroker(id kafka.NodeID, b *Broker) {
	d.changed |= KindBrokers
	d.next.brokers.set(d.tok, id, b)
}

func (d *Delta) unregisterBroker(r *metarec.UnregisterBroker) error {
	if _, err := d.brokerOf(r.BrokerID, r.BrokerEpoch); err != nil {
		return err
	}
	d.changed |= KindBrokers
	d.next.brokers.delete(d.tok, r.BrokerID)
	return nil
}

func (d *Delta) changeBroker(id kafka.NodeID, epoch kafka.BrokerEpoch, change func(*Broker)) error {
	b, err := d.brokerOf(id, epoch)
	if err != nil {
		return err
	}
	c := *b
	change(&c)
	d.putBroker(id, &c)
	return nil
}

func (d *Delta) brokerOf(id kafka.NodeID, epoch kafka.BrokerEpoch) (*Broker, error) {
	b := d.next.Broker(id)
	if b == nil {
		return nil, fmt.Errorf("%w: broker %d is not registered", errInconsistent, id)
	}
	if b.BrokerEpoch != epoch {
		return nil, fmt.Errorf("%w: broker %d has epoch %d, the record names %d", errInconsistent, id, b.BrokerEpoch, epoch)
	}
	return b, nil
}

func amend(b *Broker, r *metarec.BrokerRegistrationChange) {
	switch r.Fenced {
	case 1:
		b.Fenced = true
	case -1:
		b.Fenced = false
	}
	if r.InControlledShutdown == 1 {
		b.InControlledShutdown = true
	}
	if len(r.LogDirs) != 0 {
		b.LogDirs = r.LogDirs
	}
	if r.CordonedLogDirs != nil {
		b.CordonedLogDirs = r.CordonedLogDirs
	}
}
