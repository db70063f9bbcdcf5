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

// MetadataVersion44IV2 is metadata.version 4.4-IV2, at which new clusters start.
const MetadataVersion44IV2 int16 = 33

// FeatureKRaftVersion is finalized by the log of raft and not by a
// FeatureLevel.
const FeatureKRaftVersion = "kraft.version"

const kraftVersionMax int16 = 1

// featureNames are the features of Kafka 4.4. One that is not built can still be
// switched off, in a log from elsewhere.
var featureNames = [...]string{
	image.FeatureMetadataVersion, FeatureKRaftVersion, FeatureELR,
	"group.version", "share.version", "streams.version", "transaction.version",
}

// formatChanges are the levels of metadata.version that brought records or
// fields which older ones lack: going back below one would lose them.
var formatChanges = [...]int16{7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33}

// Bootstrap gives the records of a new cluster: every feature at the highest
// level that is built, metadata.version first. As in Kafka a feature at level 0
// has no record, and kraft.version is a control record of the log.
func Bootstrap(cfg *Config) []metarec.Record {
	recs := []metarec.Record{&metarec.FeatureLevel{Name: image.FeatureMetadataVersion, Level: MetadataVersion44IV2}}
	for _, f := range cfg.Features {
		if f.Name == image.FeatureMetadataVersion || f.Name == FeatureKRaftVersion || f.Max <= 0 {
			continue
		}
		recs = append(recs, &metarec.FeatureLevel{Name: f.Name, Level: f.Max})
		if f.Name == FeatureELR {
			recs = append(recs, clusterMinISR(cfg))
		}
	}
	return recs
}

// Upgrade types of UpdateFeatures.
const (
	upgradeOnly     int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

// updateFeatures: UpdateFeatures v0–2. All updates count, or none. As in Kafka
// AllowDowngrade of version 0 is not looked at, and of a feature that is named
// twice the last mention counts.
func updateFeatures(img *image.Image, env *Env, req *kmsg.UpdateFeaturesRequest) Outcome {
	v := view{img, env}
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	out := Outcome{Response: resp, Atomic: true}
	last := make(map[string]int, len(req.FeatureUpdates))
	for i := range req.FeatureUpdates {
		last[req.FeatureUpdates[i].Feature] = i
	}
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		if req.GetVersion() <= 1 {
			r := kmsg.NewUpdateFeaturesResponseResult()
			r.Feature, r.ErrorMessage = u.Feature, kmsg.StringPtr(kafka.None.String())
			resp.Results = append(resp.Results, r)
		}
		if last[u.Feature] != i {
			continue
		}
		how := u.UpgradeType
		if req.GetVersion() == 0 {
			how = upgradeOnly
		}
		recs, why := v.updateFeature(u.Feature, u.MaxVersionLevel, how)
		if why != nil {
			text := kafka.Message("The update failed for all features since the following feature had an error: " + why.text)
			resp.ErrorCode, resp.ErrorMessage, resp.Results = why.wire(), &text, nil
			return Outcome{Response: resp, Reason: text}
		}
		out.Records = append(out.Records, recs...)
	}
	if req.ValidateOnly {
		out.Records = nil
	}
	return out
}

func (v view) updateFeature(name string, level int16, how int8) ([]metarec.Record, *refusal) {
	invalid := func(format string, args ...any) ([]metarec.Record, *refusal) {
		return nil, refuse(kafka.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s", level, name, fmt.Sprintf(format, args...))
	}
	current := v.img.FeatureLevel(name)
	if name == FeatureKRaftVersion {
		current = kraftVersionMax // clusters of this program start at its highest level
	}
	switch {
	case how < upgradeOnly || how > unsafeDowngrade:
		return invalid("The controller does not support the given upgrade type.")
	case level < 0:
		return invalid("A feature version cannot be less than 0.")
	}
	if text := v.unsupported(name, level); text != "" {
		return invalid("%s", text)
	}
	switch {
	case level < current && how == upgradeOnly:
		return invalid("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case level > current && how != upgradeOnly:
		return invalid("Can't downgrade to a newer version.")
	case !slices.Contains(featureNames[:], name):
		return invalid("Feature %s not found.", name)
	case level == current:
		return nil, nil
	case name == FeatureKRaftVersion:
		return invalid("Can't downgrade the version of this feature.")
	case name == image.FeatureMetadataVersion && level < current:
		if text := losesMetadata(current, level, how); text != "" {
			return nil, refuse(kafka.InvalidUpdateVersion, "Unsupported metadata.version downgrade from %d to %d. %s", current, level, text)
		}
	}
	recs := []metarec.Record{&metarec.FeatureLevel{Name: name, Level: level}}
	if name == FeatureELR && current == 0 && level > 0 {
		recs = append(v.fixMinISR(), recs...)
	}
	return recs, nil
}

// unsupported says why a level cannot be had, "" if it can. Level 0 of anything
// but metadata.version always can: it switches the feature off.
func (v view) unsupported(name string, level int16) string {
	switch {
	case name == FeatureKRaftVersion: // raft's own, whatever else is built
		if level > kraftVersionMax {
			return fmt.Sprintf("Local controller %s only supports versions 0-%d", v.nodeName(), kraftVersionMax)
		}
		return ""
	case level == 0 && name != image.FeatureMetadataVersion:
		return ""
	}
	i := slices.IndexFunc(v.env.Config.Features, func(f metarec.FeatureRange) bool { return f.Name == name })
	if i < 0 {
		return fmt.Sprintf("Local controller %s does not support this feature.", v.nodeName())
	}
	if built := v.env.Config.Features[i]; level < built.Min || level > built.Max {
		return fmt.Sprintf("Local controller %s only supports versions %d-%d", v.nodeName(), built.Min, built.Max)
	}
	for b := range v.img.Brokers() {
		if text := excluded(b.Supports, name, level); text != "" {
			return fmt.Sprintf("Broker %d %s", b.BrokerID, text)
		}
	}
	for c := range v.img.Controllers() {
		if text := excluded(c.Supports, name, level); text != "" {
			return fmt.Sprintf("Controller %d %s", c.ControllerID, text)
		}
	}
	return ""
}

func (v view) nodeName() string { return fmt.Sprint(v.env.Config.NodeID) }

func excluded(supports func(string) (metarec.FeatureRange, bool), name string, level int16) string {
	r, ok := supports(name)
	switch {
	case !ok:
		return "does not support this feature."
	case level < r.Min || level > r.Max:
		return fmt.Sprintf("only supports versions %d-%d", r.Min, r.Max)
	}
	return ""
}

func losesMetadata(from, to int16, how int8) string {
	for _, level := range formatChanges {
		if to < level && level <= from {
			if how == unsafeDowngrade {
				return "Unsafe metadata downgrade is not supported in this version."
			}
			return "Refusing to perform the requested downgrade because it might delete metadata information."
		}
	}
	return ""
}

// fixMinISR makes min.insync.replicas the same for all brokers, as eligible
// leader replicas need it: the cluster gets a value unless it has one, and the
// brokers' own values go.
func (v view) fixMinISR() []metarec.Record {
	var recs []metarec.Record
	if _, ok := v.img.Configs(image.ClusterResource)[keyMinISR]; !ok {
		recs = append(recs, clusterMinISR(v.env.Config))
	}
	for r, values := range v.img.ConfiguredResources() {
		if _, ok := values[keyMinISR]; ok && r.Type == image.ResourceBroker && r != image.ClusterResource {
			recs = append(recs, &metarec.Config{ResourceType: int8(r.Type), ResourceName: r.Name, Name: keyMinISR})
		}
	}
	return recs
}

func clusterMinISR(cfg *Config) *metarec.Config {
	value := fmt.Sprint(max(cfg.MinInSyncReplicas, 1))
	return &metarec.Config{ResourceType: int8(image.ResourceBroker), Name: keyMinISR, Value: &value}
}
