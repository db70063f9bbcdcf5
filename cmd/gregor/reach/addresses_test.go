// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"a:1": "a:1", " a:1 ,, b:2,": "a:1 b:2", "a": "a", "": "", ",": "", "127.0.0.1:9092": "127.0.0.1:9092",
		"PLAINTEXT://a:1,SASL_SSL://b:2": "a:1 b:2", "http://a:1": "a:1", "://a:1": "a:1",
		"[::1]:1": "[::1]:1", "::1": "[::1]:9092", "[::1]": "[::1]:9092", "2001:db8::1": "[2001:db8::1]:9092", "[fe80::1%lo]:1": "[fe80::1%lo]:1",
		"PLAINTEXT://[::1]:1": "[::1]:1", "[1::2:9092]": "[1::2:9092]:9092",
		"::1:9092":  "error: ::1:9092: write [::1]:9092, or [::1:9092] without a port",
		"a:b":       "error: a:b: a port is a number from 1 to 65535",
		"x,a:65536": "error: a:65536: a port is a number from 1 to 65535",
		"a:0":       "error: a:0: a port is a number from 1 to 65535",
		"a:":        "error: a:: a port is a number from 1 to 65535",
		"a:1:2":     "error: a:1:2: want host:port",
		"[::1:1":    "error: [::1:1: want host:port",
	} {
		list, err := Addresses(text)
		got := strings.Join(list, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
