// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// MetadataVersion44IV2 is metadata.version 4.4-IV2, at which new clusters start.
const MetadataVersion44IV2 int16 = 33

// Bootstrap gives the records of a new cluster: every feature at the highest
// level that is built, metadata.version first. As in Kafka a feature at level 0
// has no record, and kraft.version is a control record of the log.
func Bootstrap(built []metarec.FeatureRange) []metarec.Record {
	recs := []metarec.Record{&metarec.FeatureLevel{Name: image.FeatureMetadataVersion, Level: MetadataVersion44IV2}}
	for _, f := range built {
		if f.Name != image.FeatureMetadataVersion && f.Name != FeatureKRaftVersion && f.Max > 0 {
			recs = append(recs, &metarec.FeatureLevel{Name: f.Name, Level: f.Max})
		}
	}
	return recs
}

// FeatureKRaftVersion is finalized by the log of raft and not by a
// FeatureLevel.
const FeatureKRaftVersion = "kraft.version"

func updateFeatures(img *image.Image, env *Env, req *kmsg.UpdateFeaturesRequest) Outcome {
	return Outcome{}
}
