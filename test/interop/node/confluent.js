// SPDX-License-Identifier: Apache-2.0

// @confluentinc/kafka-javascript, librdkafka for Node, by the convention of
// convention.js: its KafkaJS face for what that has, the other one for reading
// assigned partitions and for the rest of the admin calls.
'use strict';

const rdkafka = require('@confluentinc/kafka-javascript');
const { version } = require('@confluentinc/kafka-javascript/package.json');
const c = require('./convention.js');

const { Kafka, logLevel } = rdkafka.KafkaJS;

// built are the codecs that this build of librdkafka has.
const built = ['none', ...['gzip', 'snappy', 'lz4', 'zstd'].filter((codec) => rdkafka.features.includes(codec))];

const connectTo = (request) => new Kafka({ kafkaJS: { brokers: [request.bootstrap], logLevel: logLevel.NOTHING } });

const describe = async () => c.say({ version: `${version}, librdkafka ${rdkafka.librdkafkaVersion}`, codecs: built });

const produce = async () => {
  const request = await c.next();
  const done = c.deadline('produce');
  const producer = connectTo(request).producer({
    kafkaJS: { idempotent: request.idempotent, acks: request.idempotent ? -1 : 1, compression: request.codec },
    'linger.ms': 20,
  });
  await producer.connect();
  const sent = await producer.send({
    topic: request.topic,
    messages: request.records.map((r) => ({
      partition: r.partition, timestamp: String(r.timestamp), key: c.toBytes(r.key), value: c.toBytes(r.value),
      headers: Object.fromEntries(r.headers.map(([name, content]) => [name, c.toBytes(content)])),
    })),
  });
  await producer.disconnect();
  done();
  c.say({ offsets: c.offsetsOf(request.records, sent.map((s) => [s.partition, Number(s.baseOffset)])) });
};

// promise makes one of a function whose last argument is a callback.
const promise = (call) => new Promise((resolve, reject) => call((error, result) => (error ? reject(error) : resolve(result))));

const tell = (m) => {
  const headers = (m.headers || []).flatMap((header) => Object.entries(header));
  c.recordLine(m.partition, m.offset, m.timestamp, m.key, m.value, headers);
};

const consume = async () => {
  for (let request = await c.next(); request !== null; request = await c.next()) await read(request);
};

const read = async (request) => {
  const done = c.deadline('consume');
  const reader = new rdkafka.KafkaConsumer(
    { 'metadata.broker.list': request.bootstrap, 'group.id': request.group ?? 'not-used', 'enable.auto.commit': false, 'check.crcs': true },
    { 'auto.offset.reset': 'error' });
  await promise((cb) => reader.connect({ timeout: c.DEADLINE_MS }, cb));
  let places = request.partitions.map((partition) => ({ topic: request.topic, partition, offset: request.offset ?? -2 }));
  if ('time' in request) {
    places = await promise((cb) => reader.offsetsForTimes(places.map((p) => ({ ...p, offset: request.time })), c.DEADLINE_MS, cb));
  }
  reader.assign(places);
  reader.setDefaultConsumeTimeout(500);
  for (let left = request.count; left > 0;) {
    for (const message of await promise((cb) => reader.consume(Math.min(left, 1000), cb))) {
      tell(message);
      left--;
    }
  }
  await promise((cb) => reader.disconnect(cb));
  done();
  c.say({ done: true });
};

// calls are what the two admin faces offer; there is no change of configurations.
const calls = (admin, plain) => ({
  create_topic: async ({ topic, partitions, replicas, configs, validate_only: validateOnly = false }) => {
    if (validateOnly) throw new c.Lacks();
    await promise((cb) => plain.createTopic({ topic, num_partitions: partitions, replication_factor: replicas, config: configs }, c.DEADLINE_MS, cb));
  },
  delete_topic: ({ topic }) => promise((cb) => plain.deleteTopic(topic, c.DEADLINE_MS, cb)),
  list_topics: async () => (await admin.listTopics()).sort(),
  describe_topic: async ({ topic }) => {
    const found = await admin.fetchTopicMetadata({ topics: [topic] });
    return found[0].partitions
      .map((p) => ({ partition: p.partitionId, leader: p.leader, replicas: p.replicas, isr: p.isr }))
      .sort((a, b) => a.partition - b.partition);
  },
  create_partitions: ({ topic, count }) => promise((cb) => plain.createPartitions(topic, count, c.DEADLINE_MS, cb)),
  delete_records: async ({ topic, partition, before }) => {
    const found = await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] });
    if (found[0].error) throw new c.Refused(found[0].error.code, found[0].error.message);
    return found[0].lowWatermark;
  },
  list_offsets: async ({ topic, partition, at }) => {
    const spec = typeof at === 'number' ? new rdkafka.AdminClient.OffsetSpec(at) : rdkafka.AdminClient.OffsetSpec[at.toUpperCase()];
    return Number((await promise((cb) => plain.listOffsets([{ topic, partition, offset: spec }], {}, cb)))[0].offset);
  },
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
  const request = await c.next();
  const client = connectTo(request).admin();
  await client.connect();
  const plain = rdkafka.AdminClient.create({ 'metadata.broker.list': request.bootstrap });
  await c.administer(calls(client, plain));
  plain.disconnect();
  await client.disconnect();
};

// group is a member of a group that does what stdin says.
const group = async () => {
  const request = await c.next();
  const eager = request.protocol === 'classic';
  const places = (parts) => parts.map((p) => [p.topic, p.partition]).sort();
  const member = new rdkafka.KafkaConsumer({
    'metadata.broker.list': request.bootstrap, 'group.id': request.group, 'enable.auto.commit': false,
    ...(request.protocol === 'consumer' ? { 'group.protocol': 'consumer' } : {
      'session.timeout.ms': request.session_timeout_ms, 'heartbeat.interval.ms': c.HEARTBEAT_MS,
      'partition.assignment.strategy': eager ? 'range,roundrobin' : 'cooperative-sticky',
    }),
    rebalance_cb: (error, parts) => {
      if (error.code === rdkafka.CODES.ERRORS.ERR__ASSIGN_PARTITIONS) {
        c.say({ assigned: places(parts) });
        if (eager) member.assign(parts); else member.incrementalAssign(parts);
      } else {
        c.say({ revoked: places(parts) });
        if (eager) member.unassign(); else member.incrementalUnassign(parts);
      }
    },
  }, { 'auto.offset.reset': 'earliest' });
  await promise((cb) => member.connect({ timeout: c.DEADLINE_MS }, cb));
  member.subscribe(request.topics);
  member.setDefaultConsumeTimeout(100);
  let waiting = null;
  (async () => {
    for (;;) {
      const line = await c.next();
      waiting = line === null ? 'close' : line.do;
      if (waiting === 'close') return;
    }
  })();
  for (let open = true; open;) {
    for (const message of await promise((cb) => member.consume(500, cb))) tell(message);
    const command = waiting;
    waiting = null;
    if (command === 'close') open = false;
    if (command === 'commit') {
      try {
        member.commitSync();
        const at = await promise((cb) => member.committed(null, c.DEADLINE_MS, cb));
        c.say({ committed: Object.fromEntries(at.filter((p) => p.offset >= 0).map((p) => [`${p.topic}-${p.partition}`, p.offset])) });
      } catch (error) {
        c.say({ error: { code: c.codeOf(error), text: String(error) } });
      }
    }
  }
  await promise((cb) => member.disconnect(cb));
  c.say({ done: true });
};

c.main({ describe, produce, consume, admin, group });
