// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"testing"
)

func TestHints(t *testing.T) {
	for key, want := range map[string]string{
		"retension.ms": "did you mean retention.ms?", "log.retension.ms": "did you mean log.retention.ms?",
		"zookeeper.connect": gone["zookeeper.connect"], "banana": "", "cleanup.polcy": "did you mean cleanup.policy?",
	} {
		if got := Hint(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	for key, want := range map[string]bool{"listeners": true, "num.partitions": true, "message.max.bytes": false, "cordoned.log.dirs": false} {
		if got := NeedsRestart(key); got != want {
			t.Errorf("%s needs a restart: %v", key, got)
		}
	}
	if got := BrokerKeys("retention.ms"); !slices.Equal(got, []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"}) {
		t.Error(got)
	}
	if got := TopicKeys("log.roll.hours"); !slices.Equal(got, []string{"segment.ms"}) {
		t.Error(got)
	}
}
