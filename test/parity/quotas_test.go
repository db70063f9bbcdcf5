// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka's keys of the requests of client quotas.
const (
	keyDescribeClientQuotas = 48
	keyAlterClientQuotas    = 49
)

type (
	quotaPart   = kmsg.AlterClientQuotasRequestEntryEntity
	quotaOp     = kmsg.AlterClientQuotasRequestEntryOp
	quotaChange = kmsg.AlterClientQuotasRequestEntry
	quotaMatch  = kmsg.DescribeClientQuotasRequestComponent
)

// named is a part of an entity; others is the one of the default.
func named(kind, name string) quotaPart { return quotaPart{Type: kind, Name: &name} }

func others(kind string) quotaPart { return quotaPart{Type: kind} }

func entity(parts ...quotaPart) []quotaPart { return parts }

func set(key string, value float64) quotaOp { return quotaOp{Key: key, Value: value} }

func removed(key string) quotaOp { return quotaOp{Key: key, Remove: true} }

// quotas alters and describes limits of clients that nobody is.
func (l *list) quotas() {
	l.describeQuotas("empty")
	l.alterQuotas()
	l.describeQuotas("some")
	l.badQuotas()
	l.describeQuotas("after bad ones")
	l.removeQuotas()
	l.describeQuotas("removed")
}

func (l *list) alterQuota(name string, check bool, changes ...quotaChange) {
	l.t.Helper()
	l.each(keyAlterClientQuotas, "AlterClientQuotas/"+name, func(*site, int16) kmsg.Request {
		return &kmsg.AlterClientQuotasRequest{ValidateOnly: check, Entries: changes}
	})
}

func (l *list) alterQuotas() {
	const bytesIn, bytesOut, time, mutations, connections = "producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate"
	u, c := named("user", "u"), named("client-id", "c")
	// The list itself is one of the default user: what it is allowed must be more
	// than it can take on a slow machine, where each request lasts long.
	const percent = 1e6 + 0.5
	l.alterQuota("nothing", false)
	l.alterQuota("no changes", false, quotaChange{Entity: entity(u)})
	l.alterQuota("only checked", true, quotaChange{Entity: entity(u), Ops: []quotaOp{set(bytesIn, 5)}})
	for i, e := range [][]quotaPart{{u}, {c}, {u, c}, {c, others("user")}, {u, others("client-id")}, {others("user")}, {others("client-id"), others("user")}, {named("user", "v w=x/ü")}} {
		l.alterQuota(fmt.Sprintf("set %d", i), false, quotaChange{Entity: e, Ops: []quotaOp{set(bytesIn, 1e9+float64(i)), set(bytesOut, 1e9), set(time, percent), set(mutations, 100.25)}})
	}
	l.alterQuota("addresses", false, quotaChange{Entity: entity(named("ip", "10.1.2.3")), Ops: []quotaOp{set(connections, 100)}},
		quotaChange{Entity: entity(named("ip", "fe80::1")), Ops: []quotaOp{set(connections, math.MaxInt32)}})
	l.alterQuota("change one, remove one", false, quotaChange{Entity: entity(u), Ops: []quotaOp{set(bytesIn, 77), removed(time)}})
	l.alterQuota("several", false, quotaChange{Entity: entity(named("user", "a")), Ops: []quotaOp{set(bytesIn, 1)}}, quotaChange{Entity: entity(named("user", "b")), Ops: []quotaOp{set("no.such", 1)}}, quotaChange{Entity: entity(named("user", "d")), Ops: []quotaOp{set(bytesOut, 1)}})
	l.alterQuota("remove what is not there", false, quotaChange{Entity: entity(named("user", "nobody")), Ops: []quotaOp{removed(bytesIn), removed("no.such")}})
}

func (l *list) badQuotas() {
	u := named("user", "bad")
	for name, e := range byName(map[string][]quotaPart{
		"none": {}, "unknown type": {named("group", "g")}, "empty type": {named("", "g")}, "empty name": {named("user", "")}, "empty client": {named("client-id", "")}, "upper case": {named("USER", "u")},
		"address and user": {named("ip", "10.0.0.1"), u}, "address and client": {named("ip", "10.0.0.1"), others("client-id")}, "no address": {named("ip", "not an address")}, "half an address": {named("ip", "10.0.0.1.2.3")}, "type twice": {u, named("user", "bad2")},
	}) {
		l.alterQuota("entity, "+name, false, quotaChange{Entity: e, Ops: []quotaOp{set("producer_byte_rate", 10)}})
		l.alterQuota("entity without changes, "+name, true, quotaChange{Entity: e})
	}
	for _, key := range []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate", "connection_creation_rate", "no.such", ""} {
		for _, v := range []float64{0, -1, 0.5, 1.0000001, 1.5, math.MaxInt16 + 1, math.MaxInt32, math.MaxInt32 + 1, math.MaxInt64, 1e19, math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1)} {
			l.alterQuota(fmt.Sprintf("value, %s=%v", key, v), true, quotaChange{Entity: entity(u), Ops: []quotaOp{set(key, v)}})
			l.alterQuota(fmt.Sprintf("value of an address, %s=%v", key, v), true, quotaChange{Entity: entity(named("ip", "10.9.9.9")), Ops: []quotaOp{set(key, v)}})
		}
	}
	ten := []quotaOp{set("producer_byte_rate", 10)}
	l.alterQuota("good, then bad", false, quotaChange{Entity: entity(u), Ops: []quotaOp{set("producer_byte_rate", 10), set("consumer_byte_rate", -1)}})
	l.alterQuota("key twice", false, quotaChange{Entity: entity(u), Ops: []quotaOp{set("producer_byte_rate", 10), set("producer_byte_rate", 11)}})
	l.alterQuota("set and removed", false, quotaChange{Entity: entity(u), Ops: []quotaOp{set("producer_byte_rate", 10), removed("producer_byte_rate")}})
	l.alterQuota("entity twice", false, quotaChange{Entity: entity(named("user", "twice")), Ops: ten}, quotaChange{Entity: entity(named("user", "twice")), Ops: []quotaOp{set("producer_byte_rate", 12)}})
	l.alterQuota("pair twice", false, quotaChange{Entity: entity(u, named("client-id", "x")), Ops: ten}, quotaChange{Entity: entity(named("client-id", "x"), u), Ops: ten})
}

func (l *list) removeQuotas() {
	keys := []quotaOp{removed("producer_byte_rate"), removed("consumer_byte_rate"), removed("request_percentage"), removed("controller_mutation_rate")}
	u, c := named("user", "u"), named("client-id", "c")
	for i, e := range [][]quotaPart{{u}, {c}, {c, u}, {c, others("user")}, {u, others("client-id")}, {others("user")}, {others("client-id"), others("user")}, {named("user", "v w=x/ü")}, {named("user", "a")}, {named("user", "d")}, {named("user", "twice")}, {named("user", "bad"), named("client-id", "x")}, {named("user", "bad2")}} {
		l.alterQuota(fmt.Sprintf("remove %d", i), false, quotaChange{Entity: e, Ops: keys})
	}
	for _, a := range []string{"10.1.2.3", "fe80::1"} {
		l.alterQuota("remove "+a, false, quotaChange{Entity: entity(named("ip", a)), Ops: []quotaOp{removed("connection_creation_rate")}})
	}
}

func (l *list) describeQuotas(state string) {
	str := kmsg.StringPtr
	const exact, byDefault, specified = 0, 1, 2
	for i, f := range [][]quotaMatch{
		{}, {{EntityType: "user", MatchType: exact, Match: str("u")}}, {{EntityType: "user", MatchType: byDefault}}, {{EntityType: "user", MatchType: specified}},
		{{EntityType: "client-id", MatchType: exact, Match: str("c")}}, {{EntityType: "client-id", MatchType: specified}}, {{EntityType: "ip", MatchType: specified}}, {{EntityType: "ip", MatchType: exact, Match: str("10.1.2.3")}}, {{EntityType: "ip", MatchType: byDefault}},
		{{EntityType: "user", MatchType: specified}, {EntityType: "client-id", MatchType: specified}}, {{EntityType: "client-id", MatchType: byDefault}, {EntityType: "user", MatchType: exact, Match: str("u")}}, {{EntityType: "user", MatchType: exact, Match: str("nobody")}},
		// What is wrong.
		{{EntityType: "", MatchType: specified}}, {{EntityType: "group", MatchType: specified}}, {{EntityType: "user", MatchType: exact}}, {{EntityType: "user", MatchType: byDefault, Match: str("u")}}, {{EntityType: "user", MatchType: specified, Match: str("u")}},
		{{EntityType: "user", MatchType: 3}}, {{EntityType: "user", MatchType: -1}}, {{EntityType: "user", MatchType: specified}, {EntityType: "user", MatchType: byDefault}}, {{EntityType: "ip", MatchType: specified}, {EntityType: "user", MatchType: specified}}, {{EntityType: "user", MatchType: exact, Match: str("")}},
	} {
		for _, strict := range []bool{false, true} {
			l.each(keyDescribeClientQuotas, fmt.Sprintf("DescribeClientQuotas/%s, filter %d, strict %t", state, i, strict), func(*site, int16) kmsg.Request {
				return &kmsg.DescribeClientQuotasRequest{Components: f, Strict: strict}
			})
		}
	}
}

// quotaKeyOf knows the elements of answers about quotas by what they are.
func quotaKeyOf(v reflect.Value) (string, bool) {
	if parts := v.FieldByName("Entity"); parts.IsValid() {
		var all []string
		for i := range parts.Len() {
			key, _ := quotaKeyOf(parts.Index(i))
			all = append(all, key)
		}
		slices.Sort(all)
		return strings.Join(all, "+"), true
	}
	if kind := v.FieldByName("Type"); kind.IsValid() && kind.Kind() == reflect.String {
		if name := v.FieldByName("Name"); name.Kind() == reflect.Pointer && !name.IsNil() {
			return kind.String() + "=" + name.Elem().String(), true
		}
		return kind.String(), true
	}
	if key := v.FieldByName("Key"); key.IsValid() && key.Kind() == reflect.String {
		return key.String(), true
	}
	return "", false
}
