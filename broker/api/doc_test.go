// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"strings"
	"testing"

	"gregor/broker/call"
	"gregor/test/golden"
)

// protocolDoc is docs/protocol.md, made from the table.
func protocolDoc() string {
	var b strings.Builder
	b.WriteString(`# What gregor speaks

Made from the table in broker/api/table.go by ` + "`go test ./broker/api -run TestProtocolPage -update`" + `.
Versions are those of Apache Kafka 4.4; an API that is not listed is not built, and not advertised.

| key | name | versions | flexible from | listeners | forwarded to the controller | what for |
|-|-|-|-|-|-|-|
`)
	for _, r := range rows() {
		versions := fmt.Sprintf("%d–%d", r.min, r.max)
		if r.advertisedMin < r.min {
			versions += fmt.Sprintf(", advertised from %d", r.advertisedMin)
		}
		var listeners []string
		if r.roles&call.Broker != 0 {
			listeners = append(listeners, "broker")
		}
		if r.roles&call.Controller != 0 {
			listeners = append(listeners, "controller")
		}
		forwarded := ""
		if r.forwardable {
			forwarded = "yes"
		}
		flexible := "never"
		if r.flexibleFrom < newest {
			flexible = fmt.Sprint(r.flexibleFrom)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s |\n", r.key, r.name, versions, flexible, strings.Join(listeners, ", "), forwarded, r.purpose)
	}
	b.WriteString(`
## What a peer may ask for

| limit | key | what happens beyond it |
|-|-|-|
| size of a request | ` + "`socket.request.max.bytes`" + ` | the connection is closed, with one log line and a counter |
| memory for requests of all connections | ` + "`gregor.request.memory.bytes`" + `, of which ` + "`gregor.request.memory.reserve.bytes`" + ` are for small requests and brokers | the connection waits; after 30 seconds it is closed |
| elements of all arrays of a request | ` + "`gregor.request.elements.max`" + ` | the connection is closed |
| replies of a connection that wait | ` + "`gregor.connection.pipeline`" + ` | the connection is not read until one has left |
| bytes of a Fetch | ` + "`fetch.max.bytes`" + ` | less is answered, but one batch at least |
| fetch sessions, and their partitions | ` + "`max.incremental.fetch.session.cache.slots`, `gregor.fetch.session.slot.partitions.max`" + ` | consumers go on with full fetches |
| records at fault that an answer names | ` + "`gregor.produce.record.errors.max`" + ` | the others are not named |
| time that a request waits | ` + "`gregor.request.timeout.max.ms`" + ` | it is answered with what there is, or REQUEST_TIMED_OUT |
| time to take a reply, where idle connections stay | ` + "`gregor.reply.stall.max.ms`" + ` | the connection is closed |
| connections, and of one address | ` + "`max.connections`, `max.connections.per.ip`" + ` | they wait to be accepted; they are closed |
| time without a request | ` + "`connections.max.idle.ms`" + ` | the connection is closed |

Malformed requests, unsupported keys and versions (but for ApiVersions) and a Produce with acks=0 that fails close the connection.
Bytes behind a request's last field are let pass.
`)
	return b.String()
}

func TestProtocolPage(t *testing.T) {
	golden.Check(t, "../../docs/protocol.md", protocolDoc())
}
