// SPDX-License-Identifier: Apache-2.0

package frame

import "encoding/binary"

// SizeBytes is the length of the prefix that says how long a frame is.
const SizeBytes = 4

// Size reads the prefix of a frame.
func Size(prefix []byte) int32 { return int32(binary.BigEndian.Uint32(prefix)) }

// RequestHeader is what every request begins with.
type RequestHeader struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      []byte // aliases the frame; nil is null
}

// Peek reads the part of a request header that is the same in all versions.
// It tells which API the request is for, and by that whether its header is
// flexible.
func Peek(payload []byte) (RequestHeader, error) {
	r := NewReader(payload)
	h := RequestHeader{Key: r.Int16(), Version: r.Int16(), CorrelationID: r.Int32()}
	return h, r.Err()
}

// ParseRequest reads a request's header; body is what follows it. The client
// id has a two byte length in flexible versions too, so that a broker can read
// the header of an ApiVersions that is newer than itself.
func ParseRequest(payload []byte, flexible bool) (h RequestHeader, body []byte, err error) {
	r := NewReader(payload)
	h = RequestHeader{Key: r.Int16(), Version: r.Int16(), CorrelationID: r.Int32(), ClientID: r.NullableString()}
	if flexible {
		r.SkipTags()
	}
	if err := r.Err(); err != nil {
		return h, nil, err
	}
	return h, r.Rest(), nil
}

// RequestHeader appends a request's header.
func (a *Appender) RequestHeader(h RequestHeader, flexible bool) {
	a.Int16(h.Key)
	a.Int16(h.Version)
	a.Int32(h.CorrelationID)
	a.StringBytes(h.ClientID)
	if flexible {
		a.NoTags()
	}
}

// ResponseHeader appends a response's header. ApiVersions answers with a
// header that is not flexible in all versions.
func (a *Appender) ResponseHeader(correlationID int32, flexible bool) {
	a.Int32(correlationID)
	if flexible {
		a.NoTags()
	}
}

// ParseResponse reads a response's header; body is what follows it.
func ParseResponse(payload []byte, flexible bool) (correlationID int32, body []byte, err error) {
	r := NewReader(payload)
	correlationID = r.Int32()
	if flexible {
		r.SkipTags()
	}
	if err := r.Err(); err != nil {
		return 0, nil, err
	}
	return correlationID, r.Rest(), nil
}
