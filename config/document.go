// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// Document writes docs/config.md from the tables.
func Document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	section(&b, "gregor's own keys", "They start with `gregor.` and work.", func(d *Definition) bool {
		return strings.HasPrefix(d.Name, "gregor.")
	})
	section(&b, "Keys that work", "They do what they do in Apache Kafka 4.4.", func(d *Definition) bool {
		return d.Effect == Works && !strings.HasPrefix(d.Name, "gregor.")
	})
	section(&b, "Keys that are refused", "The node does not start when one of them is set to something else than its default: what they ask for is not "+
		"built, and going on without it would cost security or durability.", func(d *Definition) bool { return d.Effect == Refused })
	section(&b, "Keys without effect", "They are read, checked as Kafka checks them, and then nothing depends on them; one warning says so. Keys that "+
		"Kafka keeps out of its own documentation are left out here too.", func(d *Definition) bool {
		return d.Effect == NoEffect && !d.Hidden
	})
	b.WriteString("\n## Topic keys\n\nSet them with CreateTopics (`gregor topic create -c key=value`). A topic that does not set a key follows the broker key beside it.\n\n" +
		"| key | type | default | allowed | broker key | effect | what it does |\n|---|---|---|---|---|---|---|\n")
	for _, d := range TopicDefinitions() {
		if d.Hidden {
			continue
		}
		var names []string
		for _, t := range twins[d.Name] {
			names = append(names, "`"+t.key+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", d.Name, typeAndUnit(d), defaultText(d), allowedText(d), strings.Join(names, ", "), d.Effect, d.Doc)
	}
	return b.String()
}

const documentHead = `# Configuration

Written by ` + "`make generate`" + ` from the tables in config/; do not edit.

` + "`gregor start`" + ` takes Kafka's own keys. The first of these that names a key wins:

1. ` + "`--set key=value`" + `
2. ` + "`KAFKA_KEY=value`" + ` in the environment, as in Kafka's official image: ` + "`KAFKA_LOG_SEGMENT_BYTES`" + ` is ` + "`log.segment.bytes`" + `, ` + "`__`" + ` stands for ` + "`_`" + `,
   ` + "`___`" + ` for ` + "`-`" + `. Variables of Kafka's scripts (` + "`KAFKA_HEAP_OPTS`" + `, ` + "`KAFKA_OPTS`" + `, ...) and those that Kubernetes makes for a service called
   kafka are passed over.
3. the file after ` + "`-c`" + `, in the syntax of java.util.Properties
4. the default

A key that is not in these tables stops the start, and the nearest name is told; so does a value that is not allowed. All that is wrong is told at once,
with the file and line, the variable or the flag that set it.

With neither ` + "`process.roles`" + ` nor any ` + "`controller.quorum.*`" + ` key, the node is broker, controller and the only voter of its own cluster, and no
controller listener is opened. As soon as one of them is set, Kafka's requirements hold: ` + "`node.id`" + `, ` + "`controller.listener.names`" + `, and
` + "`controller.quorum.bootstrap.servers`" + ` or ` + "`controller.quorum.voters`" + `. Until several nodes are built, the roles must be both, and the quorum this
node alone. The controller listener is then opened and answers the APIs that [protocol.md](protocol.md) lists for controllers; other nodes cannot join yet.

A listener on any address but loopback stops the start unless ` + "`gregor.insecure.public.listeners`" + ` holds its name (` + "`ADMIN`" + ` for ` + "`gregor.admin.listener`" + `),
because authentication is not built yet. ` + "`PLAINTEXT://:9092`" + `, as in Kafka's own example file, is every interface.

"Changes" says how a key may be changed on a running cluster: not at all, for one broker, or for all of them (` + "`gregor config set`" + `, kafka-configs). Keys that work hold
from then on; ` + "`listeners`" + ` and ` + "`listener.security.protocol.map`" + ` still need a restart and are refused until then. A key that is set and has no effect is
told once in the log.
`

func section(b *strings.Builder, title, text string, in func(*Definition) bool) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| key | type | default | allowed | changes | what it does |\n|---|---|---|---|---|---|\n", title, text)
	for _, d := range Definitions() {
		if in(d) {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", d.Name, typeAndUnit(d), defaultText(d), allowedText(d), d.Scope, d.Doc)
		}
	}
}

// units of keys, by how their names end.
var units = []struct{ suffix, unit string }{
	{".ms", "ms"}, {".millis", "ms"}, {".secs", "s"}, {".seconds", "s"}, {".minutes", "min"}, {".hours", "h"}, {"bytes.per.second", "bytes/s"},
	{".bytes", "bytes"}, {".buffer.size", "bytes"}, {"io.buffer.size", "bytes"}, {"load.buffer.size", "bytes"}, {"receive.size", "bytes"},
}

// Unit gives the unit of a number: "ms", "bytes", ...; "" for plain counts.
func (d *Definition) Unit() string {
	switch d.Type {
	case Int, Long, Short, Double:
		for _, u := range units {
			if strings.HasSuffix(d.Name, u.suffix) {
				return u.unit
			}
		}
	}
	return ""
}

func typeAndUnit(d *Definition) string {
	if u := d.Unit(); u != "" {
		return d.Type.String() + ", " + u
	}
	return d.Type.String()
}

func defaultText(d *Definition) string {
	switch {
	case d.Null:
		return "unset"
	case d.Default == "":
		return "empty"
	}
	return "`" + d.Default + "`"
}

func allowedText(d *Definition) string {
	if d.Check == nil {
		return ""
	}
	return d.Check.String()
}
