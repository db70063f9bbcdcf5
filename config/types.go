// SPDX-License-Identifier: Apache-2.0

package config

// Type is a value's type as Kafka's ConfigDef knows it. The numbers are those
// of DescribeConfigs.
type Type int8

// The types.
const (
	// UnknownType is that of keys in no table.
	UnknownType Type = 0

	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8
	Password Type = 9
)

// String gives the name that Kafka's documentation uses.
func (t Type) String() string {
	switch t {
	case Boolean:
		return "boolean"
	case String:
		return "string"
	case Int:
		return "int"
	case Short:
		return "short"
	case Long:
		return "long"
	case Double:
		return "double"
	case List:
		return "list"
	case Class:
		return "class"
	case Password:
		return "password"
	}
	return "unknown"
}

// Effect says what setting a key does in this build.
type Effect int8

const (
	// NoEffect: the key is read and checked, and then nothing depends on it.
	// Setting it to anything but its default draws one warning.
	NoEffect Effect = iota
	// Works: the node does what the key says.
	Works
	// Refused: what the key asks for is not built, and going on without it
	// would cost security or durability. Setting it to anything but its default
	// stops the start.
	Refused
)

// String gives the word that docs/config.md uses.
func (e Effect) String() string {
	switch e {
	case Works:
		return "works"
	case Refused:
		return "refused"
	}
	return "no effect"
}

// Scope says how a key may be changed on a running cluster in Kafka.
type Scope int8

// The scopes. A cluster-wide key may also be set for one broker.
const (
	ReadOnly Scope = iota
	PerBroker
	ClusterWide
)

// String gives Kafka's word.
func (s Scope) String() string {
	switch s {
	case PerBroker:
		return "per-broker"
	case ClusterWide:
		return "cluster-wide"
	}
	return "read-only"
}

// Definition is one row of the table of keys.
type Definition struct {
	Name    string
	Type    Type
	Default string // its text; "" when Null
	Null    bool   // the key has no default: it is unset until it is set
	Check   Check  // nil: whatever parses is allowed
	Scope   Scope
	Effect  Effect
	Hidden  bool   // Kafka keeps the key out of its documentation
	Doc     string // what the key does, or why it is refused
}

// sensitive reports whether values of the key must not be shown.
func (d *Definition) sensitive() bool { return d.Type == Password }

// Kafka's own typed names of keys: a getter takes only keys of its type.
type (
	// BoolKey names a boolean.
	BoolKey string
	// IntKey names an int or short.
	IntKey string
	// LongKey names a long.
	LongKey string
	// TextKey names a string, class or password.
	TextKey string
	// ListKey names a list.
	ListKey string
)
