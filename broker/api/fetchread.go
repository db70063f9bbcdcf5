// SPDX-License-Identifier: Apache-2.0

package api

import (
	"gregor/base/kafka"
	"gregor/broker/fetchsession"
	"gregor/replica"
	"gregor/storage/commitlog"
	"gregor/wire/fetch"
)

// pass reads what is to be looked at, or everything for a full answer.
func (f *fetching) pass(bytesMax int) {
	f.left, f.patience = bytesMax, patience{}
	f.s.fetch.nodes = f.s.fetch.nodes[:0]
	f.clear()
	if f.full {
		f.session.All(func(p *fetchsession.Partition) bool { f.read(p); return true })
		return
	}
	f.session.Looking(func(p *fetchsession.Partition) bool {
		if f.left <= 0 && f.bytes > 0 {
			return false // its turn comes first next time
		}
		f.read(p)
		return true
	})
}

// read reads one partition and adds its answer to the results.
func (f *fetching) read(p *fetchsession.Partition) {
	p.Quiet = false
	got, err := f.readLog(p)
	r := fetched{part: p}
	switch {
	case err != nil:
		if p.Replica != nil {
			p.Replica.Traffic().FetchFailed()
		}
		f.failed(p, &r, err)
	default:
		t := &got.Tail
		r.header = fetch.PartitionHeader{Index: p.Partition, HighWatermark: t.HighWatermark, LastStableOffset: t.LastStable,
			LogStartOffset: t.LogStart, PreferredReadReplica: kafka.NoNode, HasAborted: f.bound == commitlog.ToLastStable}
		p.SeenBound = t.HighWatermark
		if f.bound == commitlog.ToLastStable {
			p.SeenBound = t.LastStable
		}
		for _, txn := range got.Aborted {
			r.header.Aborted = append(r.header.Aborted, fetch.AbortedTransaction{ProducerID: txn.ProducerID, FirstOffset: txn.FirstOffset})
		}
		if got.Diverging {
			r.header.HasDiverging = true
			r.header.Diverging = fetch.EpochEnd{Epoch: got.Divergence.Epoch, EndOffset: got.Divergence.End}
			f.urgent = true
		}
		r.file = got.File
		p.Quiet = r.file.LenBytes == 0 && !got.Diverging && p.FetchOffset >= p.SeenBound
		p.Replica.Traffic().Fetched()
		f.bytes += r.file.LenBytes
		f.left -= r.file.LenBytes
	}
	f.s.fetch.results = append(f.s.fetch.results, r)
}

// readLog finds the partition's replica and reads it.
func (f *fetching) readLog(p *fetchsession.Partition) (replica.Fetched, error) {
	if f.req.ReplicaID >= 0 {
		if !f.c.Conn.Listener.InterBroker {
			return replica.Fetched{}, kafka.TopicAuthorizationFailed
		}
		return replica.Fetched{}, kafka.NotLeaderForPartition // it is no replica of ours
	}
	if p.Replica != nil && p.Replica.Status().Role != replica.Gone {
		f.api.settle(p.Replica, &f.patience)
	} else if err := f.find(p); err != nil {
		return replica.Fetched{}, err
	}
	return p.Replica.Read(&p.Cursor, &replica.Fetch{
		Offset: p.FetchOffset, LeaderEpoch: p.LeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
		BytesMax: min(int(p.BytesMax), max(f.left, 0)), OneBatchAtLeast: f.bytes == 0,
		Bound: f.bound, LeaderOnly: f.c.Version < 11,
	})
}

// find looks the partition up by the metadata.
func (f *fetching) find(p *fetchsession.Partition) error {
	f.session.Unfound(p)
	img := f.api.image()
	topic, missing := img.Topic(p.Name), error(kafka.UnknownTopicOrPartition)
	if f.usesIDs() {
		topic, missing = img.TopicByID(p.ID), kafka.UnknownTopicID
	}
	if topic == nil {
		return missing
	}
	r, err := f.api.partition(topic, p.Partition, &f.patience)
	p.Replica, p.Cursor = r, commitlog.Cursor{}
	return err
}

// failed makes an error the answer for a partition.
func (f *fetching) failed(p *fetchsession.Partition, r *fetched, err error) {
	code := f.api.code(f.c, err)
	missing := code == kafka.UnknownTopicOrPartition || code == kafka.UnknownTopicID
	if missing {
		f.missing++
	} else {
		f.urgent = true
	}
	if code == kafka.KafkaStorageError && f.c.Version <= 5 {
		code = kafka.NotLeaderForPartition
	}
	r.header = fetch.Failed(p.Partition, code)
	// Where there is no partition, Kafka says that none is aborted; elsewhere, nothing.
	r.header.HasAborted = missing
	if f.c.Version < 16 || code != kafka.NotLeaderForPartition && code != kafka.FencedLeaderEpoch {
		return
	}
	id := p.ID
	node, epoch, at, known := f.api.leader(f.c.Conn.Listener.Name, id, p.Partition)
	r.header.HasCurrentLeader, r.header.CurrentLeader, r.header.CurrentEpoch = true, node, epoch
	if known && f.req.ReplicaID < 0 { // replicas know the brokers
		f.s.fetch.nodes = addEndpoint(f.s.fetch.nodes, at)
	}
}
