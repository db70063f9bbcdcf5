// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"

	"gregor/base/kafka"
	"gregor/broker/call"
)

// code is the one map from errors to what clients are told. Most errors carry
// their code (kafka.CodeOf); UNKNOWN_SERVER_ERROR is a bug of ours, and is
// logged and counted as one.
func (a *API) code(c *call.Call, err error) kafka.Code {
	code, ok := kafka.CodeOf(err)
	if ok {
		return code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return kafka.RequestTimedOut
	}
	a.count.unknown.Add(1)
	a.d.Logger.Error("request failed for an unknown reason", "key", c.Key, "version", c.Version, "client", c.ClientID, "err", err)
	return kafka.UnknownServerError
}

// message is the text that goes with a code; none where the code says it all.
func message(err error) string {
	if err == nil {
		return ""
	}
	if code, ok := err.(kafka.Code); ok { //nolint:errorlint // the bare code has no text of its own
		return code.String()
	}
	return err.Error()
}
