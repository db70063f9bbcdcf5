// SPDX-License-Identifier: Apache-2.0

package node

import (
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
