// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"iter"
	"strconv"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// Levels of metadata.version at which something changes here.
const (
	metadataVersion36IV0 int16 = 12
	metadataVersion37IV0 int16 = 15 // controllers register
	metadataVersion37IV2 int16 = 17 // directories are assigned
	metadataVersion40IV1 int16 = 23 // eligible leader replicas
	metadataVersion43IV0 int16 = 30 // cordoned directories
)

// FeatureELR makes eligible leader replicas count (KIP-966).
const FeatureELR = "eligible.leader.replicas.version"

// Config keys that the controller itself acts on.
const (
	keyMinISR          = "min.insync.replicas"
	keyUncleanElection = "unclean.leader.election.enable"
)

// view is the state that one decision reads.
type view struct {
	img *image.Image
	env *Env
}

func (v view) elrEnabled() bool {
	return v.img.FeatureLevel(FeatureELR) >= 1 && v.img.MetadataVersion() >= metadataVersion40IV1
}

// topicConfig is the effective value of a topic's config.
func (v view) topicConfig(topic, key, fallback string) string {
	if v.env.TopicConfig != nil {
		if s := v.env.TopicConfig(v.img, topic, key); s != "" {
			return s
		}
	}
	for _, r := range []image.Resource{image.TopicResource(topic), image.ClusterResource} {
		if s, ok := v.img.Configs(r)[key]; ok {
			return s
		}
	}
	return fallback
}

// minISR is min.insync.replicas, at most the number of replicas.
func (v view) minISR(t *image.Topic) int {
	n, err := strconv.Atoi(v.topicConfig(t.Name, keyMinISR, strconv.Itoa(max(v.env.Config.MinInSyncReplicas, 1))))
	if err != nil {
		n = 1
	}
	if p := t.Partition(0); p != nil {
		n = min(n, len(p.Replicas))
	}
	return n
}

func (v view) electionFor(topic string) election {
	if v.topicConfig(topic, keyUncleanElection, strconv.FormatBool(v.env.Config.UncleanLeaderElectionEnable)) == "true" {
		return electUnclean
	}
	return electOnline
}

type partitionRef struct {
	topic *image.Topic
	id    kafka.PartitionID
	part  *image.Partition
}

// partitions walks over the partitions for which pick is true, by topic and id.
// It looks at all of them, which takes tens of milliseconds for a million: only
// for what happens as seldom as a broker's coming and going.
func (v view) partitions(pick func(*image.Partition) bool) iter.Seq[partitionRef] {
	return func(yield func(partitionRef) bool) {
		for t := range v.img.Topics() {
			for id, p := range t.Partitions() {
				if pick(p) && !yield(partitionRef{t, id, p}) {
					return
				}
			}
		}
	}
}

// checkBrokerEpoch fences requests of former incarnations.
func (v view) checkBrokerEpoch(id kafka.NodeID, epoch kafka.BrokerEpoch) *refusal {
	b := v.img.Broker(id)
	if b == nil {
		return refuse(kafka.StaleBrokerEpoch, "No broker registration found for broker id %d", id)
	}
	if b.BrokerEpoch != epoch {
		return refuse(kafka.StaleBrokerEpoch, "Expected broker epoch %d, but got broker epoch %d", b.BrokerEpoch, epoch)
	}
	return nil
}

// refusal is an error for the requester: a code and a text of Kafka's.
type refusal struct {
	code kafka.Code
	text string // "" sends none
}

func refuse(code kafka.Code, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// message is the text for a response, nil where there is none.
func (r *refusal) message() *string {
	if r == nil || r.text == "" {
		return nil
	}
	text := kafka.Message(r.text)
	return &text
}

func (r *refusal) wire() int16 {
	if r == nil {
		return 0
	}
	return int16(r.code)
}

func appendRecord(recs []metarec.Record, rec *metarec.PartitionChange) []metarec.Record {
	if rec == nil {
		return recs
	}
	return append(recs, rec)
}
