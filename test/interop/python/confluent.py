# SPDX-License-Identifier: Apache-2.0
"""confluent-kafka, librdkafka for Python, by the convention of convention.py."""

import sys

import confluent_kafka as ck
from confluent_kafka import admin as ckadmin

import convention as c


def code_of(error):
    if isinstance(error, c.Refused):
        return error.code
    if isinstance(error, ck.KafkaException):
        return error.args[0].code()
    return None


def describe():
    c.say(version=f"{ck.__version__}, librdkafka {ck.libversion()[0]}", codecs=["none", "gzip", "snappy", "lz4", "zstd"])


def produce():
    request = next(c.lines())
    producer = ck.Producer({
        "bootstrap.servers": request["bootstrap"], "compression.type": request["codec"],
        "enable.idempotence": request["idempotent"], "acks": "all" if request["idempotent"] else 1, "linger.ms": 20,
        "message.timeout.ms": c.DEADLINE_S * 1000,
    })
    offsets = [None] * len(request["records"])

    def delivered(i):
        def report(error, message):
            if error is not None:
                raise ck.KafkaException(error)
            offsets[i] = message.offset()
        return report

    for i, record in enumerate(request["records"]):
        partition, timestamp, key, value, headers = c.fields(record)
        producer.produce(request["topic"], value=value, key=key, partition=partition, timestamp=timestamp,
                         headers=headers, on_delivery=delivered(i))
    if left := producer.flush(c.DEADLINE_S):
        sys.exit(f"{left} records were not delivered")
    c.say(offsets=offsets)


def consumer(request, **more):
    return ck.Consumer({"bootstrap.servers": request["bootstrap"], "group.id": request.get("group", "not-used"),
                        "enable.auto.commit": False, "auto.offset.reset": "error", "check.crcs": True, **more})


def tell(message):
    c.record_line(message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers())


def consume():
    for request in c.lines():
        read(request)


def read(request):
    reader = consumer(request)
    parts = [ck.TopicPartition(request["topic"], p) for p in request["partitions"]]
    if "time" in request:
        for part in parts:
            part.offset = request["time"]
        parts = reader.offsets_for_times(parts, timeout=c.DEADLINE_S)
    else:
        for part in parts:
            part.offset = request.get("offset", ck.OFFSET_BEGINNING)
    reader.assign(parts)
    deadline, left = c.Deadline("consume"), request["count"]
    while left > 0:
        deadline.check()
        message = reader.poll(1)
        if message is None:
            continue
        if message.error():
            raise ck.KafkaException(message.error())
        tell(message)
        left -= 1
    reader.close()
    c.say(done=True)


class Administration:
    """The calls that confluent-kafka's AdminClient offers."""

    def __init__(self, bootstrap):
        self.client = ckadmin.AdminClient({"bootstrap.servers": bootstrap})

    @staticmethod
    def only(futures):
        return next(iter(futures.values())).result(c.DEADLINE_S)

    @staticmethod
    def resource(type, name, configs=None):
        return ckadmin.ConfigResource(ckadmin.ConfigResource.Type[type.upper()], name, set_config=configs)

    def create_topic(self, topic, partitions, replicas, configs, validate_only=False):
        new = ckadmin.NewTopic(topic, partitions, replicas, config=configs)
        self.only(self.client.create_topics([new], validate_only=validate_only))

    def delete_topic(self, topic):
        self.only(self.client.delete_topics([topic]))

    def list_topics(self):
        return sorted(self.client.list_topics(timeout=c.DEADLINE_S).topics)

    def describe_topic(self, topic):
        found = self.only(self.client.describe_topics(ck.TopicCollection([topic])))
        return [{"partition": p.id, "leader": p.leader.id, "replicas": [n.id for n in p.replicas], "isr": [n.id for n in p.isr]}
                for p in found.partitions]

    def create_partitions(self, topic, count):
        self.only(self.client.create_partitions([ckadmin.NewPartitions(topic, count)]))

    def describe_configs(self, type, name):
        found = self.only(self.client.describe_configs([self.resource(type, name)]))
        return {key: {"value": e.value, "default": e.is_default, "source": e.source} for key, e in found.items()}

    def alter_configs(self, type, name, configs):
        self.only(self.client.alter_configs([self.resource(type, name, configs)]))

    def incremental_alter_configs(self, type, name, operations):
        resource = self.resource(type, name)
        for o in operations:
            kind = ckadmin.AlterConfigOpType[o["operation"].upper()]
            resource.add_incremental_config(ckadmin.ConfigEntry(o["key"], o.get("value"), incremental_operation=kind))
        self.only(self.client.incremental_alter_configs([resource]))

    def delete_records(self, topic, partition, before):
        return self.only(self.client.delete_records([ck.TopicPartition(topic, partition, before)])).low_watermark

    def list_offsets(self, topic, partition, at):
        spec = getattr(ckadmin.OffsetSpec, at)() if isinstance(at, str) else ckadmin.OffsetSpec.for_timestamp(at)
        return self.only(self.client.list_offsets({ck.TopicPartition(topic, partition): spec})).offset

    def describe_cluster(self):
        found = self.client.describe_cluster().result(c.DEADLINE_S)
        return {"brokers": [n.id for n in found.nodes], "controller": found.controller.id, "cluster": found.cluster_id}

    def elect_leaders(self, topic, partition):
        part = ck.TopicPartition(topic, partition)
        found = self.client.elect_leaders(ck.ElectionType.PREFERRED, [part]).result(c.DEADLINE_S)
        if found[part] is not None:
            raise ck.KafkaException(found[part])

    def list_groups(self):
        return sorted(g.group_id for g in self.client.list_consumer_groups().result(c.DEADLINE_S).valid)

    def group_offsets(self, group):
        found = self.only(self.client.list_consumer_group_offsets([ck.ConsumerGroupTopicPartitions(group)]))
        return {f"{p.topic}-{p.partition}": p.offset for p in found.topic_partitions}

    def delete_group(self, group):
        self.only(self.client.delete_consumer_groups([group]))


def administer():
    c.administer(Administration(next(c.lines())["bootstrap"]), code_of)


def group():
    """A member of a group; commands of stdin are read between polls."""
    request = next(c.lines())
    more = {"group.protocol": "consumer"}
    if request["protocol"] != "consumer":
        more = {"session.timeout.ms": request["session_timeout_ms"], "heartbeat.interval.ms": c.HEARTBEAT_MS,
                "partition.assignment.strategy": {"classic": "range,roundrobin", "cooperative": "cooperative-sticky"}[request["protocol"]]}
    member = consumer(request, **{"auto.offset.reset": "earliest"}, **more)
    commands = c.Commands()

    def places(parts):
        return sorted([p.topic, p.partition] for p in parts)

    member.subscribe(request["topics"],
                     on_assign=lambda _, parts: c.say(assigned=places(parts)),
                     on_revoke=lambda _, parts: c.say(revoked=places(parts)),
                     on_lost=lambda _, parts: c.say(lost=places(parts)))
    while True:
        message = member.poll(0.1)
        if message is not None:
            if message.error():
                c.say(error={"code": message.error().code(), "text": str(message.error())})
            else:
                tell(message)
        match commands.next():
            case "commit":
                try:
                    done = member.commit(asynchronous=False)
                    c.say(committed={f"{p.topic}-{p.partition}": p.offset for p in done if p.offset >= 0})
                except ck.KafkaException as error:
                    c.say(error={"code": code_of(error), "text": str(error)})
            case "close":
                break
    member.close()
    c.say(done=True)


if __name__ == "__main__":
    c.main({"describe": describe, "produce": produce, "consume": consume, "admin": administer, "group": group})
