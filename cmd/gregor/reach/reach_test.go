// SPDX-License-Identifier: Apache-2.0

package reach

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A port that takes connections and says nothing is left when the time is up or
// a signal comes.
func TestPingOfSilentPort(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(mute.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { go client.Close() }()
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := Ping(short, client); !errors.Is(err, errSilent) {
		t.Errorf("time is up: %v", err)
	}
	signalled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := Ping(signalled, client); !errors.Is(err, context.Canceled) {
		t.Errorf("a signal: %v", err)
	}
	none, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if err := Ping(t.Context(), none); err == nil || errors.Is(err, errSilent) {
		t.Errorf("no port: %v", err)
	}
}
