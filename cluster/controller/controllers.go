// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/cluster/image"
	"gregor/cluster/metarec"
)

// registerController: ControllerRegistration v0.
func registerController(img *image.Image, env *Env, req *kmsg.ControllerRegistrationRequest) Outcome {
	resp := req.ResponseKind().(*kmsg.ControllerRegistrationResponse)
	if img.MetadataVersion() < metadataVersion37IV0 {
		why := refuse(kafka.UnsupportedVersion, "The current MetadataVersion is too old to support controller registrations.")
		resp.ErrorCode, resp.ErrorMessage = why.wire(), why.message()
		return Outcome{Response: resp, Reason: why.text}
	}
	rec := &metarec.RegisterController{
		ControllerID: kafka.NodeID(req.ControllerID), IncarnationID: req.IncarnationID, ZkMigrationReady: req.ZkMigrationReady,
	}
	for _, l := range req.Listeners {
		rec.EndPoints = append(rec.EndPoints, metarec.Endpoint{Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: l.SecurityProtocol})
	}
	for _, f := range req.Features {
		rec.Features = append(rec.Features, metarec.FeatureRange{Name: f.Name, Min: f.MinSupportedVersion, Max: f.MaxSupportedVersion})
	}
	return Outcome{Records: []metarec.Record{rec}, Atomic: true, Response: resp}
}
