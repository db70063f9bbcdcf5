// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"testing"
)

// Client is one client of one language.
type Client struct {
	Name    string
	command []string
	env     []string
	// EmptyIsNull: the client sends a value of no bytes as no value.
	EmptyIsNull bool
	// LeavesSmall: the client does not compress a batch that gains nothing by it.
	LeavesSmall bool
}

// Header is a pair of a name and a value, which may be nil.
type Header struct {
	Name  string
	Value []byte
}

// MarshalJSON writes a header as the scripts take it.
func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

// UnmarshalJSON reads a header as the scripts write it.
func (h *Header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

// Record is a record as a client writes and reads it.
type Record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
}

// ProduceRequest is what to write.
type ProduceRequest struct {
	Bootstrap  string   `json:"bootstrap"`
	Topic      string   `json:"topic"`
	Codec      string   `json:"codec"`
	Idempotent bool     `json:"idempotent"`
	Records    []Record `json:"records"`
}

// ConsumeRequest is what to read: Count records from the beginning, or from an
// offset, or from a time in milliseconds.
type ConsumeRequest struct {
	Bootstrap  string  `json:"bootstrap"`
	Topic      string  `json:"topic"`
	Partitions []int32 `json:"partitions"`
	Offset     *int64  `json:"offset,omitempty"`
	Time       *int64  `json:"time,omitempty"`
	Count      int     `json:"count"`
	// Group is for clients that read only as a member of one.
	Group string `json:"group,omitempty"`
}

// GroupRequest is how to become a member.
type GroupRequest struct {
	Bootstrap        string   `json:"bootstrap"`
	Group            string   `json:"group"`
	Topics           []string `json:"topics"`
	Protocol         string   `json:"protocol"` // classic, cooperative (the classic one, with such an assignor) or consumer
	SessionTimeoutMs int      `json:"session_timeout_ms,omitempty"`
}

// Describe asks for the version and the codecs that the client can do here.
func (c *Client) Describe(t testing.TB) (version string, codecs []string) {
	t.Helper()
	s := c.start(t, "describe")
	line := s.Next(t)
	s.Wait(t)
	return line.Version, line.Codecs
}

// Produce writes records and returns the offsets that the client reports.
func (c *Client) Produce(t testing.TB, request ProduceRequest) []int64 {
	t.Helper()
	s := c.start(t, "produce")
	s.Send(t, request)
	line := s.Next(t)
	s.Wait(t)
	return line.Offsets
}

// Reader begins a session of reads.
func (c *Client) Reader(t testing.TB) *Session {
	t.Helper()
	return c.start(t, "consume")
}

// Administer begins a session of admin calls.
func (c *Client) Administer(t testing.TB, bootstrap string) *Session {
	t.Helper()
	s := c.start(t, "admin")
	s.Send(t, map[string]string{"bootstrap": bootstrap})
	return s
}

// Join makes a member of a group.
func (c *Client) Join(t testing.TB, request GroupRequest) *Session {
	t.Helper()
	s := c.start(t, "group")
	s.Send(t, request)
	return s
}
