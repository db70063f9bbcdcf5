# SPDX-License-Identifier: Apache-2.0
"""aiokafka, by the convention of convention.py."""

import asyncio

import aiokafka
import aiokafka.codec as codec
import aiokafka.errors
from aiokafka import admin as aadmin
from aiokafka.admin.config_resource import ConfigResource

import convention as c


def code_of(error):
    if isinstance(error, c.Refused):
        return error.code
    return getattr(error, "errno", None)


def describe():
    available = {"gzip": codec.has_gzip(), "snappy": codec.has_snappy(), "lz4": codec.has_lz4(), "zstd": codec.has_zstd()}
    c.say(version=aiokafka.__version__, codecs=["none"] + [name for name, here in available.items() if here])


async def produce():
    request = next(c.lines())
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=request["bootstrap"], compression_type=None if request["codec"] == "none" else request["codec"],
        enable_idempotence=request["idempotent"], acks="all" if request["idempotent"] else 1, linger_ms=20)
    await producer.start()
    sent = []
    for record in request["records"]:
        partition, timestamp, key, value, headers = c.fields(record)
        sent.append(await producer.send(request["topic"], value=value, key=key, partition=partition, timestamp_ms=timestamp, headers=headers))
    done = await asyncio.wait_for(asyncio.gather(*sent), c.DEADLINE_S)
    await producer.stop()
    c.say(offsets=[at.offset for at in done])


def tell(record):
    c.record_line(record.partition, record.offset, record.timestamp, record.key, record.value, record.headers)


async def consume():
    for request in c.lines():
        await read(request)


async def read(request):
    reader = aiokafka.AIOKafkaConsumer(bootstrap_servers=request["bootstrap"], group_id=None, auto_offset_reset="none", check_crcs=True)
    await reader.start()
    parts = [aiokafka.TopicPartition(request["topic"], p) for p in request["partitions"]]
    reader.assign(parts)
    if "time" in request:
        for part, found in (await reader.offsets_for_times({part: request["time"] for part in parts})).items():
            if found is None:
                await reader.seek_to_end(part)
            else:
                reader.seek(part, found.offset)
    elif "offset" in request:
        for part in parts:
            reader.seek(part, request["offset"])
    else:
        await reader.seek_to_beginning(*parts)
    deadline, left = c.Deadline("consume"), request["count"]
    while left > 0:
        deadline.check()
        for records in (await reader.getmany(timeout_ms=1000)).values():
            for record in records:
                tell(record)
                left -= 1
    await reader.stop()
    c.say(done=True)


def refuse(code, text=""):
    if code:
        raise c.Refused(code, text or "")


class Administration:
    """The calls that aiokafka's AIOKafkaAdminClient offers."""

    def __init__(self, bootstrap):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.bootstrap = bootstrap
        self.client = self.run(self.start())

    async def start(self):
        client = aadmin.AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await client.start()
        return client

    def run(self, coroutine):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, c.DEADLINE_S))

    def create_topic(self, topic, partitions, replicas, configs, validate_only=False):
        new = aadmin.NewTopic(topic, partitions, replicas, topic_configs=configs)
        found = self.run(self.client.create_topics([new], validate_only=validate_only))
        refuse(found.topic_errors[0][1], found.topic_errors[0][2])

    def delete_topic(self, topic):
        refuse(self.run(self.client.delete_topics([topic])).topic_error_codes[0][1])

    def list_topics(self):
        return sorted(self.run(self.client.list_topics()))

    def describe_topic(self, topic):
        found = self.run(self.client.describe_topics([topic]))[0]
        refuse(found["error_code"])
        return [{"partition": p["partition"], "leader": p["leader"], "replicas": p["replicas"], "isr": p["isr"]}
                for p in sorted(found["partitions"], key=lambda p: p["partition"])]

    def create_partitions(self, topic, count):
        self.run(self.client.create_partitions({topic: aadmin.NewPartitions(count)}))

    def describe_configs(self, type, name):
        code, text, _, _, entries = self.run(self.client.describe_configs([ConfigResource(type, name)]))[0].resources[0]
        refuse(code, text)
        # Name, value, read only, source, sensitive, synonyms: what version 1 and later say.
        return {e[0]: {"value": e[1], "default": e[3] == 5, "source": e[3]} for e in entries}

    def alter_configs(self, type, name, configs):
        for found in self.run(self.client.alter_configs([ConfigResource(type, name, configs)])):
            for resource in found.resources:
                refuse(resource[0], resource[1])

    def delete_records(self, topic, partition, before):
        part = aiokafka.TopicPartition(topic, partition)
        return self.run(self.client.delete_records({part: aadmin.RecordsToDelete(before_offset=before)}))[part]

    def describe_cluster(self):
        found = self.run(self.client.describe_cluster())
        return {"brokers": [b["node_id"] for b in found["brokers"]], "controller": found["controller_id"], "cluster": found.get("cluster_id")}

    def list_groups(self):
        return sorted(g[0] for g in self.run(self.client.list_consumer_groups()))

    def group_offsets(self, group):
        found = self.run(self.client.list_consumer_group_offsets(group))
        return {f"{p.topic}-{p.partition}": at.offset for p, at in found.items()}


def administer():
    c.administer(Administration(next(c.lines())["bootstrap"]), code_of)


class Listener(aiokafka.ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        c.say(assigned=sorted(map(list, assigned)))

    def on_partitions_revoked(self, revoked):
        c.say(revoked=sorted(map(list, revoked)))


async def group():
    """A member of a group; commands of stdin are read between polls."""
    request = next(c.lines())
    if request["protocol"] != "classic":
        c.say(lacks=True)
        return
    member = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=request["bootstrap"], group_id=request["group"], enable_auto_commit=False,
        auto_offset_reset="earliest", session_timeout_ms=request["session_timeout_ms"],
        heartbeat_interval_ms=c.HEARTBEAT_MS)
    member.subscribe(request["topics"], listener=Listener())
    await member.start()
    commands = c.Commands()
    while True:
        for records in (await member.getmany(timeout_ms=100)).values():
            for record in records:
                tell(record)
        match commands.next():
            case "commit":
                try:
                    await member.commit()
                    at = {f"{p.topic}-{p.partition}": await member.committed(p) for p in member.assignment()}
                    c.say(committed={place: offset for place, offset in at.items() if offset is not None})
                except aiokafka.errors.KafkaError as error:
                    c.say(error={"code": code_of(error), "text": str(error)})
            case "close":
                break
    await member.stop()
    c.say(done=True)


if __name__ == "__main__":
    c.main({"describe": describe, "produce": lambda: asyncio.run(produce()), "consume": lambda: asyncio.run(consume()),
            "admin": administer, "group": lambda: asyncio.run(group())})
