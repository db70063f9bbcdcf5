// SPDX-License-Identifier: Apache-2.0

package kafka

// Ids are text in JSON, as Kafka writes them everywhere else.

// MarshalText gives the id as String does.
func (u UUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalText gives the id as String does.
func (t TopicID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText gives the id as String does.
func (d DirectoryID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
