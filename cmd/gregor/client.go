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

// addresses gives the brokers and the place that named them. An empty flag is a
// variable that is not set: the default could be another cluster.
func (n *connection) addresses(c *cobra.Command) (list []string, source string, err error) {
	text, source := n.servers, "--bootstrap-server"
	given := c.Flags().Changed("bootstrap-server")
	if text == "" && !given {
		text, source = os.Getenv(serversVariable), "$"+serversVariable
	}
	if text == "" && !given {
		text, source = serversDefault, "the default"
	}
	switch list, err = reach.Addresses(text); {
	case err != nil:
		return nil, source, usage("%s %w", source, err)
	case len(list) == 0:
		return nil, source, usage("%s names no broker; want host:port,...", source)
	}
	return list, source, nil
}

// dial makes a client and checks that a broker answers, so that a wrong
// address is told at once rather than after a minute of retries.
func (n *connection) dial(ctx context.Context, c *cobra.Command, opts ...kgo.Opt) (*kgo.Client, error) {
	servers, source, err := n.addresses(c)
	switch {
	case err != nil:
		return nil, err
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
