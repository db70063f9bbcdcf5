// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// registerBroker: BrokerRegistration v0–4. A new incarnation gets the offset of
// its registration as broker epoch and starts fenced; the incarnation that is
// registered amends its registration and keeps both.
func registerBroker(img *image.Image, env *Env, req *kmsg.BrokerRegistrationRequest) Outcome {
	v := view{img, env}
	resp := req.ResponseKind().(*kmsg.BrokerRegistrationResponse)
	if why := v.checkRegistration(req); why != nil {
		resp.ErrorCode, resp.BrokerEpoch = why.wire(), -1
		return Outcome{Response: resp, Reason: why.text}
	}
	id := kafka.NodeID(req.BrokerID)
	rec := &metarec.RegisterBroker{
		BrokerID: id, IncarnationID: req.IncarnationID, Rack: req.Rack, Fenced: true,
	}
	for _, l := range req.Listeners {
		rec.EndPoints = append(rec.EndPoints, metarec.Endpoint{Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: l.SecurityProtocol})
	}
	for _, f := range req.Features {
		rec.Features = append(rec.Features, metarec.FeatureRange{Name: f.Name, Min: f.MinSupportedVersion, Max: f.MaxSupportedVersion})
	}
	if img.MetadataVersion() >= metadataVersion37IV2 {
		rec.LogDirs = directories(req.LogDirs)
	}
	out := Outcome{Response: resp}
	existing := img.Broker(id)
	if existing != nil && existing.IncarnationID == rec.IncarnationID {
		rec.Fenced, rec.InControlledShutdown, rec.BrokerEpoch = existing.Fenced, existing.InControlledShutdown, existing.BrokerEpoch
		rec.CordonedLogDirs = existing.CordonedLogDirs
	} else {
		out.Records = v.succeed(id, existing, req)
		rec.BrokerEpoch = kafka.BrokerEpoch(env.NextOffset) + kafka.BrokerEpoch(len(out.Records))
		env.Sessions.register(id, rec.BrokerEpoch, true, env.Now)
	}
	out.Records = append(out.Records, rec)
	resp.BrokerEpoch = int64(rec.BrokerEpoch)
	return out
}

// lostCache reports whether the broker cannot have all that it had: it was
// registered, and the epoch in its clean-shutdown marker is not that of its
// last registration. Only with eligible leader replicas does that matter here;
// otherwise the ISR shrinks by itself.
func (v view) lostCache(existing *image.Broker, req *kmsg.BrokerRegistrationRequest) bool {
	if !v.elrEnabled() || req.GetVersion() < 3 {
		return false
	}
	return existing == nil || int64(existing.BrokerEpoch) != req.PreviousBrokerEpoch
}

// succeed gives the records that end what a former incarnation did. One that is
// not even fenced (it is known to be gone before its session ran out) leaves
// ISRs and leaderships first: a new incarnation may lack what the old one had
// not flushed, so it must not lead in the old epochs.
func (v view) succeed(id kafka.NodeID, existing *image.Broker, req *kmsg.BrokerRegistrationRequest) []metarec.Record {
	in := func(p *image.Partition) bool { return p.InSync(id) || slices.Contains(p.ELR(), id) }
	switch {
	case v.lostCache(existing, req):
		return v.moved(nil, in, liveness{kafka.NoNode, kafka.NoNode, id})
	case existing != nil && !existing.Fenced:
		return v.moved(nil, in, liveness{id, kafka.NoNode, kafka.NoNode})
	}
	return nil
}

func (v view) checkRegistration(req *kmsg.BrokerRegistrationRequest) *refusal {
	if req.ClusterID != v.env.Config.ClusterID {
		return refuse(kafka.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", v.env.Config.ClusterID, req.ClusterID)
	}
	if req.BrokerID < 0 {
		return refuse(kafka.InvalidRequest, "Broker ID %d is negative", req.BrokerID)
	}
	if b := v.img.Broker(kafka.NodeID(req.BrokerID)); b != nil && b.IncarnationID != req.IncarnationID &&
		v.env.Sessions.valid(b.BrokerID, b.BrokerEpoch, v.env.Now) {
		return refuse(kafka.DuplicateBrokerRegistration, "Another broker is registered with that broker id. If the broker "+
			"was recently restarted this should self-resolve once the heartbeat manager expires the broker's session.")
	}
	if req.IsMigratingZkBroker {
		return refuse(kafka.BrokerIDNotRegistered, "Controller does not support registering ZK brokers.")
	}
	if why := v.checkDirectories(req); why != nil {
		return why
	}
	if why := checkListeners(req.Listeners); why != nil {
		return why
	}
	return v.checkFeatures(req)
}

func (v view) checkDirectories(req *kmsg.BrokerRegistrationRequest) *refusal {
	if v.img.MetadataVersion() < metadataVersion37IV2 {
		return nil
	}
	dirs := directories(req.LogDirs)
	if len(dirs) == 0 {
		return refuse(kafka.InvalidRegistration, "No directories specified in request")
	}
	for i, d := range dirs {
		if reservedDirectory(d) {
			return refuse(kafka.InvalidRegistration, "Reserved directory ID in request")
		}
		if slices.Contains(dirs[:i], d) {
			return refuse(kafka.InvalidRegistration, "Duplicate directory ID in request")
		}
	}
	for b := range v.img.Brokers() {
		for _, d := range b.LogDirs {
			if b.BrokerID != kafka.NodeID(req.BrokerID) && slices.Contains(dirs, d) {
				return refuse(kafka.InvalidRegistration, "Broker %d is already registered with directory %v", b.BrokerID, d)
			}
		}
	}
	return nil
}

// reservedDirectory: Kafka keeps the first hundred ids.
func reservedDirectory(d kafka.DirectoryID) bool {
	return [15]byte(d[:15]) == [15]byte{} && d[15] < 100
}

func directories(ids [][16]byte) []kafka.DirectoryID {
	out := make([]kafka.DirectoryID, len(ids))
	for i, id := range ids {
		out[i] = kafka.DirectoryID(id)
	}
	return out
}

func checkListeners(listeners []kmsg.BrokerRegistrationRequestListener) *refusal {
	for i, l := range listeners {
		for _, before := range listeners[:i] {
			if before.Name == l.Name {
				return refuse(kafka.InvalidRegistration, "Listener %s is given twice", l.Name)
			}
		}
	}
	return nil
}

// checkFeatures: every finalized level must be one that the broker can do. Of a
// level that a log from elsewhere holds, no more counts than what is built: the
// cluster does not work by the rest.
func (v view) checkFeatures(req *kmsg.BrokerRegistrationRequest) *refusal {
	seen := map[string]bool{}
	for _, f := range req.Features {
		seen[f.Name] = true
		if f.Name == FeatureKRaftVersion {
			continue // raft's own affair
		}
		if level := v.countedLevel(f.Name); level != 0 && (level < f.MinSupportedVersion || level > f.MaxSupportedVersion) {
			return unsupportedLevel(f.Name, level, f.MinSupportedVersion, f.MaxSupportedVersion)
		}
	}
	if !seen[image.FeatureMetadataVersion] {
		return refuse(kafka.InvalidRegistration, "Request features do not contain '%s'", image.FeatureMetadataVersion)
	}
	for name := range v.img.Features() {
		if level := v.countedLevel(name); !seen[name] && level != 0 {
			return unsupportedLevel(name, level, 0, 0)
		}
	}
	return nil
}

func (v view) countedLevel(name string) int16 {
	for _, built := range v.env.Config.Features {
		if built.Name == name {
			return min(v.img.FeatureLevel(name), built.Max)
		}
	}
	return 0
}

func unsupportedLevel(name string, level, low, high int16) *refusal {
	return refuse(kafka.UnsupportedVersion, "Unable to register because the broker does not support finalized version %d of %s. "+
		"The broker wants a version between %d and %d, inclusive.", level, name, low, high)
}

// unregisterBroker: UnregisterBroker v0. The broker's replicas stay assigned.
func unregisterBroker(img *image.Image, env *Env, req *kmsg.UnregisterBrokerRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
	b := img.Broker(kafka.NodeID(req.BrokerID))
	if b == nil {
		text := fmt.Sprintf("Broker ID %d is not currently registered", req.BrokerID)
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.BrokerIDNotRegistered), &text
		return Outcome{Response: resp, Reason: text}
	}
	id := b.BrokerID
	in := func(p *image.Partition) bool { return p.InSync(id) || slices.Contains(p.ELR(), id) }
	recs := view{img, env}.moved(nil, in, liveness{id, kafka.NoNode, kafka.NoNode})
	env.Sessions.forget(id)
	return Outcome{
		Records:  append(recs, &metarec.UnregisterBroker{BrokerID: id, BrokerEpoch: b.BrokerEpoch}),
		Response: resp,
	}
}
