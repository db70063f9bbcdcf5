// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// standing is where a broker stands between start and stop.
//
//	fenced ──wants in, caught up──► unfenced ──wants to stop, leads──► shuttingDown
//	  ▲  └──────wants to stop──────► stopNow ◄──leads nothing more, all heard of it──┘
//	  └─────────wants out, or its session ran out──────── from any
type standing int8

const (
	fenced standing = iota
	unfenced
	shuttingDown // its leaderships are being moved
	stopNow
)

// heartbeat: BrokerHeartbeat v0–2.
func heartbeat(img *image.Image, env *Env, req *kmsg.BrokerHeartbeatRequest) Outcome {
	v := view{img, env}
	resp := req.ResponseKind().(*kmsg.BrokerHeartbeatResponse)
	id := kafka.NodeID(req.BrokerID)
	if why := v.checkBrokerEpoch(id, kafka.BrokerEpoch(req.BrokerEpoch)); why != nil {
		resp.ErrorCode = why.wire()
		return Outcome{Response: resp, Reason: why.text}
	}
	b := img.Broker(id)
	s := env.Sessions.of(b, env.Now)
	now := v.standing(b, s)
	next := v.next(now, b, s, req)

	var recs []metarec.Record
	if next != now {
		switch next {
		case fenced, stopNow:
			if !b.Fenced {
				recs = v.fence(recs, b)
			}
		case unfenced:
			recs = v.unfence(recs, b)
		case shuttingDown:
			recs = v.shutDown(recs, b)
		}
	}
	recs = v.offlineDirectories(recs, b, directories(req.OfflineLogDirs))
	recs = v.cordon(recs, b, req)

	s.lastContact, s.metadataOffset = env.Now, kafka.Offset(req.CurrentMetadataOffset)
	s.fenced = next == fenced || next == stopNow
	switch {
	case s.fenced:
		s.shutdownOffset = noShutdown
	case next == shuttingDown && s.shutdownOffset == noShutdown:
		s.shutdownOffset = env.NextOffset + kafka.Offset(len(recs)) - 1
	}
	resp.IsCaughtUp = req.CurrentMetadataOffset >= int64(b.BrokerEpoch)
	resp.IsFenced = s.fenced
	resp.ShouldShutdown = next == stopNow
	return Outcome{Records: recs, Response: resp}
}

func (v view) standing(b *image.Broker, s *session) standing {
	switch {
	case s.shutdownOffset != noShutdown:
		return shuttingDown
	case b.Fenced:
		return fenced
	}
	return unfenced
}

func (v view) next(now standing, b *image.Broker, s *session, req *kmsg.BrokerHeartbeatRequest) standing {
	switch now {
	case fenced:
		switch {
		case req.WantShutdown:
			return stopNow
		case b.InControlledShutdown: // was told to stop: only its next incarnation comes back
		case !req.WantFence && req.CurrentMetadataOffset >= int64(b.BrokerEpoch):
			return unfenced
		}
		return fenced
	case unfenced:
		switch {
		case req.WantFence && req.WantShutdown:
			return stopNow
		case req.WantFence:
			return fenced
		case req.WantShutdown && v.leadsAny(b.BrokerID):
			return shuttingDown
		case req.WantShutdown:
			return stopNow
		}
		return unfenced
	}
	// Shutting down: done when it leads nothing more and every active broker
	// has read that it does not.
	if v.leadsAny(b.BrokerID) || s.shutdownOffset > v.env.Sessions.lowestActiveOffset() {
		return shuttingDown
	}
	return stopNow
}

func (v view) leadsAny(id kafka.NodeID) bool {
	for range v.partitions(func(p *image.Partition) bool { return p.Leader == id }) {
		return true
	}
	return false
}

// shutDown moves what the broker leads and takes it out of the ISRs.
func (v view) shutDown(recs []metarec.Record, b *image.Broker) []metarec.Record {
	id := b.BrokerID
	if !b.InControlledShutdown {
		recs = append(recs, &metarec.BrokerRegistrationChange{BrokerID: id, BrokerEpoch: b.BrokerEpoch, InControlledShutdown: 1})
	}
	return v.moved(recs, func(p *image.Partition) bool { return p.InSync(id) }, liveness{id, kafka.NoNode, kafka.NoNode})
}

// offlineDirectories takes the replicas of failed directories out of the ISRs.
func (v view) offlineDirectories(recs []metarec.Record, b *image.Broker, offline []kafka.DirectoryID) []metarec.Record {
	if v.img.MetadataVersion() < metadataVersion37IV2 {
		return recs
	}
	var lost, left []kafka.DirectoryID
	for _, d := range b.LogDirs {
		if slices.Contains(offline, d) {
			lost = append(lost, d)
		} else {
			left = append(left, d)
		}
	}
	// A broker without any directory stops by itself; a record without
	// directories would mean "no change".
	if len(lost) == 0 || len(left) == 0 {
		return recs
	}
	id := b.BrokerID
	on := func(p *image.Partition) bool { return p.InSync(id) && slices.Contains(lost, p.DirectoryOf(id)) }
	recs = v.moved(recs, on, liveness{id, kafka.NoNode, kafka.NoNode})
	return append(recs, &metarec.BrokerRegistrationChange{BrokerID: id, BrokerEpoch: b.BrokerEpoch, LogDirs: left})
}

// cordon notes which directories take no new partitions (v2).
func (v view) cordon(recs []metarec.Record, b *image.Broker, req *kmsg.BrokerHeartbeatRequest) []metarec.Record {
	if v.img.MetadataVersion() < metadataVersion43IV0 || req.GetVersion() < 2 || req.CordonedLogDirs == nil {
		return recs
	}
	dirs := directories(req.CordonedLogDirs)
	if b.CordonedLogDirs != nil && slices.Equal(dirs, b.CordonedLogDirs) {
		return recs
	}
	return append(recs, &metarec.BrokerRegistrationChange{BrokerID: b.BrokerID, BrokerEpoch: b.BrokerEpoch, CordonedLogDirs: dirs})
}
