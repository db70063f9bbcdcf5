// SPDX-License-Identifier: Apache-2.0

package node

import (
	"strconv"
	"sync"

	"gregor/broker/conn"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/config"
)

// judgeConfigs binds the controller to what config knows of keys and values.
func judgeConfigs(env *controller.Env, static *config.Node) {
	env.ValidateTopicConfig = func(img *image.Image, _ string, overrides map[string]string) error {
		return config.ValidateTopic(overrides, nil, img.Configs(image.ClusterResource), static)
	}
	env.DescribeTopicConfig = func(img *image.Image, overrides map[string]string) []controller.TopicConfig {
		entries := config.DescribeTopic(overrides, img.Configs(image.ClusterResource), nil, static)
		out := make([]controller.TopicConfig, len(entries))
		for i, e := range entries {
			out[i] = controller.TopicConfig{Name: e.Name, Value: e.Set, ReadOnly: e.ReadOnly, Source: int8(e.SetSource), Sensitive: e.Sensitive}
		}
		return out
	}
	env.ValidateConfig = func(img *image.Image, r image.Resource, values, existing map[string]string) error {
		switch r.Type {
		case image.ResourceTopic:
			return config.ValidateTopic(values, existing, img.Configs(image.ClusterResource), static)
		case image.ResourceClientMetrics:
			return config.ValidateClientMetrics(values)
		case image.ResourceGroup:
			return config.ValidateGroup(values, static)
		}
		return nil // a broker's own configuration has judged what is for it
	}
	env.ListConfig = func(t image.ResourceType, key string) (string, bool) {
		switch t {
		case image.ResourceTopic, image.ResourceBroker:
			return config.IsListKey(t == image.ResourceTopic, key, static)
		}
		return "", false
	}
}

// dynamic is what a running node takes from the dynamic configurations of
// brokers, beside the rules of its partitions.
type dynamic struct {
	warned map[string]bool // keys, by kind; the publisher's

	mu      sync.Mutex // guards what follows
	version int        // counts changes of values
	values  config.Live
	server  *conn.Server // nil until clients are let in
}

// attach lets changes reach the server from here on.
func (d *dynamic) attach(s *conn.Server) {
	d.mu.Lock()
	d.server = s
	d.mu.Unlock()
	d.tell()
}

func (d *dynamic) set(values config.Live) {
	d.mu.Lock()
	d.version++
	d.values = values
	d.mu.Unlock()
	d.tell()
}

// tell gives the server what holds. Two may be at it at once, so it looks
// again whether it told the newest.
func (d *dynamic) tell() {
	for told := -1; ; {
		d.mu.Lock()
		version, values, server := d.version, d.values, d.server
		d.mu.Unlock()
		if server == nil || version == told {
			return
		}
		server.LimitConnections(values.ConnectionsMax, values.ConnectionsPerIPMax, values.ConnectionsPerIP)
		told = version
	}
}

func (d *dynamic) known() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.version > 0
}

// reconfigure applies what changed in the configurations of brokers.
func (n *Node) reconfigure(delta *image.Delta, img *image.Image) {
	own := image.Resource{Type: image.ResourceBroker, Name: strconv.Itoa(int(n.ident.node))}
	due := !n.dynamic.known()
	for r := range delta.Configs() {
		due = due || r == own || r == image.ClusterResource
		n.tellIdle(r, img.Configs(r))
	}
	if !due {
		return
	}
	values := config.ResolveLive(img.Configs(image.ClusterResource), img.Configs(own), n.o.Config)
	for _, d := range n.dirs {
		d.DelayDeletes(deleteDelay(values.SegmentDeleteDelayMs))
	}
	n.limitConnections(values.ConnectionCreationRate)
	n.dynamic.set(values)
}

// tellIdle warns of keys that were set and do nothing in this build, once each.
func (n *Node) tellIdle(r image.Resource, values map[string]string) {
	isTopic := r.Type == image.ResourceTopic
	if !isTopic && r.Type != image.ResourceBroker {
		return
	}
	for _, w := range config.Idle(isTopic, values) {
		key := strconv.Itoa(int(r.Type)) + w.Key
		if n.dynamic.warned[key] {
			continue
		}
		if n.dynamic.warned == nil {
			n.dynamic.warned = map[string]bool{}
		}
		n.dynamic.warned[key] = true
		n.o.Logger.Warn("a dynamic configuration has no effect", "key", w.Key, "resource", resourceText(r), "reason", w.Message)
	}
}

func resourceText(r image.Resource) string {
	switch {
	case r.Type == image.ResourceTopic:
		return "topic " + r.Name
	case r.Name == "":
		return "all brokers"
	}
	return "broker " + r.Name
}
