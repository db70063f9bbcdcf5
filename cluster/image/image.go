// SPDX-License-Identifier: Apache-2.0

// Package image holds the metadata of the cluster as it was at one offset of
// __cluster_metadata.
//
// An Image is immutable and may be read by any number of goroutines without a
// lock; what it hands out (slices and maps too) must not be changed. A Delta
// collects records on top of an image and makes the next one; it belongs to one
// goroutine. Both are pure: the same records give the same image everywhere, in
// the same order.
//
//	records ─► Delta.Replay ─► Delta.Apply ─► Image ─► Records ─► a checkpoint
//
// An image and its successor share all that did not change, so that a delta
// costs as much as what it changes, in a cluster of any size. Record kinds whose
// features are not built are kept all the same: Records loses nothing.
package image

import (
	"bytes"
	"cmp"
	"iter"
	"strings"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
)

// FeatureMetadataVersion is the feature that decides how records are written.
const FeatureMetadataVersion = "metadata.version"

// FeatureGroupVersion is the feature that brings groups of the new protocol (KIP-848).
const FeatureGroupVersion = "group.version"

// Image is the metadata at one offset.
//
// Invariant: byName and byID hold the same topics.
type Image struct {
	offset kafka.Offset
	epoch  kafka.LeaderEpoch

	features    tree[string, int16]
	brokers     tree[kafka.NodeID, *Broker]
	controllers tree[kafka.NodeID, *Controller]
	byName      tree[string, *Topic]
	byID        tree[kafka.TopicID, *Topic]
	partitions  int
	configs     tree[Resource, map[string]string]
	quotas      tree[string, *quota]
	producerIDs *metarec.ProducerIDs // nil: none taken yet
	acls        tree[kafka.UUID, *metarec.AccessControlEntry]
	scram       tree[scramKey, *metarec.UserScramCredential]
	tokens      tree[string, *metarec.DelegationToken]
	migration   *metarec.ZkMigration // nil: never migrated

	// transaction holds the records since a BeginTransaction whose end has
	// not come yet; they do not count.
	transaction   []metarec.Record
	inTransaction bool
}

// Empty returns the image before the first record.
func Empty() *Image {
	return &Image{
		offset:      kafka.NoOffset,
		epoch:       kafka.NoLeaderEpoch,
		features:    newTree[string, int16](strings.Compare),
		brokers:     newTree[kafka.NodeID, *Broker](cmp.Compare[kafka.NodeID]),
		controllers: newTree[kafka.NodeID, *Controller](cmp.Compare[kafka.NodeID]),
		byName:      newTree[string, *Topic](strings.Compare),
		byID:        newTree[kafka.TopicID, *Topic](compareTopicIDs),
		configs:     newTree[Resource, map[string]string](compareResources),
		quotas:      newTree[string, *quota](strings.Compare),
		acls:        newTree[kafka.UUID, *metarec.AccessControlEntry](compareUUIDs),
		scram:       newTree[scramKey, *metarec.UserScramCredential](compareScramKeys),
		tokens:      newTree[string, *metarec.DelegationToken](strings.Compare),
	}
}

func compareUUIDs(a, b kafka.UUID) int       { return bytes.Compare(a[:], b[:]) }
func compareTopicIDs(a, b kafka.TopicID) int { return bytes.Compare(a[:], b[:]) }

// Offset is that of the last record in the image, -1 in an empty one.
func (i *Image) Offset() kafka.Offset { return i.offset }

// Epoch is the leader epoch of the last record in the image.
func (i *Image) Epoch() kafka.LeaderEpoch { return i.epoch }

// InTransaction reports whether a metadata transaction has begun and not ended.
// Such an image does not hold the transaction's records and must not become a
// checkpoint; a new active controller ends the transaction with an
// AbortTransaction.
func (i *Image) InTransaction() bool { return i.inTransaction }

// FeatureLevel is the finalized level of a feature, 0 if it is not finalized.
func (i *Image) FeatureLevel(name string) int16 {
	level, _ := i.features.get(name)
	return level
}

// MetadataVersion is the finalized level of metadata.version, 0 in a cluster
// that is not bootstrapped yet.
func (i *Image) MetadataVersion() int16 { return i.FeatureLevel(FeatureMetadataVersion) }

// Features walks over the finalized features by name.
func (i *Image) Features() iter.Seq2[string, int16] { return i.features.all() }

// NextProducerID is the first producer id that no broker has taken.
func (i *Image) NextProducerID() kafka.ProducerID {
	if i.producerIDs == nil {
		return 0
	}
	return i.producerIDs.NextProducerID
}
