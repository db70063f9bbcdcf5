// SPDX-License-Identifier: Apache-2.0

package image

import (
	"cmp"
	"iter"
	"maps"
	"strings"

	"gregor/base/kafka"
	"gregor/cluster/metarec"
	"gregor/wire/schema"
)

// ResourceType is the kind of what a config belongs to.
type ResourceType int8

// Kafka's config resource types.
const (
	ResourceTopic         ResourceType = 2
	ResourceBroker        ResourceType = 4
	ResourceBrokerLogger  ResourceType = 8
	ResourceClientMetrics ResourceType = 16
	ResourceGroup         ResourceType = 32
)

// Resource is what configs belong to. A broker's name is its id in decimal;
// the empty name of a broker stands for all of them.
type Resource struct {
	Type ResourceType
	Name string
}

// TopicResource is the resource of a topic's configs.
func TopicResource(name string) Resource { return Resource{ResourceTopic, name} }

// ClusterResource holds the configs of all brokers.
var ClusterResource = Resource{Type: ResourceBroker}

func compareResources(a, b Resource) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name))
}

// Configs are the values that were set for a resource, nil if there are none.
// The map must not be changed.
func (i *Image) Configs(r Resource) map[string]string {
	m, _ := i.configs.get(r)
	return m
}

// ConfiguredResources walks over the resources that have configs and theirs.
func (i *Image) ConfiguredResources() iter.Seq2[Resource, map[string]string] { return i.configs.all() }

func withConfig(m map[string]string, rec *metarec.Config) map[string]string {
	m = maps.Clone(m)
	if rec.Value == nil {
		delete(m, rec.Name)
		return m
	}
	if m == nil {
		m = make(map[string]string, 1)
	}
	m[rec.Name] = *rec.Value
	return m
}

// quota holds the limits of one entity.
type quota struct {
	entity []metarec.QuotaEntity
	values map[string]float64
}

// quotaKey is the order and identity of an entity. Its parts are a set.
func quotaKey(entity []metarec.QuotaEntity) string {
	var b []byte
	for _, e := range sortedEntity(entity) {
		b = schema.AppendString(b, e.Type)
		b = schema.AppendNullableString(b, e.Name)
	}
	return string(b)
}

// ClientQuota are the limits of one entity.
type ClientQuota struct {
	Entity []metarec.QuotaEntity
	Values map[string]float64
}

// QuotaKey is a text that is the same for the same set of parts.
func QuotaKey(entity []metarec.QuotaEntity) string { return quotaKey(entity) }

// ClientQuota are the limits of an entity, nil if there are none. The map must
// not be changed.
func (i *Image) ClientQuota(entity []metarec.QuotaEntity) map[string]float64 {
	if q, ok := i.quotas.get(quotaKey(entity)); ok {
		return q.values
	}
	return nil
}

// ClientQuotas walks over all limits.
func (i *Image) ClientQuotas() iter.Seq[ClientQuota] {
	return func(yield func(ClientQuota) bool) {
		for q := range i.quotas.values() {
			if !yield(ClientQuota{q.entity, q.values}) {
				return
			}
		}
	}
}

type scramKey struct {
	mechanism int8
	user      string
}

func compareScramKeys(a, b scramKey) int {
	return cmp.Or(cmp.Compare(a.mechanism, b.mechanism), strings.Compare(a.user, b.user))
}

// ScramCredential returns the credential of a user for a mechanism, nil if
// there is none.
func (i *Image) ScramCredential(user string, mechanism int8) *metarec.UserScramCredential {
	c, _ := i.scram.get(scramKey{mechanism, user})
	return c
}

// ScramCredentials walks over all credentials, by mechanism and user.
func (i *Image) ScramCredentials() iter.Seq[*metarec.UserScramCredential] { return i.scram.values() }

// ACL returns the entry of an id, nil if there is none.
func (i *Image) ACL(id kafka.UUID) *metarec.AccessControlEntry {
	a, _ := i.acls.get(id)
	return a
}
