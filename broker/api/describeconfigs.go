// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"gregor/base/kafka"
	"gregor/broker/call"
	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/config"
)

// DescribeConfigs, versions 1 to 4, tells every key with its value, source and
// synonyms: tools break on a missing one. ListConfigResources, versions 0 and
// 1, tells what has configurations.

func (a *API) handleDescribeConfigs(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	unknown := slices.ContainsFunc(req.Resources, func(r kmsg.DescribeConfigsRequestResource) bool {
		return !isConfigured(image.ResourceType(r.ResourceType))
	})
	told := map[image.Resource]bool{}
	repeated := 0 // keys told of things that were told before
	for i := range req.Resources {
		thing := image.Resource{Type: image.ResourceType(req.Resources[i].ResourceType), Name: req.Resources[i].ResourceName}
		if thing.Type == image.ResourceBroker && thing.Name != "" {
			thing = a.self() // 01 is 1, too
		}
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		var code kafka.Code
		var text string
		switch {
		case unknown: // Kafka refuses all things for one of them, in these words
			code, text = kafka.InvalidRequest, malformedText
		case repeated > a.limits.elementsMax:
			// A small request could ask for any size of answer otherwise.
			code, text = kafka.InvalidRequest, "The request names the same things too often."
		default:
			code, text = a.describeConfigs(&req.Resources[i], req, &r)
		}
		text = kafka.Message(text)
		r.ErrorCode, r.ErrorMessage = int16(code), &text
		if told[thing] {
			repeated += len(r.Configs)
		}
		told[thing] = true
		resp.Resources = append(resp.Resources, r)
	}
	return a.answer(c, resp)
}

const malformedText = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. " +
	"See the broker logs for more details."

// isConfigured reports whether things of the type have configurations.
func isConfigured(t image.ResourceType) bool {
	switch t {
	case image.ResourceTopic, image.ResourceBroker, image.ResourceBrokerLogger, image.ResourceClientMetrics, image.ResourceGroup:
		return true
	}
	return false
}

func (a *API) describeConfigs(asked *kmsg.DescribeConfigsRequestResource, req *kmsg.DescribeConfigsRequest, to *kmsg.DescribeConfigsResponseResource) (kafka.Code, string) {
	entries, code, text := a.entries(image.ResourceType(asked.ResourceType), asked.ResourceName)
	if code != kafka.None {
		return code, text
	}
	wanted := make(map[string]bool, len(asked.ConfigNames))
	for _, name := range asked.ConfigNames {
		wanted[name] = true
	}
	for i := range entries {
		if len(wanted) == 0 || wanted[entries[i].Name] {
			to.Configs = append(to.Configs, wireEntry(&entries[i], req.IncludeSynonyms, req.IncludeDocumentation))
		}
	}
	return kafka.None, ""
}

// entries gives the configuration of one thing.
func (a *API) entries(t image.ResourceType, name string) ([]config.Entry, kafka.Code, string) {
	img := a.image()
	cluster := img.Configs(image.ClusterResource)
	switch t {
	case image.ResourceTopic:
		if text := controller.InvalidTopicName(name); text != "" {
			return nil, kafka.InvalidTopicException, "Topic name is invalid: " + text
		}
		if img.Topic(name) == nil {
			return nil, kafka.UnknownTopicOrPartition, ""
		}
		return config.DescribeTopic(img.Configs(image.TopicResource(name)), cluster, img.Configs(a.self()), a.d.Config), kafka.None, ""
	case image.ResourceBroker:
		if name == "" {
			return config.DescribeCluster(cluster, a.d.Config), kafka.None, ""
		}
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil {
			return nil, kafka.InvalidRequest, "Broker id must be an integer, but it is: " + name
		}
		if kafka.NodeID(id) != a.d.NodeID {
			return nil, kafka.InvalidRequest, "Unexpected broker id, expected " + a.self().Name + " or empty string, but received " + name
		}
		return config.DescribeBroker(int32(id), cluster, img.Configs(a.self()), a.d.Config), kafka.None, ""
	case image.ResourceClientMetrics:
		if name == "" {
			return nil, kafka.InvalidRequest, "Client metrics subscription name must not be empty"
		}
		return config.DescribeClientMetrics(img.Configs(image.Resource{Type: t, Name: name})), kafka.None, ""
	case image.ResourceGroup:
		if name == "" {
			return nil, kafka.InvalidRequest, "Group name must not be empty"
		}
		return config.DescribeGroup(img.Configs(image.Resource{Type: t, Name: name}), cluster, img.Configs(a.self()), a.d.Config), kafka.None, ""
	}
	if !a.hasLoggers(t) {
		return nil, kafka.InvalidRequest, "The log level of this broker is fixed"
	}
	return a.describeLoggers(name)
}

// self is this broker as a resource.
func (a *API) self() image.Resource {
	return image.Resource{Type: image.ResourceBroker, Name: strconv.Itoa(int(a.d.NodeID))}
}

func wireEntry(e *config.Entry, synonyms, doc bool) kmsg.DescribeConfigsResponseResourceConfig {
	w := kmsg.NewDescribeConfigsResponseResourceConfig()
	w.Name, w.Value, w.ReadOnly, w.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	w.Source, w.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type)
	if doc && e.Doc != "" {
		w.Documentation = &e.Doc
	}
	if synonyms {
		for _, s := range e.Synonyms {
			ws := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			ws.Name, ws.Value, ws.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
			w.ConfigSynonyms = append(w.ConfigSynonyms, ws)
		}
	}
	return w
}

func (a *API) handleListConfigResources(c *call.Call) call.Outcome {
	decoded, err := a.decode(c)
	if err != nil {
		return a.close(c, err)
	}
	req := decoded.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewPtrListConfigResourcesResponse()
	asked := map[image.ResourceType]bool{}
	for _, t := range req.ResourceTypes {
		if !isConfigured(image.ResourceType(t)) {
			resp.ErrorCode = int16(kafka.UnsupportedVersion)
			return a.answer(c, resp)
		}
		asked[image.ResourceType(t)] = true
	}
	img := a.image()
	add := func(t image.ResourceType, name string) {
		if len(asked) > 0 && !asked[t] {
			return
		}
		r := kmsg.NewListConfigResourcesResponseConfigResource()
		r.Type, r.Name = int8(t), name
		resp.ConfigResources = append(resp.ConfigResources, r)
	}
	if c.Version == 0 { // the API was made for telemetry subscriptions
		asked = map[image.ResourceType]bool{image.ResourceClientMetrics: true}
	}
	for r := range img.ConfiguredResources() {
		if r.Type == image.ResourceGroup || r.Type == image.ResourceClientMetrics {
			add(r.Type, r.Name)
		}
	}
	for t := range img.Topics() {
		add(image.ResourceTopic, t.Name)
	}
	for b := range img.Brokers() {
		name := strconv.Itoa(int(b.BrokerID))
		add(image.ResourceBroker, name)
		if a.hasLoggers(image.ResourceBrokerLogger) {
			add(image.ResourceBrokerLogger, name)
		}
	}
	return a.answer(c, resp)
}
