#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes the fixture directories beside this script with Apache Kafka 4.4.0.
# KAFKA_LIB names a folder with its jars (kafka_2.13 and all it needs); kcat
# creates the topics.
#
#   formatted  what the format tool leaves: a cluster that has never run
#   dynamic    a dynamic quorum of one, run, with topics and a checkpoint of its own
#   static     a static quorum of one (controller.quorum.voters), run, with a topic
#   pair       voter 1 of a dynamic quorum of two, run
set -eu
cd "$(dirname "$0")"
here=$PWD
lib=${KAFKA_LIB:?KAFKA_LIB is not set}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cluster=gregorFixtureAAAAAAAAA

cat >"$work/log4j2.yaml" <<YAML
Configuration:
  Loggers:
    Root:
      level: WARN
YAML

jvm() {
	java -Xmx300m -XX:+UseSerialGC -Dlog4j2.configurationFile="$work/log4j2.yaml" -cp "$lib/*" "$@"
}

# properties NODE ROLES QUORUM: the configuration of one node.
properties() {
	cat >"$work/$1.properties" <<PROPS
node.id=$1
process.roles=$2
$3
listeners=$4
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=$work/data-$1
metadata.log.max.record.bytes.between.snapshots=${5:-20971520}
offsets.topic.replication.factor=1
metadata.max.idle.interval.ms=0
num.partitions=2
PROPS
}

format() {
	node=$1
	shift
	jvm kafka.tools.StorageTool format -t "$cluster" -c "$work/$node.properties" "$@" >/dev/null 2>&1 ||
		jvm org.apache.kafka.tools.StorageTool format -t "$cluster" -c "$work/$node.properties" "$@"
}

start() {
	java -Xmx300m -XX:+UseSerialGC -Dlog4j2.configurationFile="$work/log4j2.yaml" -cp "$lib/*" kafka.Kafka "$work/$1.properties" >"$work/$1.log" 2>&1 &
	eval "pid_$1=$!"
}

stop() {
	eval "pid=\$pid_$1"
	kill "$pid"
	wait "$pid" || true # it ends by the signal
}

# topics NAME...: writing to a topic creates it.
topics() {
	until kcat -b 127.0.0.1:19092 -L >/dev/null 2>&1; do sleep 1; done
	for t in "$@"; do
		echo one | kcat -P -b 127.0.0.1:19092 -t "$t"
	done
}

keep() {
	rm -rf "${here:?}/$1"
	mkdir -p "$here/$1/__cluster_metadata-0"
	cp "$work/data-1/meta.properties" "$here/$1/"
	cd "$work/data-1/__cluster_metadata-0"
	for f in *.log *.checkpoint quorum-state leader-epoch-checkpoint; do
		[ -e "$f" ] && cp "$f" "$here/$1/__cluster_metadata-0/"
	done
	cd "$here"
	chmod -R u+w "$here/$1"
	rm -rf "$work"/data-*
}

both=PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093
seed=controller.quorum.bootstrap.servers=127.0.0.1:19093

properties 1 broker,controller $seed $both
format 1 --standalone
keep formatted

properties 1 broker,controller $seed $both 700
format 1 --standalone
start 1
topics one two
stop 1
start 1
topics three
stop 1
keep dynamic

properties 1 broker,controller controller.quorum.voters=1@127.0.0.1:19093 $both
format 1
start 1
topics one
stop 1
keep static

pair="1@127.0.0.1:19093:AQAAAAAAQACAAAAAAAAAAQ,2@127.0.0.1:19094:AgAAAAAAQACAAAAAAAAAAg"
properties 1 controller controller.quorum.bootstrap.servers=127.0.0.1:19093,127.0.0.1:19094 CONTROLLER://127.0.0.1:19093
properties 2 controller controller.quorum.bootstrap.servers=127.0.0.1:19093,127.0.0.1:19094 CONTROLLER://127.0.0.1:19094
format 1 --initial-controllers "$pair"
format 2 --initial-controllers "$pair"
start 1
start 2
sleep 12
stop 2
stop 1
keep pair
