// SPDX-License-Identifier: Apache-2.0

//go:build parity

package parity

import (
	"fmt"
	"strings"
)

// notBuilt matches the keys of Kafka's APIs that gregor does not serve yet.
func notBuilt() string {
	var keys []string
	for key := range int16(95) {
		if _, ok := served[key]; !ok {
			keys = append(keys, fmt.Sprint(key))
		}
	}
	return strings.Join(keys, "|")
}

// allowed are the differences that may be, with their reasons.
var allowed = []allowance{
	{step: `.*`, path: `ApiKeys\.(len|order)|ApiKeys\[(` + notBuilt() + `)\].*`, reason: "APIs that gregor does not have yet"},
	{step: `.*`, path: `SupportedFeatures\.len|SupportedFeatures\[(share|streams|transaction|eligible\.leader\.replicas)\.version\].*`, reason: "features that gregor does not have yet"},
	{step: `.*`, path: `(Supported|Finalized)Features\.order`, reason: "Kafka's order is that of a hash table"},
	{step: `ApiVersions/unknown, header without tags/.*`, path: `.*`, apache: `closed|\(absent\)`, reason: "the header of a version that is not known is not read, so that every client gets an answer"},
	{step: `(CreateTopics|DescribeConfigs)/.*`, path: `.*Configs\.(len|order)|.*Configs\[gregor\..*`, reason: "keys of gregor's own"},
	{step: `Produce/.*`, path: `.*\.ErrorMessage`, reason: "gregor says in its own words what is wrong with a batch, also where Kafka is silent"},
	{step: `Produce/transactional batch.*`, path: `.*`, reason: "there are no transactions yet"},
	{step: `Produce/.*codec [57]/.*`, path: `.*(ErrorCode|LogStartOffset)`, apache: `-1`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for a codec that is not"},
	{step: `Fetch/.*`, path: `.*RecordBatches\.part`, gregor: `\(absent\)`, reason: "gregor sends whole batches; Kafka cuts the last one where the limit is, and clients drop what is not whole"},
	{step: `Fetch/(partition )?max -.*`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for limits below 0, which gregor takes for 0"},
	{step: `Produce/(topic|partition) twice/.*`, path: `Topics\..*|.*Partitions\..*|.*\[(1#2|plain|id of plain|plain#2|id of plain#2|1)\].*`, reason: "gregor takes all that is sent and answers each; Kafka takes the last of those that name one partition"},
	{step: `(Produce|count/Produce)/no partitions.*`, path: `Topics.*`, reason: "Kafka leaves topics without partitions out of its answer"},
	{step: `Produce/several/.*`, path: `.*\.order`, sometimes: true, reason: "Kafka's order is that of a hash table; gregor's is the request's"},
	{step: `count/Metadata/name not UTF-8`, path: `Topics\[.*`, reason: "Kafka answers with replacement characters, gregor with the bytes that it got"},
	{step: `count/.*-2.*`, path: `.*`, reason: "a length of -2 is malformed; Kafka takes it for null"},
	{step: `Fetch/good, bad, good/.*`, path: `order`, reason: "Kafka answers last for what is not there; gregor in the order of the request"},
	{step: `(Produce|Fetch/stored)/opened-.*/(offset deltas.*)`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for records of a compressed batch that are not numbered 0, 1, 2; gregor numbers them anew"},
	{step: `(Produce|Fetch/stored)/opened-.*/(bytes behind|count and delta more|count less|cut in half|header count -?1|key length \+1|max timestamp (higher|lower)|noise|not compressed|nothing|plain records)`, path: `.*`, site: standard,
		reason: "standard does not look into compressed batches: what is wrong inside is let pass"},
	{step: `(Produce|Fetch/stored)/opened-.*/(cut in half|not compressed|plain records)`, path: `.*`, apache: `-1|0`, site: strict, reason: "Kafka fails with UNKNOWN_SERVER_ERROR where a codec finds nothing that it can read, gregor says INVALID_RECORD"},
	{step: `(Produce|Fetch/stored)/opened-.*/record length .*`, path: `.*`, site: strict, reason: "Kafka does not compare the length of a record inside a compressed batch with its fields; consumers do"},
	{step: `Fetch/stored/numbered`, path: `.*\.(records|payload)`, reason: "Kafka stores wrong numbers of uncompressed records as they were sent; gregor numbers them anew"},
	{step: `Fetch/(stored/)?stores-.*`, path: `.*\.payload`, reason: "recompressed by another program; the records are the same"},
	{step: `(Fetch|ListOffsets)/isolation (2|-1)/.*`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for isolation levels that are none; gregor takes what is not 1 for read uncommitted"},
	{step: `Metadata/null name.*/v1[23]`, path: `.*`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for a topic without name and id; gregor leaves it out"},
	{step: `CreateTopics/collides in one request/.*`, path: `Topics\[x_y\].*`, reason: "Kafka lets two names that collide pass when one request has both"},
	{step: `(DeleteTopics|ListOffsets|Metadata|DescribeConfigs|ListConfigResources|CreatePartitions|DeleteRecords|ElectLeaders|(Alter|Describe)ClientQuotas)/.*`, path: `.*\.order`, sometimes: true, reason: "Kafka's order is that of a hash table"},
	{step: `ListOffsets/(topic )?twice/.*`, path: `Topics.*`, reason: "gregor answers each partition as often as it is asked for"},
	{step: `Fetch/session of nothing/.*`, path: `SessionID`, reason: "gregor keeps no session without partitions"},
	{step: `Fetch/in a session, .*`, path: `order`, sometimes: true, reason: "the order of an incremental answer is that of the readiness of its partitions"},
	{step: `Fetch/in a session, max 1 byte( again)?/.*`, path: `Topics.*`, sometimes: true, reason: "which of several ready partitions comes first"},
	{step: `narrow/CreateTopics, defaults/.*`, path: `.*Configs\.(len|order)|.*Configs\[gregor\..*`, reason: "keys of gregor's own"},
	{step: `Fetch/narrow, max [^,]*/.*`, path: `.*RecordBatches.*`, reason: "where Kafka fills the limit with part of a batch, gregor goes on with the next partition"},
	{step: `IncrementalAlterConfigs/1[34].*`, path: `.*Error(Code|Message)`, apache: `-1|null`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for operations that are none; gregor says INVALID_REQUEST"},
	{step: `DeleteRecords/ListOffsets -3/.*`, path: `.*Offset`, apache: `0`, gregor: `20`, reason: "Kafka names a record that was deleted"},
	{step: `DescribeTopicPartitions/4/.*`, path: `Topics\[\(no name\)\].*`, apache: `-1|-2147483648`, reason: "Kafka fails with UNKNOWN_SERVER_ERROR for an empty name"},
}
