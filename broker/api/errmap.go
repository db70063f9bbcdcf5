// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/storage/index"
	"gregor/storage/logdir"
	"gregor/storage/prodstate"
	"gregor/storage/segment"
	"gregor/wire/compress"
	"gregor/wire/frame"
)

// sentinels are the errors that carry no code of their own.
var sentinels = []struct {
	err  error
	code kafka.Code
}{
	{logdir.ErrOpen, kafka.KafkaStorageError},
	{segment.ErrClosed, kafka.KafkaStorageError},
	{index.ErrCorrupt, kafka.KafkaStorageError},
	{prodstate.ErrCorrupt, kafka.KafkaStorageError},
	{compress.ErrCodec, kafka.UnsupportedCompressionType},
	{compress.ErrCorrupt, kafka.CorruptMessage},
	{compress.ErrTooLarge, kafka.InvalidRecord},
	{context.DeadlineExceeded, kafka.RequestTimedOut},
	{context.Canceled, kafka.RequestTimedOut},
	{syscall.EIO, kafka.KafkaStorageError},
	{syscall.ENOSPC, kafka.KafkaStorageError},
	{syscall.EDQUOT, kafka.KafkaStorageError},
}

// codeOf is the one map from errors to what clients are told. Most errors
// carry their code (kafka.CodeOf). ok is false for an error that nobody
// expected here.
func codeOf(err error) (code kafka.Code, ok bool) {
	if code, ok = kafka.CodeOf(err); ok {
		return code, true
	}
	for i := range sentinels {
		if errors.Is(err, sentinels[i].err) {
			return sentinels[i].code, true
		}
	}
	var (
		malformed *frame.MalformedError
		path      *fs.PathError
	)
	switch {
	case errors.As(err, &malformed):
		return kafka.InvalidRequest, true
	case errors.As(err, &path):
		return kafka.KafkaStorageError, true
	}
	return kafka.UnknownServerError, false
}

// code is what the client of c is told of err. UNKNOWN_SERVER_ERROR is a bug of
// ours, and is logged and counted as one.
func (a *API) code(c *call.Call, err error) kafka.Code {
	code, ok := codeOf(err)
	if !ok {
		a.count.unknown.Add(1)
		a.d.Logger.Error("request failed for an unknown reason", "key", c.Key, "version", c.Version, "client", c.ClientID, "err", err)
	}
	return code
}

// message is the text that goes with a code; none where the code says it all.
func message(err error) string {
	if err == nil {
		return ""
	}
	if code, ok := err.(kafka.Code); ok { //nolint:errorlint // the bare code has no text of its own
		return code.String()
	}
	return kafka.Message(err.Error())
}
