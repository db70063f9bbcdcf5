// SPDX-License-Identifier: Apache-2.0

package image

import (
	"iter"
	"slices"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// Broker is the registration of a broker as it is now. The embedded record is
// what a checkpoint holds of it.
type Broker struct {
	metarec.RegisterBroker
}

// Active reports whether the broker may lead and be in sync: it is neither
// fenced nor about to stop.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

// Endpoint returns the broker's address on a listener.
func (b *Broker) Endpoint(listener string) (metarec.Endpoint, bool) {
	return endpoint(b.EndPoints, listener)
}

// HasDirectory reports whether the directory is online on the broker.
func (b *Broker) HasDirectory(id kafka.DirectoryID) bool {
	switch {
	case len(b.LogDirs) == 0 || id == kafka.DirectoryMigrating || id == kafka.DirectoryUnassigned:
		return true
	case id == kafka.DirectoryLost:
		return false
	}
	return slices.Contains(b.LogDirs, id)
}

// Supports returns the range of levels of a feature that the broker can do.
func (b *Broker) Supports(feature string) (metarec.FeatureRange, bool) {
	return supports(b.Features, feature)
}

// Controller is the registration of a controller.
type Controller struct {
	metarec.RegisterController
}

// Supports returns the range of levels of a feature that the controller can do.
func (c *Controller) Supports(feature string) (metarec.FeatureRange, bool) {
	return supports(c.Features, feature)
}

func endpoint(all []metarec.Endpoint, listener string) (metarec.Endpoint, bool) {
	for _, e := range all {
		if e.Name == listener {
			return e, true
		}
	}
	return metarec.Endpoint{}, false
}

func supports(all []metarec.FeatureRange, feature string) (metarec.FeatureRange, bool) {
	for _, f := range all {
		if f.Name == feature {
			return f, true
		}
	}
	return metarec.FeatureRange{}, false
}

// Broker returns the registration of a broker, nil if there is none.
func (i *Image) Broker(id kafka.NodeID) *Broker {
	b, _ := i.brokers.get(id)
	return b
}

// Brokers walks over the registered brokers by id, fenced ones too.
func (i *Image) Brokers() iter.Seq[*Broker] { return i.brokers.values() }

// BrokerCount is the number of registered brokers.
func (i *Image) BrokerCount() int { return i.brokers.len() }

// Controllers walks over the registered controllers by id.
func (i *Image) Controllers() iter.Seq[*Controller] { return i.controllers.values() }
