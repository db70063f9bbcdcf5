// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"log/slog"
	"strconv"

	"gregor/base/kafka"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/config"
)

// A broker's loggers are configured like its keys, but in its own memory: a
// restart forgets them. There is one logger here, which Kafka calls root.

const rootLogger = "root"

// logLevels are Kafka's levels; those that slog lacks lie beyond its ends.
var logLevels = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo}, {"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError}, {"FATAL", slog.LevelError + 4},
}

const validLogLevels = "DEBUG, ERROR, FATAL, INFO, TRACE, WARN"

// describeLoggers tells the level of the one logger.
func (a *API) describeLoggers(name string) ([]config.Entry, kafka.Code, string) {
	if name == "" {
		return nil, kafka.InvalidRequest, "Broker id must not be empty"
	}
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return nil, kafka.InvalidRequest, "Broker id must be an integer, but it is: " + name
	}
	if kafka.NodeID(id) != a.d.NodeID {
		return nil, kafka.InvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d but received %s", a.d.NodeID, name)
	}
	level := logLevels[0].name
	for _, l := range logLevels {
		if a.d.LogLevel.Level() >= l.level {
			level = l.name
		}
	}
	return []config.Entry{{Name: rootLogger, Value: &level, Source: config.SourceBrokerLogger}}, kafka.None, ""
}

// alterLoggers sets levels here; nothing of it goes to the controller.
func (a *API) alterLoggers(r *alterConfig, validateOnly bool) {
	if r.whole {
		r.refuse(kafka.InvalidRequest, fmt.Sprintf("Unknown resource type %d", r.resource.Type))
		return
	}
	if code, text := a.checkLoggers(r); code != kafka.None {
		r.refuse(code, text)
		return
	}
	for _, o := range r.ops {
		for _, l := range logLevels {
			if !validateOnly && *o.Value == l.name {
				a.d.LogLevel.Set(l.level)
				a.d.Logger.Warn("log level changed", "level", l.name)
			}
		}
	}
}

func (a *API) checkLoggers(r *alterConfig) (kafka.Code, string) {
	seen := map[string]bool{}
	for _, o := range r.ops {
		if seen[o.Key] {
			return kafka.InvalidRequest, "Error due to duplicate config keys"
		}
		seen[o.Key] = true
		if o.Op != controller.OpDelete && o.Value == nil {
			return kafka.InvalidRequest, "Null value not supported for : " + o.Key
		}
	}
	id, err := strconv.ParseInt(r.resource.Name, 10, 32)
	if err != nil {
		return kafka.InvalidRequest, "Node id must be an integer, but it is: " + r.resource.Name
	}
	if kafka.NodeID(id) != a.d.NodeID {
		return kafka.InvalidRequest, fmt.Sprintf("Unexpected node id. Expected %d, but received %s", a.d.NodeID, r.resource.Name)
	}
	for _, o := range r.ops {
		if code, text := checkLogger(o); code != kafka.None {
			return code, text
		}
	}
	return kafka.None, ""
}

func checkLogger(o controller.ConfigOp) (kafka.Code, string) {
	if o.Op == controller.OpAppend || o.Op == controller.OpSubtract {
		return kafka.InvalidRequest, controller.OpName(o.Op) + " operation is not allowed for the BROKER_LOGGER resource"
	}
	if o.Op != controller.OpSet && o.Op != controller.OpDelete {
		return kafka.InvalidRequest, fmt.Sprintf("Unknown operation type %d is not allowed for the BROKER_LOGGER resource", o.Op)
	}
	if o.Key != rootLogger {
		return kafka.InvalidConfig, "Logger " + o.Key + " does not exist!"
	}
	if o.Op == controller.OpDelete {
		return kafka.InvalidRequest, "Removing the log level of the root logger is not allowed"
	}
	for _, l := range logLevels {
		if *o.Value == l.name {
			return kafka.None, ""
		}
	}
	return kafka.InvalidConfig, fmt.Sprintf("Cannot set the log level of %s to %s as it is not a supported log level. Valid log levels are %s", o.Key, *o.Value, validLogLevels)
}

// hasLoggers reports whether a resource's type is that of loggers, and there
// are some.
func (a *API) hasLoggers(t image.ResourceType) bool {
	return t == image.ResourceBrokerLogger && a.d.LogLevel != nil
}
