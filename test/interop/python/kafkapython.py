# SPDX-License-Identifier: Apache-2.0
"""kafka-python, by the convention of convention.py."""

import re

import kafka
import kafka.errors
from kafka import admin as kadmin
from kafka import codec

import convention as c


def code_of(error):
    if isinstance(error, c.Refused):
        return error.code
    return getattr(error, "errno", None)


def describe():
    available = {"gzip": codec.has_gzip(), "snappy": codec.has_snappy(), "lz4": codec.has_lz4(), "zstd": codec.has_zstd()}
    c.say(version=kafka.__version__, codecs=["none"] + [name for name, here in available.items() if here])


def produce():
    request = next(c.lines())
    producer = kafka.KafkaProducer(
        bootstrap_servers=request["bootstrap"], compression_type=None if request["codec"] == "none" else request["codec"],
        enable_idempotence=request["idempotent"], acks="all" if request["idempotent"] else 1, linger_ms=20)
    sent = []
    for record in request["records"]:
        partition, timestamp, key, value, headers = c.fields(record)
        sent.append(producer.send(request["topic"], value=value, key=key, headers=headers, partition=partition, timestamp_ms=timestamp))
    producer.flush(c.DEADLINE_S)
    c.say(offsets=[future.get(c.DEADLINE_S).offset for future in sent])
    producer.close()


def tell(record):
    c.record_line(record.partition, record.offset, record.timestamp, record.key, record.value, record.headers)


def consume():
    for request in c.lines():
        read(request)


def read(request):
    reader = kafka.KafkaConsumer(bootstrap_servers=request["bootstrap"], group_id=None, auto_offset_reset="none", check_crcs=True)
    parts = [kafka.TopicPartition(request["topic"], p) for p in request["partitions"]]
    reader.assign(parts)
    if "time" in request:
        for part, found in reader.offsets_for_times({part: request["time"] for part in parts}).items():
            if found is None:
                reader.seek_to_end(part)
            else:
                reader.seek(part, found.offset)
    elif "offset" in request:
        for part in parts:
            reader.seek(part, request["offset"])
    else:
        reader.seek_to_beginning(*parts)
    deadline, left = c.Deadline("consume"), request["count"]
    while left > 0:
        deadline.check()
        for records in reader.poll(timeout_ms=1000).values():
            for record in records:
                tell(record)
                left -= 1
    reader.close()
    c.say(done=True)


class Administration:
    """The calls that kafka-python's KafkaAdminClient offers."""

    def __init__(self, bootstrap):
        self.client = kadmin.KafkaAdminClient(bootstrap_servers=bootstrap)

    def create_topic(self, topic, partitions, replicas, configs, validate_only=False):
        new = {"num_partitions": partitions, "replication_factor": replicas, "configs": configs}
        self.client.create_topics({topic: new}, validate_only=validate_only)

    def delete_topic(self, topic):
        self.client.delete_topics([topic])

    def list_topics(self):
        return sorted(self.client.list_topics())

    def describe_topic(self, topic):
        found = self.client.describe_topics([topic])[0]
        if found["error_code"]:
            raise c.Refused(found["error_code"])
        return [{"partition": p["partition_index"], "leader": p["leader_id"], "replicas": p["replica_nodes"], "isr": p["isr_nodes"]}
                for p in sorted(found["partitions"], key=lambda p: p["partition_index"])]

    def describe_topic_partitions(self, topic):
        found = self.client.describe_topic_partitions([topic])
        if found["topics"][0]["error_code"]:
            raise c.Refused(found["topics"][0]["error_code"])
        return [p["partition_index"] for p in found["topics"][0]["partitions"]]

    def create_partitions(self, topic, count):
        self.client.create_partitions({topic: count})

    def describe_configs(self, type, name):
        found = self.client.describe_configs([kadmin.ConfigResource(type.upper(), name)], config_filter="all")[type][name]
        return {key: {"value": e["value"], "default": e["config_source"] == "DEFAULT_CONFIG",
                      "source": kadmin.ConfigSourceType[e["config_source"]].value} for key, e in found.items()}

    def alter(self, type, name, configs, incremental):
        resource = kadmin.ConfigResource(type.upper(), name, configs)
        said = self.client.alter_configs([resource], raise_on_unknown=False, incremental=incremental)[type][name]
        if said != "OK":  # the client makes a text of the error
            raise c.Refused(int(re.search(r"\[Error (-?\d+)\]", said)[1]), said)

    def alter_configs(self, type, name, configs):
        self.alter(type, name, configs, False)

    def incremental_alter_configs(self, type, name, operations):
        self.alter(type, name, {o["key"]: (o["operation"].upper(), o.get("value")) for o in operations}, True)

    def list_config_resources(self, type):
        return sorted(self.client.list_config_resources([type.upper()]).get(type, []))

    def delete_records(self, topic, partition, before):
        part = kafka.TopicPartition(topic, partition)
        return self.client.delete_records({part: before})[part]["low_watermark"]

    def list_offsets(self, topic, partition, at):
        part = kafka.TopicPartition(topic, partition)
        spec = kadmin.OffsetSpec[at.upper()] if isinstance(at, str) else kadmin.OffsetTimestamp(at)
        return self.client.list_partition_offsets({part: spec})[part].offset

    def describe_cluster(self):
        found = self.client.describe_cluster()
        return {"brokers": [b["broker_id"] for b in found["brokers"]], "controller": found["controller_id"], "cluster": found["cluster_id"]}

    def describe_log_dirs(self, topic, partition):
        directory = self.client.describe_log_dirs({topic: [partition]})[0]["log_dirs"][0]
        return directory["topics"][0]["partitions"][0]["partition_size"]

    def describe_features(self):
        return {name: f["finalized"][1] for name, f in self.client.describe_features().items()}

    def describe_quorum(self):
        found = self.client.describe_metadata_quorum()
        part = found["topics"][0]["partitions"][0]
        return {"leader": part["leader_id"], "voters": [v["replica_id"] for v in part["current_voters"]]}

    def describe_producers(self, topic, partition):
        part = kafka.TopicPartition(topic, partition)
        return len(self.client.describe_producers([part])[part].active_producers)

    def elect_leaders(self, topic, partition):
        found = self.client.elect_leaders(0, {topic: [partition]}, raise_errors=False)
        result = found.replica_election_results[0].partition_result[0]
        if result.error_code:
            raise c.Refused(result.error_code, result.error_message)

    def list_reassignments(self):
        return len(self.client.list_partition_reassignments())

    def list_groups(self):
        return sorted(g["group_id"] for g in self.client.list_groups())

    def group_offsets(self, group):
        found = self.client.list_group_offsets([group])[group]
        return {f"{p.topic}-{p.partition}": at.offset for p, at in found.items()}

    def delete_group(self, group):
        self.client.delete_groups([group])


def administer():
    c.administer(Administration(next(c.lines())["bootstrap"]), code_of)


class Listener(kafka.ConsumerRebalanceListener):
    def __init__(self):
        self.began = False

    def on_partitions_assigned(self, assigned):
        self.began = self.began or bool(assigned)
        c.say(assigned=sorted(map(list, assigned)))

    def on_partitions_revoked(self, revoked):
        c.say(revoked=sorted(map(list, revoked)))


def group():
    """A member of a group; commands of stdin are read between polls."""
    request = next(c.lines())
    if request["protocol"] != "classic":
        c.say(lacks=True)
        return
    member = kafka.KafkaConsumer(
        bootstrap_servers=request["bootstrap"], group_id=request["group"], enable_auto_commit=False,
        auto_offset_reset="earliest", session_timeout_ms=request["session_timeout_ms"],
        heartbeat_interval_ms=c.HEARTBEAT_MS)
    listener = Listener()
    member.subscribe(request["topics"], listener=listener)
    commands = c.Commands()
    while True:
        # A member joins before it knows the partitions of its topics, and again
        # when it does. If poll's time ends between the leader's assignment of
        # that second time and the answer to its SyncGroup, version 3.0.12
        # forgets the answer and stays without partitions for ever.
        for records in member.poll(timeout_ms=100 if listener.began else 30_000).values():
            for record in records:
                tell(record)
        match commands.next():
            case "commit":
                try:
                    member.commit()
                    at = {f"{p.topic}-{p.partition}": member.committed(p) for p in member.assignment()}
                    c.say(committed={place: offset for place, offset in at.items() if offset is not None})
                except kafka.errors.KafkaError as error:
                    c.say(error={"code": code_of(error), "text": str(error)})
            case "close":
                break
    member.close()
    c.say(done=True)


if __name__ == "__main__":
    c.main({"describe": describe, "produce": produce, "consume": consume, "admin": administer, "group": group})
