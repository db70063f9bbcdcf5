// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// resolve settles what several keys say together. It stops early only where
// what follows would blame the wrong key.
func (l *loader) resolve() {
	if !l.resolveRoles() {
		return
	}
	if !l.resolveListeners() {
		return
	}
	l.resolveQuorum()
	l.resolveDirectories()
	l.checkExposure()
	l.checkSums()
	l.checkGroups()
}

// blame reports a key as it was set.
func (l *loader) blame(key, format string, args ...any) {
	s := l.node.values[key]
	d, _ := Lookup(key)
	l.problems = append(l.problems, &KeyError{Key: key, Value: d.shown(s.text), Origin: s.origin, Problem: fmt.Sprintf(format, args...)})
}

func (l *loader) isSet(key string) bool {
	_, ok := l.node.values[key]
	return ok
}

// resolveRoles tells the node that stands for itself from the node of a
// cluster. As soon as process.roles or any controller.quorum.* key is set,
// Kafka's requirements hold.
func (l *loader) resolveRoles() bool {
	n := l.node
	before := len(l.problems)
	if l.isSet(string(NodeID)) && l.isSet(string(BrokerID)) && n.Int(NodeID) != n.Int(BrokerID) {
		l.blame(string(BrokerID), "node.id is %d, and both must be the same; take broker.id out", n.Int(NodeID))
	}
	n.standalone = !l.isSet(string(ProcessRoles)) && !l.anySet("controller.quorum.")
	if n.standalone {
		if l.isSet(string(ControllerListenerNames)) {
			l.blame(string(ControllerListenerNames), "needs process.roles=broker,controller; without process.roles no controller listener is opened")
		}
		return len(l.problems) == before
	}
	roles := n.List(ProcessRoles)
	switch {
	case !l.isSet(string(ProcessRoles)):
		l.blame(string(ProcessRoles), "must be set when a controller.quorum.* key is; allowed: broker,controller")
	case !slices.Contains(roles, "broker") || !slices.Contains(roles, "controller"):
		l.blame(string(ProcessRoles), "a node that is only one of both needs a second node, which is not built yet; allowed: broker,controller")
	}
	if _, ok := n.NodeID(); !ok {
		l.blame(string(NodeID), "must be set when process.roles is")
	}
	if len(n.List(ControllerListenerNames)) == 0 {
		l.blame(string(ControllerListenerNames), "must hold at least one name when process.roles is set")
	}
	return len(l.problems) == before
}

func (l *loader) anySet(prefix string) bool {
	for k := range l.node.values {
		if strings.HasPrefix(k, prefix) {
			return true
		}
	}
	return false
}

// resolveQuorum checks that this node is the only voter.
func (l *loader) resolveQuorum() {
	n := l.node
	n.quorum = Quorum{ListenerName: "CONTROLLER", Endpoint: Listener{Name: "CONTROLLER", Protocol: plaintext, Host: "127.0.0.1", Port: 9093}}
	if n.standalone {
		return
	}
	n.quorum.ListenerName = strings.ToUpper(n.List(ControllerListenerNames)[0])
	n.quorum.Endpoint = n.controllers[0]
	for _, x := range l.voterEndpoints {
		if x.Name == n.quorum.ListenerName {
			n.quorum.Endpoint = x
		}
	}
	voters, bootstrap := n.List(ControllerQuorumVoters), n.List(ControllerQuorumBootstrapServers)
	if len(voters) == 0 && len(bootstrap) == 0 {
		l.blame(string(ControllerQuorumBootstrapServers), "must name the controllers when process.roles is set; for a single node: localhost:%d", n.controllers[0].Port)
		return
	}
	if len(voters) > 0 {
		l.resolveVoters(voters)
	}
	for _, s := range bootstrap {
		if at, err := splitHostPort(s); err != nil || !l.isHere(at) {
			l.blame(string(ControllerQuorumBootstrapServers), "%s is not a controller listener of this node, and several nodes are not built yet; for a single node: localhost:%d",
				s, n.controllers[0].Port)
		}
	}
}

func (l *loader) resolveVoters(voters []string) {
	n := l.node
	id, _ := n.NodeID()
	v, err := parseVoter(voters[0])
	switch {
	case err != nil || v.ID != int32(id):
		l.blame(string(ControllerQuorumVoters), "node.id %d is not among the voters", id)
	case len(voters) > 1:
		l.blame(string(ControllerQuorumVoters), "needs %d nodes, and several nodes are not built yet; allowed: this node alone, %s", len(voters), voters[0])
	default:
		n.quorum.Static = true
		n.quorum.Endpoint = Listener{Name: n.quorum.ListenerName, Protocol: n.controllers[0].Protocol, Host: v.Host, Port: v.Port}
	}
}

// isHere reports whether a bootstrap server is one of this node's controller
// listeners. A host name that is none of the node's own might be another node,
// and two nodes that each found a cluster of their own lose data when they are
// taken for one.
func (l *loader) isHere(at hostPort) bool {
	if !slices.ContainsFunc(l.node.controllers, func(c Listener) bool { return c.Port == at.Port || c.Port == 0 }) {
		return false
	}
	if isLoopback(at.Host) || strings.EqualFold(at.Host, l.hostname) {
		return true
	}
	for _, list := range [][]Listener{l.node.controllers, l.node.listeners, l.node.advertised} {
		if slices.ContainsFunc(list, func(x Listener) bool { return strings.EqualFold(x.Host, at.Host) }) {
			return true
		}
	}
	return false
}

func (l *loader) resolveDirectories() {
	n := l.node
	key := LogDir
	if l.isSet(string(LogDirs)) {
		key = LogDirs
	}
	n.logDirs = n.List(key)
	for i, d := range n.logDirs {
		for _, before := range n.logDirs[:i] {
			if filepath.Clean(d) == filepath.Clean(before) {
				l.blame(string(key), "%s is named twice", d)
			}
		}
	}
}

// checkExposure sees to it that nothing is open to other machines without
// authentication unless its name was written down.
func (l *loader) checkExposure() {
	n := l.node
	allowed := n.List(GregorInsecurePublicListeners)
	isAllowed := func(name string) bool {
		return slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, name) })
	}
	var open []string
	for _, x := range append(slices.Clone(n.listeners), n.controllers...) {
		if !isLoopback(x.Host) && !isAllowed(x.Name) {
			open = append(open, x.Name)
		}
	}
	if len(open) > 0 {
		l.blame(string(Listeners), "without authentication, %s would be open to other machines; listen on 127.0.0.1 or [::1], or set gregor.insecure.public.listeners=%s",
			strings.Join(open, " and "), strings.Join(append(allowed, open...), ","))
	}
	at := n.Text(GregorAdminListener)
	if at == "" {
		return
	}
	host, err := splitListen(at)
	switch {
	case err != nil:
		l.blame(string(GregorAdminListener), "%v; allowed: host:port, or empty for none", err)
	case !isLoopback(host) && !isAllowed("ADMIN"):
		l.blame(string(GregorAdminListener), "without authentication, it would be open to other machines; listen on 127.0.0.1 or [::1], or add ADMIN to gregor.insecure.public.listeners")
	}
}

// checkSums compares keys whose values must fit each other.
func (l *loader) checkSums() {
	n := l.node
	frame := int64(n.Int(SocketRequestMaxBytes))
	if q := n.Long(QueuedMaxRequestBytes); q > 0 && q < frame {
		l.blame(string(QueuedMaxRequestBytes), "must be at least socket.request.max.bytes, %d, or -1", frame)
	}
	reserve := n.Long(GregorRequestMemoryReserveBytes)
	if n.RequestMemoryBytes() < frame+reserve {
		key := GregorRequestMemoryBytes
		if !l.isSet(string(key)) && l.isSet(string(QueuedMaxRequestBytes)) {
			key = QueuedMaxRequestBytes
		}
		l.blame(string(key), "%d must be at least socket.request.max.bytes (%d) and gregor.request.memory.reserve.bytes (%d) together, or the largest request would never be read",
			n.RequestMemoryBytes(), frame, reserve)
	}
	if beat, session := n.Int(BrokerHeartbeatIntervalMs), n.Int(BrokerSessionTimeoutMs); beat <= 0 || session <= beat {
		l.blame(string(BrokerSessionTimeoutMs), "%d must be more than broker.heartbeat.interval.ms, %d, and that more than 0", session, beat)
	}
	for _, k := range []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"} {
		if v, ok := n.get(k).(int64); ok && v < 1 && v != -1 {
			l.blame(k, "must be -1 for ever, or at least 1")
		}
	}
	if v, ok := n.get(string(LogRollMs)).(int64); ok && v < 1 {
		l.blame(string(LogRollMs), "must be at least 1")
	}
	if v, ok := n.get(string(LogRollJitterMs)).(int64); ok && v < 0 {
		l.blame(string(LogRollJitterMs), "must be at least 0")
	}
	overrides, err := parseOverrides(n.Text(MaxConnectionsPerIPOverrides))
	switch {
	case err != nil:
		l.blame(string(MaxConnectionsPerIPOverrides), "%v; allowed: address:number,...", err)
	case n.Int(MaxConnectionsPerIP) == 0 && len(overrides) == 0:
		l.blame(string(MaxConnectionsPerIP), "0 lets nobody in; set max.connections.per.ip.overrides too")
	}
	n.perIP = overrides
}

// parseOverrides reads address:number,... An IPv6 address may stand in
// brackets.
func parseOverrides(text string) (map[netip.Addr]int, error) {
	out := map[netip.Addr]int{}
	for _, entry := range strings.Split(text, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		i := strings.LastIndexByte(entry, ':')
		if i < 0 {
			return nil, fmt.Errorf("%q has no number", entry)
		}
		address, err := netip.ParseAddr(strings.Trim(entry[:i], "[] "))
		if err != nil {
			return nil, fmt.Errorf("%q does not begin with an address", entry)
		}
		n, err := strconv.ParseUint(strings.TrimSpace(entry[i+1:]), 10, 31)
		if err != nil {
			return nil, fmt.Errorf("%q does not end with a number", entry)
		}
		out[address.Unmap()] = int(n)
	}
	return out, nil
}

// RequestMemoryBytes is the memory that requests may take, over all
// connections.
func (n *Node) RequestMemoryBytes() int64 {
	bytes := n.Long(GregorRequestMemoryBytes)
	if q := n.Long(QueuedMaxRequestBytes); q > 0 {
		bytes = min(bytes, q)
	}
	return bytes
}
