// SPDX-License-Identifier: Apache-2.0

package config

import (
	"regexp"
	"slices"
	"strings"
)

// Names that the official image keeps for itself, and others that are found in
// the environment of machines with Kafka tools.
var environOthers = []string{
	"KAFKA_VERSION", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS",
	"KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_LOG4J_LOGGERS", "KAFKA_TOOLS_LOG4J_LOGLEVEL", "KAFKA_JMX_HOSTNAME",
	"KAFKA_HOME", "KAFKA_JMX_PORT", "KAFKA_DEBUG", "KAFKA_DEBUG_FLAG", "KAFKA_CLASSPATH", "KAFKA_MODE",
}

// A Kubernetes service called kafka gives each pod these.
var environService = regexp.MustCompile(`^KAFKA_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP)(_.*)?)?)$`)

// environKey maps the name of a variable as the official image does: what
// follows KAFKA_, in lower case, with _ for a dot, __ for _ and ___ for -. ok
// is false where the variable is not meant for a broker.
func environKey(name string) (key string, ok bool) {
	rest, ok := strings.CutPrefix(name, "KAFKA_")
	if !ok || rest == "" || slices.Contains(environOthers, name) || environService.MatchString(name) {
		return "", false
	}
	key = strings.ReplaceAll(strings.ToLower(rest), "_", ".")
	key = strings.ReplaceAll(key, "...", "-")
	return strings.ReplaceAll(key, "..", "_"), true
}
