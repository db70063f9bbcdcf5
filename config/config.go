// SPDX-License-Identifier: Apache-2.0

// Package config knows every configuration key once: Kafka's 379 broker keys,
// its 38 topic keys and gregor's own, which start with "gregor.".
//
// A node's configuration is gathered from four places; the first that names a
// key wins:
//
//	--set key=value  >  KAFKA_KEY=value in the environment  >  file  >  default
//
// Load reads them, checks every value as Kafka would, and resolves what hangs
// together (roles, listeners, directories) into a Node, which never changes
// afterwards. Keys that brokers and topics may change while the cluster runs
// arrive as metadata: Resolve lays a topic's own values over the dynamic ones
// over the Node.
//
// Everything here is pure: the file is read by a function that the caller
// passes in, and nothing here starts, listens or logs. A Node and all that it
// returns may be shared by goroutines; returned slices must not be written to.
package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// Sources are the places a node's configuration comes from.
type Sources struct {
	// File is the path of a server.properties; "" for none.
	File string
	// Read reads File.
	Read func(path string) ([]byte, error)
	// Set holds "key=value" from the command line; a later one wins.
	Set []string
	// Environ holds "NAME=value" as os.Environ gives them.
	Environ []string
	// Hostname is the machine's own name: controller.quorum.bootstrap.servers
	// may call this node by it.
	Hostname string
}

// Warning is something the operator should know, though the node starts.
type Warning struct {
	Key     string
	Message string
}

// Node is the static configuration of one node. Its getters take the keys of
// keys.go; they panic for a key that is not in the table, which a test of this
// package rules out for those.
type Node struct {
	values map[string]setting // what was set; a missing key has its default

	// standalone: neither process.roles nor any controller.quorum.* key is set; the
	// node is broker, controller and only voter of its own cluster.
	standalone  bool
	listeners   []Listener // of the broker
	controllers []Listener
	advertised  []Listener // as configured; empty when they follow listeners
	interBroker string
	quorum      Quorum
	logDirs     []string
	perIP       map[netip.Addr]int // max.connections.per.ip.overrides
	base        *base              // of topics on this node
}

// setting is one key that was set.
type setting struct {
	text   string // as it was written, trimmed
	value  any    // parsed
	origin Origin
}

// Origin is where a value was set.
type Origin struct {
	Kind OriginKind
	// Where is what a person needs to find it: "server.properties:12",
	// "environment KAFKA_LOG_DIRS", "--set".
	Where string
}

// OriginKind orders the places: a higher one wins.
type OriginKind int8

// The places.
const (
	FromDefault OriginKind = iota
	FromFile
	FromEnvironment
	FromSet
)

// KeyError reports a key that stops the start.
type KeyError struct {
	Key     string
	Value   string // "" when the value is not to blame, or is secret
	Origin  Origin
	Problem string // what is wrong, and what is allowed
}

func (e *KeyError) Error() string {
	var b strings.Builder
	b.WriteString(e.Key)
	if e.Value != "" {
		fmt.Fprintf(&b, "=%s", e.Value)
	}
	if e.Origin.Where != "" {
		fmt.Fprintf(&b, " (%s)", e.Origin.Where)
	}
	b.WriteString(": ")
	b.WriteString(e.Problem)
	return b.String()
}

// get gives the parsed value of a key, or its default; nil is Kafka's null.
func (n *Node) get(key string) any {
	if s, ok := n.values[key]; ok {
		return s.value
	}
	d, ok := Lookup(key)
	if !ok {
		panic("config: no such key: " + key)
	}
	if d.Null {
		return nil
	}
	v, err := d.parse(d.Default)
	if err != nil {
		panic(fmt.Sprintf("config: default of %s: %v", key, err))
	}
	return v
}

// Bool gives a boolean key.
func (n *Node) Bool(k BoolKey) bool { v, _ := n.get(string(k)).(bool); return v }

// Int gives an int or short key; 0 when it is null.
func (n *Node) Int(k IntKey) int32 { v, _ := n.get(string(k)).(int64); return int32(v) }

// Long gives a long key; 0 when it is null.
func (n *Node) Long(k LongKey) int64 { v, _ := n.get(string(k)).(int64); return v }

// Text gives a string, class or password key; "" when it is null.
func (n *Node) Text(k TextKey) string { v, _ := n.get(string(k)).(string); return v }

// List gives a list key; nil when it is null or empty.
func (n *Node) List(k ListKey) []string { v, _ := n.get(string(k)).([]string); return v }

// IsSet reports whether a key was set by hand, and where.
func (n *Node) IsSet(key string) (Origin, bool) {
	s, ok := n.values[key]
	return s.origin, ok
}

// raw gives the text of a key that was set by hand.
func (n *Node) raw(key string) (string, bool) {
	s, ok := n.values[key]
	return s.text, ok
}
