// SPDX-License-Identifier: Apache-2.0

package api

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
)

// ApiVersions, versions 0 to 5 (KIP-35, KIP-511, KIP-584, KIP-1242). The header
// of its response is never flexible, and an unknown version is answered in the
// layout of version 0, so that any client can go on.

// softwareName is what ClientSoftwareName and ClientSoftwareVersion must look like.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (a *API) handleApiVersions(c *call.Call) call.Outcome {
	req, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	r := req.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewPtrApiVersionsResponse()
	if code := a.checkClient(c, r); code != kafka.None {
		resp.ErrorCode = int16(code)
		return a.answer(c, resp)
	}
	for i := range a.rows {
		row := &a.rows[i]
		if row.roles&c.Conn.Listener.Role == 0 {
			continue
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = row.key, min(row.min, row.advertisedMin), row.max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	a.features(c.Version, resp)
	return a.answer(c, resp)
}

// answerUnknownVersion tells a client that is newer than we are what it may
// use: layout 0, error 35, and the range of ApiVersions alone.
func (a *API) answerUnknownVersion(c *call.Call) call.Outcome {
	row := a.row(keyApiVersions)
	c.Version = 0
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = int16(kafka.UnsupportedVersion)
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = row.key, row.min, row.max
	resp.ApiKeys = append(resp.ApiKeys, k)
	return a.answer(c, resp)
}

// checkClient judges what the client says of itself and of whom it looks for.
func (a *API) checkClient(c *call.Call, r *kmsg.ApiVersionsRequest) kafka.Code {
	if c.Version >= 3 {
		if !softwareName.MatchString(r.ClientSoftwareName) || !softwareName.MatchString(r.ClientSoftwareVersion) {
			return kafka.InvalidRequest
		}
		c.Conn.ClientSoftware.Name, c.Conn.ClientSoftware.Version = r.ClientSoftwareName, r.ClientSoftwareVersion
	}
	if c.Version >= 5 {
		// Who looks for a node names both, who looks for anyone neither.
		anyCluster, anyNode := r.ClusterID == nil, kafka.NodeID(r.NodeID) == kafka.NoNode
		switch {
		case anyCluster != anyNode:
			return kafka.InvalidRequest
		case !anyCluster && (*r.ClusterID != a.d.ClusterID || kafka.NodeID(r.NodeID) != a.d.NodeID):
			return kafka.RebootstrapRequired
		}
	}
	return kafka.None
}

// features tells what is built and what is finalized. Clients decide by it
// which protocols they use, so a level that an existing log holds is told no
// higher than what is built.
func (a *API) features(version int16, resp *kmsg.ApiVersionsResponse) {
	img := a.image()
	resp.FinalizedFeaturesEpoch = int64(img.Offset())
	for _, f := range a.d.Features {
		// KAFKA-17011: clients of versions 0 to 3 cannot take a minimum of 0.
		if f.Min > 0 || version >= 4 {
			s := kmsg.NewApiVersionsResponseSupportedFeature()
			s.Name, s.MinVersion, s.MaxVersion = f.Name, f.Min, f.Max
			resp.SupportedFeatures = append(resp.SupportedFeatures, s)
		}
		level := img.FeatureLevel(f.Name)
		if f.Name == featureKRaft && a.d.KRaftVersion != nil {
			level = a.d.KRaftVersion()
		}
		if level = min(level, f.Max); level > 0 {
			s := kmsg.NewApiVersionsResponseFinalizedFeature()
			s.Name, s.MinVersionLevel, s.MaxVersionLevel = f.Name, level, level
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, s)
		}
	}
}

// featureKRaft is finalized in the raft log itself, not by a record of the
// image.
const featureKRaft = "kraft.version"
