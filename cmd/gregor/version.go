// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"gregor/cluster/controller"
	"gregor/cmd/gregor/kafkatools"
	"gregor/ops"
)

// build says what is running: the version by the linker, the rest by Go.
func build() ops.Build {
	b := ops.Build{Version: version, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	return b
}

// versionItem is what gregor version tells.
type versionItem struct {
	ops.Build
	Platform        string `json:"platform"`
	Kafka           string `json:"kafka"`           // the release of Apache Kafka that it behaves as
	MetadataVersion int16  `json:"metadataVersion"` // at which new clusters start
}

func versionOf(b ops.Build) versionItem {
	return versionItem{b, runtime.GOOS + "/" + runtime.GOARCH, kafkatools.KafkaVersion, controller.MetadataVersion44IV2}
}

func (v *versionItem) String() string {
	from := ""
	if v.Revision != "" {
		from = ", revision " + v.Revision
	}
	return fmt.Sprintf("gregor %s (%s, %s%s)\nApache Kafka %s, metadata.version %d\n", v.Version, v.Go, v.Platform, from, v.Kafka, v.MetadataVersion)
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    "Prints the version of gregor, what it was built from and with, and the release of Apache Kafka that it behaves as.",
		Args:    cobra.NoArgs,
		Example: "  gregor version\n  gregor version --json",
		RunE: func(c *cobra.Command, _ []string) error {
			v := versionOf(build())
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(v)
			}
			_, err := fmt.Fprint(c.OutOrStdout(), &v)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
