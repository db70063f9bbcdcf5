// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"gregor/cmd/gregor/reach"
)

// connection are the flags of every command that talks to a cluster.
type connection struct {
	servers string
	timeout time.Duration
}

const (
	serversVariable = "GREGOR_BOOTSTRAP_SERVER"
	serversDefault  = "localhost:9092"
)

func (n *connection) flags(c *cobra.Command) {
	c.PersistentFlags().StringVarP(&n.servers, "bootstrap-server", "b", "", "brokers to ask first, host:port,... (default $"+serversVariable+", else "+serversDefault+")")
	c.PersistentFlags().DurationVar(&n.timeout, "timeout", 10*time.Second, "how long to wait for a broker")
}

// addresses gives the brokers and the place that named them.
func (n *connection) addresses() (list []string, source string) {
	text, source := n.servers, "--bootstrap-server"
	if text == "" {
		text, source = os.Getenv(serversVariable), "$"+serversVariable
	}
	if text == "" {
		text, source = serversDefault, "the default"
	}
	for _, s := range strings.Split(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list, source
}

// dial makes a client and checks that a broker answers, so that a wrong
// address is told at once rather than after a minute of retries.
func (n *connection) dial(ctx context.Context, c *cobra.Command, opts ...kgo.Opt) (*kgo.Client, error) {
	servers, source := n.addresses()
	switch {
	case len(servers) == 0:
		return nil, usage("%s names no broker; want host:port,...", source)
	case n.timeout < timeoutMin:
		return nil, usage("--timeout %s: want %s or more", n.timeout, timeoutMin)
	}
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(servers...),
		kgo.ClientID("gregor-cli"),
		kgo.DialTimeout(n.timeout),
		kgo.RetryTimeout(n.timeout),
		kgo.RequestTimeoutOverhead(n.timeout),
	}, opts...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, &failure{exitUsage, err, nil}
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	if err := reach.Ping(ctx, client); err != nil {
		go client.Close() // it may wait for who does not answer
		if errors.Is(err, context.Canceled) {
			return nil, failed(err)
		}
		return nil, &failure{exitUnreachable,
			fmt.Errorf("cannot reach a broker at %s (from %s)\n%w", strings.Join(servers, ", "), source, cause(err)),
			[]string{"gregor start", c.CommandPath() + " -b host:port"}}
	}
	return client, nil
}

// timeoutMin is the shortest time that the client knows.
const timeoutMin = 100 * time.Millisecond

// cause takes the client's own words off an error of the network.
func cause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || strings.HasPrefix(err.Error(), "dial ") {
			return err
		}
		err = inner
	}
}

// interruptible ends the context at the first SIGINT or SIGTERM.
func interruptible(c *cobra.Command) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(c.Context(), stopSignals...)
}

// topicError adds what to do next to an error about a topic.
func topicError(topic string, err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return failed(fmt.Errorf("topic %q does not exist", topic), "gregor topic list", "gregor topic create "+topic)
	case errors.Is(err, kerr.TopicAlreadyExists):
		return failed(fmt.Errorf("topic %q exists already", topic), "gregor topic describe "+topic)
	}
	return failed(fmt.Errorf("topic %q: %w", topic, err))
}
