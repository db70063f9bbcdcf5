// SPDX-License-Identifier: Apache-2.0

//go:build interop

package interop

import (
	"path/filepath"
	"testing"

	"gregor/test/interop/kafka"
)

// TestKafkaConfigsOfQuotas is what users do to client quotas with kafka-configs.
func TestKafkaConfigsOfQuotas(t *testing.T) {
	kafka.Need(t, "java", "mvn")
	n := startGregor(t, filepath.Join(t.TempDir(), "data"))
	const configs = "kafka.admin.ConfigCommand"
	runTools(t, n, []toolStep{
		{class: configs, options: "--alter --entity-type users --entity-name ann --entity-type clients --entity-default --add-config producer_byte_rate=1024,request_percentage=50.5", says: `Completed updating config for user ann\.`},
		{class: configs, options: "--alter --client app --add-config consumer_byte_rate=2048", says: `Completed updating config for client app\.`},
		{class: configs, options: "--alter --user-defaults --add-config controller_mutation_rate=10", says: `Completed updating default config for users in the cluster\.`},
		{class: configs, options: "--alter --ip 10.0.0.7 --add-config connection_creation_rate=10", says: `Completed updating config for ip 10\.0\.0\.7\.`},
		{class: configs, options: "--describe --entity-type users --entity-name ann --entity-type clients --entity-default", says: `^Quota configs for user-principal 'ann', the default client-id are producer_byte_rate=1024\.0, request_percentage=50\.5\n$`},
		{class: configs, options: "--describe --client app", says: `Quota configs for client-id 'app' are consumer_byte_rate=2048\.0`},
		{class: configs, options: "--describe --entity-type users", says: `^Quota configs for the default user-principal are controller_mutation_rate=10\.0\n$`},
		{class: configs, options: "--describe --user ann", says: nothing},
		{class: configs, options: "--describe --ip 10.0.0.7", says: `Quota configs for ip '10\.0\.0\.7' are connection_creation_rate=10\.0`},
		{class: configs, options: "--alter --client app --add-config consumer_byte_rate=-1", says: `Quota consumer_byte_rate must be greater than 0`},
		{class: configs, options: "--alter --client app --delete-config consumer_byte_rate", says: `Completed updating config for client app\.`},
		{class: configs, options: "--describe --client app", says: nothing},
	})
}
