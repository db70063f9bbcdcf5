# SPDX-License-Identifier: Apache-2.0
"""A librdkafka producer that sends records for some seconds and leaves its metrics to telemetry."""

import sys
import time

import confluent_kafka as ck

bootstrap, client_id, topic, seconds = sys.argv[1:]
producer = ck.Producer({"bootstrap.servers": bootstrap, "client.id": client_id})
until = time.monotonic() + float(seconds)
while time.monotonic() < until:
    producer.produce(topic, b"v")
    producer.poll(0.05)
producer.flush(10)
