// SPDX-License-Identifier: Apache-2.0

package kafkatools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/reach"
)

// properties are those of a client, as files and options give them.
type properties map[string]string

// readProperties reads a file of Java's properties; of its escapes only those
// that clients' files use.
func readProperties(path string) (properties, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p := properties{}
	text := strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\\\n", "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		at := strings.IndexAny(line, "=: \t")
		key, value := line, ""
		if at >= 0 {
			key, value = line[:at], strings.TrimLeft(strings.TrimSpace(line[at:]), "=: \t")
		}
		p[unescape(key)] = unescape(value)
	}
	return p, nil
}

var escapes = strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n", `\r`, "\r", `\f`, "\f", `\:`, ":", `\=`, "=", `\ `, " ", `\#`, "#")

func unescape(text string) string { return escapes.Replace(text) }

// assignments reads options of the form key=value.
func (p properties) assignments(option string, list []string) error {
	for _, text := range list {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return refuse("%s: %q is not key=value", option, text)
		}
		p[key] = value
	}
	return nil
}

// milliseconds is a property's value, or fallback.
func (p properties) milliseconds(key string, fallback time.Duration) (time.Duration, error) {
	text, ok := p[key]
	if !ok {
		return fallback, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms < 0 {
		return 0, fmt.Errorf("Invalid value %s for configuration %s", text, key)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// clientProperties reads --command-config, then the older names of a tool's
// options, then single properties, which count more.
func (o *given) clientProperties(files, singles []string) (properties, error) {
	p := properties{}
	for _, option := range files {
		if !o.has(option) {
			continue
		}
		read, err := readProperties(o.text(option))
		if err != nil {
			return nil, err
		}
		for key, value := range read {
			p[key] = value
		}
	}
	for _, option := range singles {
		if err := p.assignments("--"+option, o.list(option)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// dial makes a client and sees that a broker answers.
func (o *given) dial(ctx context.Context, p properties, opts ...kgo.Opt) (*kgo.Client, error) {
	if protocol := p["security.protocol"]; protocol != "" && protocol != "PLAINTEXT" {
		return nil, fmt.Errorf("security.protocol %s: this release connects by PLAINTEXT only", protocol)
	}
	timeout, err := p.milliseconds("default.api.timeout.ms", time.Minute)
	if err != nil {
		return nil, err
	}
	id := p["client.id"]
	if id == "" {
		id = "gregor-" + strings.TrimPrefix(o.tool.name, "kafka-")
	}
	servers, err := reach.Addresses(o.text("bootstrap-server"))
	switch {
	case err != nil:
		return nil, refuse("--bootstrap-server %s", err)
	case len(servers) == 0:
		return nil, refuse("--bootstrap-server names no broker")
	}
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(servers...), kgo.ClientID(id), kgo.RetryTimeout(timeout)}, opts...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := reach.Ping(ctx, client); err != nil {
		go client.Close() // it may wait for who does not answer
		return nil, fmt.Errorf("cannot reach a broker at %s: %w", strings.Join(servers, ", "), err)
	}
	return client, nil
}

// dialConsole makes the client of a console tool: its properties, whose older
// options are named after the kind of client, then the options that they and the
// tool's own come to.
func (o *given) dialConsole(ctx context.Context, kind string, options func(*given, properties) ([]kgo.Opt, error)) (*kgo.Client, error) {
	p, err := o.clientProperties([]string{"command-config", kind + ".config"}, []string{"command-property", kind + "-property"})
	if err != nil {
		return nil, err
	}
	opts, err := options(o, p)
	if err != nil {
		return nil, err
	}
	return o.dial(ctx, p, opts...)
}

// withAdmin runs f with a client for the tool's options.
func (o *given) withAdmin(ctx context.Context, f func(admin *kadm.Client, client *kgo.Client) error) error {
	p, err := o.clientProperties([]string{"command-config"}, nil)
	if err != nil {
		return err
	}
	client, err := o.dial(ctx, p)
	if err != nil {
		return err
	}
	defer client.Close()
	return f(kadm.NewClient(client), client)
}

// failure is an error code in the broker's words.
func failure(code error, message string) error {
	if message == "" {
		var e *kerr.Error
		if errors.As(code, &e) && e.Description != "" {
			return errors.New(e.Description)
		}
		return code
	}
	return errors.New(message)
}

// topicPattern reads a list of regular expressions as Kafka's tools do: the
// whole name must match, and a comma is an or.
func topicPattern(text string) (*regexp.Regexp, error) {
	text = strings.Trim(strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(text), ",", "|"), " ", ""), `"'`)
	pattern, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		return nil, fmt.Errorf("%s is an invalid regex.", text)
	}
	return pattern, nil
}

// topicOption is the pattern of --topic, nil without it. An empty one, as with a
// script's variable that is not set, matches nothing.
func (o *given) topicOption() (*regexp.Regexp, error) {
	if !o.has("topic") {
		return nil, nil
	}
	return topicPattern(o.text("topic"))
}

// topicNames lists the topics that a pattern matches, by name, and all without
// one.
func topicNames(ctx context.Context, admin *kadm.Client, match *regexp.Regexp, withInternal bool) ([]string, error) {
	all, err := admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for name, t := range all {
		if (match == nil || match.MatchString(name)) && (withInternal || !t.IsInternal) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
