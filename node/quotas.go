// SPDX-License-Identifier: Apache-2.0

package node

import (
	"log/slog"
	"math"
	"net/netip"

	"gregor/cluster/controller"
	"gregor/cluster/image"
	"gregor/cluster/link"
	"gregor/config"
	"gregor/quota"
)

func newQuotas(o Options) *quota.Manager {
	windows := func(count, seconds config.IntKey) quota.Windows {
		return quota.Windows{Count: int(o.Config.Int(count)), Ms: 1000 * int64(o.Config.Int(seconds))}
	}
	return quota.New(quota.Options{
		Client:     windows(config.QuotaWindowNum, config.QuotaWindowSizeSeconds),
		Controller: windows(config.ControllerQuotaWindowNum, config.ControllerQuotaWindowSizeSeconds),
		Start:      o.Now(),
	})
}

// prepare gives a request of a client what its quota lets it do to partitions.
func (n *Node) prepare(who link.Requester, env *controller.Env) {
	if !who.Local {
		env.Mutations = n.quotas.Mutations(who.Principal.Name, who.ClientID, env.Now)
	}
}

// requota applies what changed in client quotas.
func (n *Node) requota(delta *image.Delta, img *image.Image) {
	if delta.Changed().Has(image.KindQuotas) {
		n.quotas.Update(limitsOf(img, n.o.Logger))
	}
}

// limitsOf collects the limits of an image.
func limitsOf(img *image.Image, logger *slog.Logger) *quota.Limits {
	l := quota.NewLimits()
	for q := range img.ClientQuotas() {
		if !addQuota(l, &q) {
			logger.Warn("a client quota has no effect: its entity is none that this version knows", "entity", controller.QuotaEntityText(q.Entity))
		}
	}
	return l
}

// addQuota is false for an entity that is not understood: the record of a newer
// version, or the name of a host, which Kafka resolves.
func addQuota(l *quota.Limits, q *image.ClientQuota) bool {
	var e quota.Entity
	for _, p := range q.Entity {
		part := quota.PartOf(p.Name)
		switch p.Type {
		case controller.QuotaUser:
			e.User = part
		case controller.QuotaClientID:
			e.ClientID = part
		case controller.QuotaIP:
			return len(q.Entity) == 1 && addAddress(l, p.Name, q.Values[quota.Connection.Key()])
		default:
			return false
		}
	}
	for key, value := range q.Values {
		if k, ok := quota.KindOf(key); ok {
			l.Set(e, k, value)
		}
	}
	return true
}

func addAddress(l *quota.Limits, name *string, perSecond float64) bool {
	if name == nil {
		l.SetAddresses(perSecond)
		return true
	}
	a, err := netip.ParseAddr(*name)
	if err == nil {
		l.SetAddress(a, perSecond)
	}
	return err == nil
}

// limitConnections takes max.connection.creation.rate, whose default is any
// number.
func (n *Node) limitConnections(perSecond int) {
	switch perSecond {
	case math.MaxInt32:
		n.quotas.LimitConnections(0)
	case 0:
		n.quotas.LimitConnections(math.SmallestNonzeroFloat64) // one a window
	default:
		n.quotas.LimitConnections(float64(perSecond))
	}
}
