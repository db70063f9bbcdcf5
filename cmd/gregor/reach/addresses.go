// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// portDefault is the one of an address that names none.
const portDefault = "9092"

// scheme is the name of a security protocol, or of anything, before an address:
// Kafka's clients take it and pass it over.
var scheme = regexp.MustCompile(`^[0-9A-Za-z%._-]*://`)

// Addresses reads a list of brokers, host:port,... as Kafka's clients do. The
// port may be missing.
func Addresses(text string) ([]string, error) {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		address, err := address(scheme.ReplaceAllString(part, ""))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", part, err)
		}
		list = append(list, address)
	}
	return list, nil
}

func address(text string) (string, error) {
	bare := text
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		bare = text[1 : len(text)-1]
	}
	if ip, err := netip.ParseAddr(bare); err == nil && ip.Is6() {
		// Without brackets 1::2:9092 is an address, and hardly meant as one.
		before, port, _ := cutLast(bare, ":")
		if n, wrong := strconv.ParseUint(port, 10, 16); wrong == nil && n > 0 && bare == text && isIP(before) {
			return "", fmt.Errorf("write [%s]:%s, or [%s] without a port", before, port, bare)
		}
		return net.JoinHostPort(bare, portDefault), nil
	}
	if !strings.Contains(text, ":") {
		return text, nil
	}
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", fmt.Errorf("want host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("a port is a number from 1 to 65535")
	}
	return text, nil
}

func isIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}
