# SPDX-License-Identifier: Apache-2.0
"""A librdkafka producer that sends records until stdin ends and leaves its metrics to telemetry."""

import sys
import threading

import confluent_kafka as ck

bootstrap, client_id, topic = sys.argv[1:]
producer = ck.Producer({"bootstrap.servers": bootstrap, "client.id": client_id})
told = threading.Thread(target=sys.stdin.read, daemon=True)
told.start()
while told.is_alive():
    producer.produce(topic, b"v")
    producer.poll(0.05)
producer.flush(60)
