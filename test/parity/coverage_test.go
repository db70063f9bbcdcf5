// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// asked are the keys and versions of the well-formed requests that were sent by
// all tests; offered are those that gregor offers.
var asked, offered sync.Map

type versioned struct{ key, version int16 }

// notAsked are the offered versions without a request that is compared, and why.
var notAsked = map[versioned]string{
	{keyProduce, 0}: "offered for librdkafka, and refused on use", {keyProduce, 1}: "offered for librdkafka, and refused on use", {keyProduce, 2}: "offered for librdkafka, and refused on use",
}

// offers learns what gregor offers.
func (l *list) offers() {
	l.t.Helper()
	for _, s := range l.sites[1:] {
		ask := step{conn: "setup", build: func(*site) kmsg.Request { return &kmsg.ApiVersionsRequest{} }, then: func(_ *site, r kmsg.Response) {
			for _, api := range r.(*kmsg.ApiVersionsResponse).ApiKeys {
				for v := api.MinVersion; v <= api.MaxVersion; v++ {
					offered.Store(versioned{api.ApiKey, v}, true)
				}
			}
		}}
		ask.run(s)
	}
}

// TestMain fails when gregor offers a version of an API for which no test
// compares an answer. It looks only when all tests ran.
func TestMain(m *testing.M) {
	code := m.Run()
	if run := flag.Lookup("test.run"); code == 0 && (run == nil || run.Value.String() == "" || run.Value.String() == ".") {
		versions := 0
		offered.Range(func(k, _ any) bool {
			versions++
			if _, ok := asked.Load(k); !ok && notAsked[k.(versioned)] == "" {
				at := k.(versioned)
				fmt.Printf("%s v%d is offered, and no answer of it is compared with Apache Kafka's\n", kmsg.NameForKey(at.key), at.version)
				code = 1
			}
			return true
		})
		fmt.Printf("%d versions of APIs are offered\n", versions)
		if versions == 0 {
			code = 1
		}
		for at, why := range notAsked {
			if _, ok := asked.Load(at); ok && why != "" {
				fmt.Printf("%s v%d is compared, and said not to be: %s\n", kmsg.NameForKey(at.key), at.version, why)
				code = 1
			}
		}
	}
	os.Exit(code)
}
