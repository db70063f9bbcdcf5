// SPDX-License-Identifier: Apache-2.0

package config

import (
	"testing"

	"gregor/base/kafka"
)

// Codes and texts are what Apache Kafka 4.4.0 answered.
func TestClientMetrics(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
		code   kafka.Code
	}{
		{[]string{"interval.ms=1000", "metrics=a,b", "match=client_id=x"}, "", kafka.None},
		{[]string{"interval.ms=1"}, "Invalid value 1 for interval.ms, interval must be between 100 and 3600000 (1 hour)", kafka.InvalidRequest},
		{[]string{"nope=1"}, "Unknown client metrics configuration: nope", kafka.InvalidRequest},
		{[]string{"match=nope=x"}, "Illegal client matching pattern: nope=x", kafka.InvalidConfig},
		{[]string{"match=client_id"}, "Illegal client matching pattern: client_id", kafka.InvalidConfig},
		{[]string{"match=client_id=("}, "Illegal client matching pattern: client_id=(", kafka.InvalidConfig},
		{[]string{"match=client_id=a.*,client_software_name=b"}, "", kafka.None},
		{[]string{"interval.ms=x"}, "Invalid value x for configuration interval.ms: Not a number of type INT", kafka.InvalidConfig},
		{nil, "", kafka.None},
	} {
		err := ValidateClientMetrics(pairs(c.values))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if code, _ := kafka.CodeOf(err); got != c.want || err != nil && code != c.code {
			t.Errorf("%v: %q, %v", c.values, got, code)
		}
	}
	match, err := parseClientMatch("client_id=ab?")
	if err != nil || !match["client_id"].MatchString("a") || match["client_id"].MatchString("xab") {
		t.Errorf("%v, %v", match, err)
	}
	list := DescribeClientMetrics(pairs([]string{"interval.ms=1000", "match=client_id=x"}))
	for _, c := range []struct{ name, want string }{
		{"interval.ms", "1000 interval.ms=1000@7"}, {"match", "client_id=x match=client_id=x@7"}, {"metrics", ""},
	} {
		if got := told(entry(t, list, c.name)); got != c.want {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}
