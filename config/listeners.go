// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gregor/base/kafka"
)

// Listener is one entry of listeners or advertised.listeners.
type Listener struct {
	Name     string // in upper case
	Protocol string // PLAINTEXT is the one that is built
	Host     string // "" is every interface
	Port     int    // 0 takes a free one
}

// Address gives "host:port" for net.Listen.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }

// Voter is one entry of controller.quorum.voters.
type Voter struct {
	ID   int32
	Host string
	Port int
}

// Quorum is what a node knows of the controllers at its start.
type Quorum struct {
	// ListenerName is the first of controller.listener.names: the name under
	// which voters are written down.
	ListenerName string
	// Endpoint is this voter's own endpoint for the voters record: what
	// controller.quorum.voters or advertised.listeners say, else the controller
	// listener itself, whose Host may be empty and Port 0. Where there is none
	// it is 127.0.0.1:9093, which nothing listens on.
	Endpoint Listener
	// Static is set where controller.quorum.voters names the voters, as was
	// usual before Kafka 3.9.
	Static bool
}

// DefaultNodeID is the id of a node that has none.
const DefaultNodeID kafka.NodeID = 1

// NodeID gives node.id where it is configured. Otherwise it is the one in
// meta.properties, else DefaultNodeID.
func (n *Node) NodeID() (kafka.NodeID, bool) {
	for _, k := range []IntKey{NodeID, BrokerID} {
		if _, set := n.IsSet(string(k)); set {
			return kafka.NodeID(n.Int(k)), true
		}
	}
	return DefaultNodeID, false
}

// Listeners gives the broker's sockets in the order in which they were
// configured.
func (n *Node) Listeners() []Listener { return n.listeners }

// ControllerListeners gives the controller's sockets. A standalone node has
// none: link calls the controller in memory.
func (n *Node) ControllerListeners() []Listener { return n.controllers }

// InterBrokerListener gives the name of the listener that brokers use among
// themselves.
func (n *Node) InterBrokerListener() string { return n.interBroker }

// Quorum gives what the node knows of the controllers.
func (n *Node) Quorum() Quorum { return n.quorum }

// LogDirs gives the data directories.
func (n *Node) LogDirs() []string { return n.logDirs }

// MetadataLogDir gives the directory that holds __cluster_metadata-0.
func (n *Node) MetadataLogDir() string {
	metadata := n.Text(MetadataLogDir)
	if metadata == "" {
		return n.logDirs[0]
	}
	for _, d := range n.logDirs { // the same, as it is written there
		if filepath.Clean(d) == filepath.Clean(metadata) {
			return d
		}
	}
	return metadata
}

// Advertised gives the listeners that clients are told of. bound holds the
// port that each socket got, by listener name; hostname stands in for an empty
// host.
func (n *Node) Advertised(bound map[string]int, hostname string) []Listener {
	from := n.advertised
	if len(from) == 0 {
		from = n.listeners
	}
	out := make([]Listener, 0, len(from))
	for _, l := range from {
		if port, ok := bound[l.Name]; ok && l.Port == 0 {
			l.Port = port
		}
		if l.Host == "" {
			l.Host = hostname
		}
		out = append(out, l)
	}
	return out
}

const plaintext = "PLAINTEXT"

var securityProtocols = []string{plaintext, "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

var (
	listenerURI  = regexp.MustCompile(`^([^:]*)://(?:\[([0-9a-zA-Z:.%]*)\]|([^\[\]:/]*)):([0-9]+)$`)
	listenerName = regexp.MustCompile(`^[0-9A-Za-z_.\-]+$`)
)

// resolveListeners reads listeners, advertised.listeners and the names that
// point into them.
func (l *loader) resolveListeners() bool {
	n := l.node
	before := len(l.problems)
	protocols := l.protocolMap()
	controllerNames := upper(n.List(ControllerListenerNames))
	all := l.parseListeners(Listeners, protocols)
	if len(l.problems) > before {
		return false
	}
	l.checkPorts(all)
	for _, x := range all {
		if slices.Contains(controllerNames, x.Name) {
			n.controllers = append(n.controllers, x)
		} else {
			n.listeners = append(n.listeners, x)
		}
	}
	// Voters are written down under the first name, whatever the order of
	// the sockets.
	slices.SortStableFunc(n.controllers, func(a, b Listener) int {
		return slices.Index(controllerNames, a.Name) - slices.Index(controllerNames, b.Name)
	})
	if !n.standalone && len(n.controllers) == 0 {
		l.blame(string(Listeners), "must hold a listener that controller.listener.names names, %s, since process.roles has controller", strings.Join(controllerNames, ","))
	}
	for _, name := range controllerNames {
		if len(n.controllers) > 0 && !slices.Contains(listenerNames(n.controllers), name) {
			l.blame(string(ControllerListenerNames), "%s is not among listeners", name)
		}
	}
	if len(n.listeners) == 0 {
		l.blame(string(Listeners), "must hold a listener that controller.listener.names does not name, since process.roles has broker")
	}
	l.resolveAdvertised(protocols, controllerNames)
	l.resolveInterBroker(controllerNames)
	return len(l.problems) == before
}

// protocolMap reads listener.security.protocol.map. As in Kafka, controller
// listeners need no entry while the map is not set by hand.
func (l *loader) protocolMap() map[string]string {
	m := map[string]string{}
	for _, entry := range strings.Split(l.node.Text(ListenerSecurityProtocolMap), ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, protocol, ok := strings.Cut(entry, ":")
		protocol = strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || !slices.Contains(securityProtocols, protocol) {
			l.blame(string(ListenerSecurityProtocolMap), "%q is not NAME:PROTOCOL; protocols: %s", entry, strings.Join(securityProtocols, ", "))
			continue
		}
		m[strings.ToUpper(strings.TrimSpace(name))] = protocol
	}
	if !l.isSet(string(ListenerSecurityProtocolMap)) {
		for _, name := range upper(l.node.List(ControllerListenerNames)) {
			if _, ok := m[name]; !ok {
				m[name] = plaintext
			}
		}
	}
	return m
}

func (l *loader) parseListeners(key ListKey, protocols map[string]string) []Listener {
	var out []Listener
	seen := map[string]bool{}
	for _, text := range l.node.List(key) {
		x, err := parseListener(text)
		if err != nil {
			l.blame(string(key), "%v", err)
			continue
		}
		var known bool
		x.Protocol, known = protocols[x.Name]
		switch {
		case seen[x.Name]:
			l.blame(string(key), "the name %s stands twice; each listener needs its own", x.Name)
			continue
		case !known:
			l.blame(string(key), "%s has no security protocol; add %s:PLAINTEXT to listener.security.protocol.map", x.Name, x.Name)
			continue
		case x.Protocol != plaintext:
			l.blame(string(key), "%s uses %s, which is not built yet; allowed: PLAINTEXT", x.Name, x.Protocol)
			continue
		}
		seen[x.Name] = true
		out = append(out, x)
	}
	return out
}

// parseListener reads NAME://host:port.
func parseListener(text string) (Listener, error) {
	m := listenerURI.FindStringSubmatch(text)
	if m == nil {
		return Listener{}, fmt.Errorf("%q is not NAME://host:port", text)
	}
	if !listenerName.MatchString(m[1]) {
		return Listener{}, fmt.Errorf("%q in %q is not a name of letters, digits, dot, dash and underscore", m[1], text)
	}
	port, err := strconv.ParseUint(m[4], 10, 16)
	if err != nil {
		return Listener{}, fmt.Errorf("port %s of %q is not between 0 and 65535", m[4], text)
	}
	return Listener{Name: strings.ToUpper(m[1]), Host: m[2] + m[3], Port: int(port)}, nil
}

// checkPorts refuses two sockets on one port. As in Kafka, an IPv4 and an IPv6
// address may share one.
func (l *loader) checkPorts(all []Listener) {
	byPort := map[int]Listener{}
	for _, x := range all {
		if x.Port == 0 {
			continue
		}
		other, taken := byPort[x.Port]
		if taken && !(isIPv4(x.Host) && isIPv6(other.Host) || isIPv6(x.Host) && isIPv4(other.Host)) {
			l.blame(string(Listeners), "%s and %s have the same port %d; each listener needs its own", other.Name, x.Name, x.Port)
		}
		byPort[x.Port] = x
	}
}

func (l *loader) resolveAdvertised(protocols map[string]string, controllerNames []string) {
	n := l.node
	names := listenerNames(n.listeners)
	if !l.isSet(string(AdvertisedListeners)) {
		for _, x := range n.listeners {
			if isAny(x.Host) {
				l.blame(string(Listeners), "clients cannot be told of %s; set advertised.listeners to a name or address they can reach", x.Host)
			}
		}
		return
	}
	for _, x := range l.parseListeners(AdvertisedListeners, protocols) {
		switch {
		case isAny(x.Host):
			l.blame(string(AdvertisedListeners), "clients cannot be told of %s; give a name or address they can reach", x.Host)
		case slices.Contains(controllerNames, x.Name):
			l.voterEndpoints = append(l.voterEndpoints, x)
		case !slices.Contains(names, x.Name):
			l.blame(string(AdvertisedListeners), "%s is not among listeners: %s", x.Name, strings.Join(names, ", "))
		default:
			n.advertised = append(n.advertised, x)
		}
	}
	if len(n.advertised) == 0 {
		l.blame(string(AdvertisedListeners), "must hold at least one of the broker's listeners: %s", strings.Join(names, ", "))
	}
}

// resolveInterBroker names the listener among brokers. A standalone node takes
// its first; otherwise Kafka's rule holds, by which it is the one called like
// security.inter.broker.protocol.
func (l *loader) resolveInterBroker(controllerNames []string) {
	n := l.node
	names := listenerNames(n.listeners)
	if len(n.advertised) > 0 {
		names = listenerNames(n.advertised)
	}
	key := InterBrokerListenerName
	byName, byProtocol := l.isSet(string(InterBrokerListenerName)), l.isSet(string(SecurityInterBrokerProtocol))
	switch {
	case byName && byProtocol:
		l.blame(string(SecurityInterBrokerProtocol), "inter.broker.listener.name is set too, and only one of both may be")
		return
	case byName:
		n.interBroker = strings.ToUpper(n.Text(InterBrokerListenerName))
	case byProtocol || !n.standalone:
		key = SecurityInterBrokerProtocol
		n.interBroker = n.Text(SecurityInterBrokerProtocol)
	case len(names) > 0:
		n.interBroker = names[0]
	}
	switch {
	case slices.Contains(controllerNames, n.interBroker):
		l.blame(string(key), "%s is a listener of the controller", n.interBroker)
	case !slices.Contains(names, n.interBroker):
		l.blame(string(key), "%s is not an advertised listener of this broker; set inter.broker.listener.name to one of: %s", n.interBroker, strings.Join(names, ", "))
	}
}

func listenerNames(list []Listener) []string {
	var out []string
	for _, x := range list {
		out = append(out, x.Name)
	}
	return out
}

func upper(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.ToUpper(s)
	}
	return out
}

// splitListen reads a host:port to listen on; the host may be empty.
func splitListen(s string) (host string, err error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", errors.New("not host:port")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errors.New("the port is not between 0 and 65535")
	}
	return host, nil
}

// isLoopback reports whether only this machine reaches host. Names other than
// localhost may resolve to anything, so they do not count.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

func isAny(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}

func isIPv4(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Is4()
}

func isIPv6(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Is6()
}
