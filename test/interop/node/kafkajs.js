// SPDX-License-Identifier: Apache-2.0

// kafkajs, by the convention of convention.js. It reads only as a member of a
// group, and has no incremental changes of configurations.
'use strict';

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require('kafkajs');
const { version } = require('kafkajs/package.json');
const snappy = require('kafkajs-snappy');
const lz4 = require('lz4-napi');
const zstd = require('@bokuweb/zstd-wasm');
const c = require('./convention.js');

CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});
const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
};

let initialized = null; // once: a second time breaks what uses the first

const connectTo = async (request) => {
  initialized ??= zstd.init();
  await initialized;
  return new Kafka({ clientId: 'interop', brokers: [request.bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 2 }, connectionTimeout: c.DEADLINE_MS });
};

// It answers the group, and leaves it, only between two fetches.
const maxWaitTimeInMs = 500;

const describe = async () => c.say({ version, codecs: Object.keys(codecs) });

const produce = async () => {
  const request = await c.next();
  const done = c.deadline('produce');
  const kafka = await connectTo(request);
  const producer = kafka.producer({ idempotent: request.idempotent, maxInFlightRequests: request.idempotent ? 1 : 5 });
  await producer.connect();
  const offsets = [];
  const step = 200; // so many records in a send, so that a partition gets several batches
  for (let from = 0; from < request.records.length; from += step) {
    const records = request.records.slice(from, from + step);
    const sent = await producer.send({
      topic: request.topic, compression: codecs[request.codec], acks: request.idempotent ? -1 : 1,
      messages: records.map((r) => ({
        partition: r.partition, timestamp: String(r.timestamp), key: c.toBytes(r.key), value: c.toBytes(r.value),
        headers: Object.fromEntries(r.headers.map(([name, content]) => [name, c.toBytes(content)])),
      })),
    });
    offsets.push(...c.offsetsOf(records, sent.map((s) => [s.partition, Number(s.baseOffset)])));
  }
  await producer.disconnect();
  done();
  c.say({ offsets });
};

const tell = (partition, message) => {
  const headers = Object.entries(message.headers || {}).flatMap(([name, content]) =>
    Array.isArray(content) ? content.map((one) => [name, one]) : [[name, content]]);
  c.recordLine(partition, message.offset, message.timestamp, message.key, message.value, headers);
};

const consume = async () => {
  for (let request = await c.next(); request !== null; request = await c.next()) await read(request);
};

// read reads as the only member of a group and seeks to what was asked for.
const read = async (request) => {
  const done = c.deadline('consume');
  const kafka = await connectTo(request);
  const from = new Map();
  if ('time' in request) {
    const admin = kafka.admin();
    await admin.connect();
    for (const at of await admin.fetchTopicOffsetsByTimestamp(request.topic, request.time)) from.set(at.partition, at.offset);
    await admin.disconnect();
  }
  const reader = kafka.consumer({ groupId: request.group, maxWaitTimeInMs });
  await reader.connect();
  await reader.subscribe({ topics: [request.topic], fromBeginning: true });
  let left = request.count;
  const enough = new Promise((resolve) => {
    reader.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (left <= 0 || !request.partitions.includes(partition)) return;
        if (Number(message.offset) < Number(from.get(partition) ?? request.offset ?? 0)) return;
        tell(partition, message);
        if (--left === 0) resolve();
      },
    });
  });
  for (const partition of request.partitions) {
    const offset = from.get(partition) ?? request.offset;
    if (offset !== undefined) reader.seek({ topic: request.topic, partition, offset: String(offset) });
  }
  if (left > 0) await enough;
  await reader.disconnect();
  done();
  c.say({ done: true });
};

const types = { topic: ConfigResourceTypes.TOPIC, broker: ConfigResourceTypes.BROKER };

// calls are what kafkajs' admin client offers.
const calls = (admin) => ({
  create_topic: async ({ topic, partitions, replicas, configs, validate_only: validateOnly = false }) => {
    const created = await admin.createTopics({
      validateOnly, waitForLeaders: !validateOnly,
      topics: [{ topic, numPartitions: partitions, replicationFactor: replicas,
        configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })) }],
    });
    if (!created) throw new c.Refused(36, 'createTopics returned false: the topic exists');
  },
  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),
  list_topics: async () => (await admin.listTopics()).sort(),
  describe_topic: async ({ topic }) => {
    const found = await admin.fetchTopicMetadata({ topics: [topic] });
    return found.topics[0].partitions
      .map((p) => ({ partition: p.partitionId, leader: p.leader, replicas: p.replicas, isr: p.isr }))
      .sort((a, b) => a.partition - b.partition);
  },
  create_partitions: async ({ topic, count }) => {
    await admin.createPartitions({ topicPartitions: [{ topic, count }] });
  },
  describe_configs: async ({ type, name }) => {
    const found = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: types[type], name }] });
    return Object.fromEntries(found.resources[0].configEntries.map((e) =>
      [e.configName, { value: e.configValue, default: e.isDefault ?? e.configSource === 5, source: e.configSource }]));
  },
  alter_configs: async ({ type, name, configs }) => {
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: types[type], name,
      configEntries: Object.entries(configs).map(([key, value]) => ({ name: key, value })) }] });
  },
  delete_records: async ({ topic, partition, before }) => {
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] });
    const ends = await admin.fetchTopicOffsets(topic); // the call itself returns nothing
    return Number(ends.find((e) => e.partition === partition).low);
  },
  list_offsets: async ({ topic, partition, at }) => {
    if (typeof at === 'number') {
      const found = await admin.fetchTopicOffsetsByTimestamp(topic, at);
      return Number(found.find((e) => e.partition === partition).offset);
    }
    const side = { earliest: 'low', latest: 'high' }[at];
    if (!side) throw new c.Lacks();
    return Number((await admin.fetchTopicOffsets(topic)).find((e) => e.partition === partition)[side]);
  },
  describe_cluster: async () => {
    const found = await admin.describeCluster();
    return { brokers: found.brokers.map((b) => b.nodeId), controller: found.controller, cluster: found.clusterId };
  },
  list_reassignments: async () => (await admin.listPartitionReassignments({})).topics.length,
  list_groups: async () => (await admin.listGroups()).groups.map((g) => g.groupId).sort(),
  group_offsets: async ({ group }) => {
    const found = await admin.fetchOffsets({ groupId: group });
    return Object.fromEntries(found.flatMap((t) => t.partitions.map((p) => [`${t.topic}-${p.partition}`, Number(p.offset)])));
  },
  delete_group: async ({ group }) => {
    await admin.deleteGroups([group]);
  },
});

const admin = async () => {
  const kafka = await connectTo(await c.next());
  const client = kafka.admin();
  await client.connect();
  await c.administer(calls(client));
  await client.disconnect();
};

// group is a member of a group that does what stdin says.
const group = async () => {
  const request = await c.next();
  if (request.protocol !== 'classic') return c.say({ lacks: true });
  const kafka = await connectTo(request);
  const member = kafka.consumer({ groupId: request.group, sessionTimeout: request.session_timeout_ms, rebalanceTimeout: c.DEADLINE_MS, heartbeatInterval: c.HEARTBEAT_MS, maxWaitTimeInMs });
  const position = new Map(); // place -> offset of the next record
  member.on(member.events.GROUP_JOIN, ({ payload }) => {
    position.clear();
    c.say({ assigned: Object.entries(payload.memberAssignment).flatMap(([topic, parts]) => parts.map((p) => [topic, p])).sort() });
  });
  member.on(member.events.REBALANCING, () => c.say({ revoked: [] }));
  await member.connect();
  await member.subscribe({ topics: request.topics, fromBeginning: true });
  await member.run({
    autoCommit: false,
    eachMessage: async ({ topic, partition, message }) => {
      tell(partition, message);
      position.set(JSON.stringify([topic, partition]), String(Number(message.offset) + 1));
    },
  });
  for (let command = await c.next(); command !== null && command.do !== 'close'; command = await c.next()) {
    if (command.do !== 'commit') continue;
    const at = [...position].map(([place, offset]) => [...JSON.parse(place), offset]);
    try {
      await member.commitOffsets(at.map(([topic, partition, offset]) => ({ topic, partition, offset })));
      c.say({ committed: Object.fromEntries(at.map(([topic, partition, offset]) => [`${topic}-${partition}`, Number(offset)])) });
    } catch (error) {
      c.say({ error: { code: c.codeOf(error), text: String(error) } });
    }
  }
  await member.disconnect();
  c.say({ done: true });
};

c.main({ describe, produce, consume, admin, group });
