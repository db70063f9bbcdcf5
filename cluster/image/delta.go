// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// errInconsistent is the error of a record that does not fit the metadata
// before it: the log or the checkpoint is damaged, or not a continuation of the
// image.
var errInconsistent = errors.New("record does not fit the metadata before it")

// Delta replays records on top of an image and knows what they changed.
//
// After Apply it still answers for all changes since its base, and may go on.
type Delta struct {
	base *Image
	next Image
	tok  *token

	topics  map[kafka.TopicID]*touched
	configs map[Resource]struct{}
	changed Kinds
	like    *Partition // the partition made last, whose slices others may share
}

// touched: a topic changed. parts is used only where it was there before and
// still is.
type touched struct {
	before *Topic
	parts  map[kafka.PartitionID]struct{}
}

// Kinds is a set of record kinds.
type Kinds uint16

// What may change besides topics and brokers.
const (
	KindFeatures Kinds = 1 << iota
	KindBrokers
	KindControllers
	KindTopics
	KindConfigs
	KindQuotas
	KindProducerIDs
	KindACLs
	KindScram
	KindTokens
)

// NewDelta starts from base.
func NewDelta(base *Image) *Delta {
	return &Delta{
		base: base, next: *base, tok: &token{},
		topics:  map[kafka.TopicID]*touched{},
		configs: map[Resource]struct{}{},
	}
}

// Changed tells which kinds of metadata changed.
func (d *Delta) Changed() Kinds { return d.changed }

// Has reports whether the kind is in the set.
func (k Kinds) Has(kind Kinds) bool { return k&kind != 0 }

// Apply makes the image that ends with the record at offset, of epoch.
func (d *Delta) Apply(offset kafka.Offset, epoch kafka.LeaderEpoch) *Image {
	d.next.offset, d.next.epoch = offset, epoch
	d.tok = &token{} // from here on the nodes are the image's
	made := d.next
	return &made
}

// Replay adds one record. After an error the delta must be dropped.
func (d *Delta) Replay(rec metarec.Record) error {
	if done, err := d.replayTransaction(rec); done || err != nil {
		return err
	}
	return d.replay(rec)
}

// replayTransaction holds back the records of a metadata transaction.
func (d *Delta) replayTransaction(rec metarec.Record) (done bool, err error) {
	n := &d.next
	switch rec.(type) {
	case *metarec.BeginTransaction:
		if n.inTransaction {
			return true, fmt.Errorf("%w: a metadata transaction begins within another", errInconsistent)
		}
		n.inTransaction, n.transaction = true, nil
	case *metarec.EndTransaction:
		if !n.inTransaction {
			return true, fmt.Errorf("%w: a metadata transaction ends without a beginning", errInconsistent)
		}
		held := n.transaction
		n.inTransaction, n.transaction = false, nil
		for _, rec := range held {
			if err := d.replay(rec); err != nil {
				return true, err
			}
		}
	case *metarec.AbortTransaction:
		if !n.inTransaction {
			return true, fmt.Errorf("%w: a metadata transaction is aborted without a beginning", errInconsistent)
		}
		n.inTransaction, n.transaction = false, nil
	default:
		if !n.inTransaction {
			return false, nil
		}
		// An earlier image may hold the same array: never append in place.
		n.transaction = append(slices.Clip(n.transaction), rec)
	}
	return true, nil
}

func (d *Delta) replay(rec metarec.Record) error {
	n := &d.next
	switch r := rec.(type) {
	case *metarec.Topic:
		return d.addTopic(r)
	case *metarec.Partition:
		return d.addPartition(r)
	case *metarec.PartitionChange:
		return d.changePartition(r)
	case *metarec.RemoveTopic:
		return d.removeTopic(r)
	case *metarec.ClearELR:
		return d.clearELR(r)
	case *metarec.RegisterBroker:
		d.putBroker(r.BrokerID, &Broker{*r})
	case *metarec.UnregisterBroker:
		return d.unregisterBroker(r)
	case *metarec.BrokerRegistrationChange:
		return d.changeBroker(r.BrokerID, r.BrokerEpoch, func(b *Broker) { amend(b, r) })
	case *metarec.FenceBroker:
		return d.changeBroker(r.BrokerID, r.BrokerEpoch, func(b *Broker) { b.Fenced = true })
	case *metarec.UnfenceBroker:
		return d.changeBroker(r.BrokerID, r.BrokerEpoch, func(b *Broker) { b.Fenced = false })
	case *metarec.RegisterController:
		d.changed |= KindControllers
		n.controllers.set(d.tok, r.ControllerID, &Controller{*r})
	case *metarec.UnregisterController:
		d.changed |= KindControllers
		n.controllers.delete(d.tok, r.ControllerID)
	case *metarec.FeatureLevel:
		d.setFeature(r)
	case *metarec.Config:
		d.setConfig(r)
	case *metarec.ProducerIDs:
		d.changed |= KindProducerIDs
		n.producerIDs = r
	case *metarec.NoOp:
	default:
		return d.replayOther(rec)
	}
	return nil
}

// replayOther holds the kinds that nothing in the cluster packages acts on.
func (d *Delta) replayOther(rec metarec.Record) error {
	n := &d.next
	switch r := rec.(type) {
	case *metarec.ClientQuota:
		d.changed |= KindQuotas
		n.setQuota(d.tok, r)
	case *metarec.AccessControlEntry:
		d.changed |= KindACLs
		n.acls.set(d.tok, r.ID, r)
	case *metarec.RemoveAccessControlEntry:
		d.changed |= KindACLs
		n.acls.delete(d.tok, r.ID)
	case *metarec.UserScramCredential:
		d.changed |= KindScram
		n.scram.set(d.tok, scramKey{r.Mechanism, r.Name}, r)
	case *metarec.RemoveUserScramCredential:
		d.changed |= KindScram
		n.scram.delete(d.tok, scramKey{r.Mechanism, r.Name})
	case *metarec.DelegationToken:
		d.changed |= KindTokens
		n.tokens.set(d.tok, r.TokenID, r)
	case *metarec.RemoveDelegationToken:
		d.changed |= KindTokens
		n.tokens.delete(d.tok, r.TokenID)
	case *metarec.ZkMigration:
		n.migration = r
	default:
		return fmt.Errorf("%w: %T is no record of the metadata", errInconsistent, rec)
	}
	return nil
}

func (d *Delta) setFeature(r *metarec.FeatureLevel) {
	d.changed |= KindFeatures
	if r.Level == 0 {
		d.next.features.delete(d.tok, r.Name)
		return
	}
	d.next.features.set(d.tok, r.Name, r.Level)
}

func (d *Delta) setConfig(r *metarec.Config) {
	res := Resource{ResourceType(r.ResourceType), r.ResourceName}
	d.touchConfig(res)
	if m := withConfig(d.next.Configs(res), r); len(m) != 0 {
		d.next.configs.set(d.tok, res, m)
		return
	}
	d.next.configs.delete(d.tok, res)
}

func (d *Delta) touchConfig(res Resource) {
	d.changed |= KindConfigs
	d.configs[res] = struct{}{}
}

func (i *Image) setQuota(tok *token, r *metarec.ClientQuota) {
	key := quotaKey(r.Entity)
	q := quota{entity: r.Entity}
	if old, ok := i.quotas.get(key); ok {
		q.values = maps.Clone(old.values)
	}
	if r.Remove {
		delete(q.values, r.Key)
	} else {
		if q.values == nil {
			q.values = map[string]float64{}
		}
		q.values[r.Key] = r.Value
	}
	if len(q.values) == 0 {
		i.quotas.delete(tok, key)
		return
	}
	i.quotas.set(tok, key, &q)
}

func sortedEntity(entity []metarec.QuotaEntity) []metarec.QuotaEntity {
	return slices.SortedFunc(slices.Values(entity), func(a, b metarec.QuotaEntity) int { return strings.Compare(a.Type, b.Type) })
}

// Configs walks over the resources whose configs changed. A deleted topic's are
// among them if it had some.
func (d *Delta) Configs() iter.Seq[Resource] {
	return slices.Values(slices.SortedFunc(maps.Keys(d.configs), compareResources))
}
