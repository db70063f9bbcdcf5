// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"gregor/base/kafka"
)

// InvalidBrokerError says why a dynamic configuration of brokers is refused. It
// carries kafka.InvalidRequest, as Kafka's does, and its text is what the client
// is told.
type InvalidBrokerError struct{ Message string }

func (e *InvalidBrokerError) Error() string { return e.Message }

// Unwrap lets kafka.CodeOf find the code.
func (e *InvalidBrokerError) Unwrap() error { return kafka.InvalidRequest }

func invalidBroker(format string, args ...any) error {
	return &InvalidBrokerError{fmt.Sprintf(format, args...)}
}

// perListener are the keys of Kafka's SSL stores: a running broker takes them
// only for one listener.
var perListener = []string{
	"ssl.key.password", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.keystore.location", "ssl.keystore.password", "ssl.keystore.type",
	"ssl.truststore.certificates", "ssl.truststore.location", "ssl.truststore.password", "ssl.truststore.type",
}

// clusterWideOfListener are the keys that all brokers may share for a listener
// of a name.
var clusterWideOfListener = []string{"max.connections", "max.connection.creation.rate", "num.network.threads"}

// startOnly are keys that Kafka changes on a running broker, and this build only
// with a start.
var startOnly = []string{"listeners", "listener.security.protocol.map"}

// ValidateBroker judges all that would be set dynamically for one broker, or
// for all of them if one is false, as (Incremental)AlterConfigs does. The error
// is an *InvalidBrokerError with Kafka's text. Kafka takes keys that it does not
// know, since plugins may; so do we, except for those that start like our own.
func ValidateBroker(values map[string]string, one bool, static *Node) error {
	var fixed, secure, single []string
	for _, name := range keysOf(values) {
		d, ok := Lookup(name)
		if ok && d.Scope == ReadOnly {
			fixed = append(fixed, name)
		}
		if slices.Contains(perListener, name) {
			secure = append(secure, name)
		}
		base, prefixed := ofListener(name)
		if ok && d.Scope == PerBroker || prefixed && !slices.Contains(clusterWideOfListener, base) {
			single = append(single, name)
		}
	}
	if len(fixed) > 0 {
		return invalidBroker("Cannot update these configs dynamically: [%s]", strings.Join(fixed, ", "))
	}
	if len(secure) > 0 {
		return invalidBroker("These security configs can be dynamically updated only per-listener using the listener prefix: [%s]", strings.Join(secure, ", "))
	}
	for _, name := range keysOf(values) {
		if err := validateDynamic(name, values[name]); err != nil {
			return err
		}
	}
	if !one && len(single) > 0 {
		return invalidBroker("Cannot update these configs at default cluster level, broker id must be specified: [%s]", strings.Join(single, ", "))
	}
	for _, name := range startOnly {
		if text, ok := values[name]; ok && !isInForce(static, name, text) {
			return invalidBroker("%s changes with a restart only: set it in the configuration of the broker", name)
		}
	}
	return checkDynamic(values, static)
}

// validateDynamic judges one value on its own.
func validateDynamic(name, text string) error {
	d, ok := lookupDynamic(name)
	if !ok {
		if strings.HasPrefix(name, "gregor.") {
			near := nearest(name)
			if near == "" {
				return invalidBroker("%s: no such key", name)
			}
			return invalidBroker("%s: no such key; did you mean %s?", name, near)
		}
		return nil
	}
	v, err := d.parse(text)
	if err != nil {
		return invalidBroker("%v", err)
	}
	if isDefault := !d.Null && format(v) == d.Default; d.Effect == Refused && !isDefault && strings.TrimSpace(text) != "" {
		return invalidBroker("%s: %s", name, d.Doc)
	}
	return nil
}

func isInForce(static *Node, name, text string) bool {
	d, _ := Lookup(name)
	v, err := d.parse(text)
	return err == nil && format(v) == format(static.get(name))
}

// checkDynamic holds the rules over what the keys say.
func checkDynamic(values map[string]string, static *Node) error {
	r := resolver{layers(nil, values, nil), static}
	long := func(name string) (int64, bool) {
		if _, ok := values[name]; !ok {
			return 0, false
		}
		v, ok := r.broker(name, mustLookup(name)).(int64)
		return v, ok
	}
	if v, ok := long("log.roll.ms"); ok && v < 1 {
		return invalidBroker("requirement failed: log.roll.ms must be greater than or equal to 1")
	}
	if v, ok := long("log.roll.jitter.ms"); ok && v < 0 {
		return invalidBroker("requirement failed: log.roll.jitter.ms must be greater than or equal to 0")
	}
	if text, ok := values["cordoned.log.dirs"]; ok {
		all, _ := mustLookup("cordoned.log.dirs").parse(text)
		cordoned, _ := all.([]string)
		missing := slices.DeleteFunc(slices.Clone(cordoned), func(d string) bool { return slices.Contains(static.LogDirs(), d) })
		if len(missing) > 0 {
			return invalidBroker("requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : %s",
				strings.Join(missing, ", "))
		}
	}
	overrides, err := parseOverrides(r.text(string(MaxConnectionsPerIPOverrides)))
	if err != nil {
		return invalidBroker("Error parsing configuration property '%s': %v", MaxConnectionsPerIPOverrides, err)
	}
	if v, ok := long(string(MaxConnectionsPerIP)); ok && v == 0 && len(overrides) == 0 {
		return invalidBroker("requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.")
	}
	return checkGroupsDynamic(values, &r, static)
}

func mustLookup(key string) *Definition {
	d, ok := Lookup(key)
	if !ok {
		panic("config: no such key: " + key)
	}
	return d
}

func (r *resolver) text(name string) string {
	v, _ := r.broker(name, mustLookup(name)).(string)
	return v
}

func (r *resolver) long(name string) int64 {
	v, _ := r.broker(name, mustLookup(name)).(int64)
	return v
}

// Live is what a running broker obeys beside its topics' rules.
type Live struct {
	ConnectionsMax         int
	ConnectionCreationRate int // a second
	ConnectionsPerIPMax    int
	ConnectionsPerIP       map[netip.Addr]int
	SegmentDeleteDelayMs   int64
	ProducerIDExpirationMs int64
}

// ResolveLive gives what holds for a broker, as Resolve does for a topic.
func ResolveLive(clusterDynamic, brokerDynamic map[string]string, static *Node) Live {
	r := resolver{layers(nil, clusterDynamic, brokerDynamic), static}
	overrides, err := parseOverrides(r.text(string(MaxConnectionsPerIPOverrides)))
	if err != nil {
		overrides = static.perIP
	}
	return Live{
		ConnectionsMax:         int(r.long(string(MaxConnections))),
		ConnectionCreationRate: int(r.long(string(MaxConnectionCreationRate))),
		ConnectionsPerIPMax:    int(r.long(string(MaxConnectionsPerIP))),
		ConnectionsPerIP:       overrides,
		SegmentDeleteDelayMs:   r.long(string(LogSegmentDeleteDelayMs)),
		ProducerIDExpirationMs: r.long(string(ProducerIDExpirationMs)),
	}
}

// IsListKey reports whether APPEND and SUBTRACT may change a key of a topic, or
// of a broker, and what they start from where the key is not set: its static
// value or its default.
func IsListKey(topic bool, name string, static *Node) (base string, ok bool) {
	if !topic {
		d, known := lookupDynamic(name)
		if !known || d.Type != List {
			return "", false
		}
		if _, prefixed := ofListener(name); prefixed {
			return "", true
		}
		return format(static.get(name)), true
	}
	d, known := LookupTopic(name)
	if !known || d.Type != List {
		return "", false
	}
	r := resolver{nil, static}
	if f := r.find(d); len(f) > 0 {
		base = format(f[0].value)
	}
	return base, true
}

// Idle lists what is set to something but its default and has no effect in this
// build, with the reason.
func Idle(topic bool, values map[string]string) []Warning {
	var out []Warning
	for _, name := range slices.Sorted(maps.Keys(values)) {
		lookup := lookupDynamic
		if topic {
			lookup = LookupTopic
		}
		d, ok := lookup(name)
		switch {
		case !ok:
			why := "no such key"
			if topic {
				break
			}
			if hint, old := gone[name]; old {
				why = hint
			} else if near := nearest(name); near != "" {
				why += "; did you mean " + near + "?"
			}
			out = append(out, Warning{name, why})
		case d.Name != name:
			out = append(out, Warning{name, "keys of one listener are not built yet"})
		default:
			if v, err := d.parse(values[name]); err == nil && d.Effect == NoEffect && (d.Null || format(v) != d.Default) {
				out = append(out, Warning{name, d.Doc})
			}
		}
	}
	return out
}
