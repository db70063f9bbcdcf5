# SPDX-License-Identifier: Apache-2.0
"""What the Python clients share: verbs, lines of JSON, bytes as base64.

test/interop/client/doc.go describes the convention.
"""

import base64
import json
import queue
import sys
import threading
import time

DEADLINE_S = 180
HEARTBEAT_MS = 500


class Lacks(Exception):
    """The client has no such function."""


class Refused(Exception):
    """The broker answered with an error code."""

    def __init__(self, code, text=""):
        super().__init__(text)
        self.code = code


def to_bytes(text):
    return None if text is None else base64.b64decode(text)


def to_text(data):
    return None if data is None else base64.b64encode(data).decode()


def say(**line):
    print(json.dumps(line), flush=True)


def lines():
    for line in iter(sys.stdin.readline, ""):
        yield json.loads(line)


def record_line(partition, offset, timestamp, key, value, headers):
    say(record={
        "partition": partition, "offset": offset, "timestamp": timestamp,
        "key": to_text(key), "value": to_text(value),
        "headers": [[name, to_text(content)] for name, content in headers or []],
    })


def fields(record):
    """What produce needs of a record of the request."""
    return (record["partition"], record["timestamp"], to_bytes(record["key"]), to_bytes(record["value"]),
            [(name, to_bytes(content)) for name, content in record["headers"]])


class Deadline:
    """Ends a loop that the broker does not end."""

    def __init__(self, what):
        self.what = what
        self.end = time.monotonic() + DEADLINE_S

    def check(self):
        if time.monotonic() > self.end:
            raise TimeoutError(f"{self.what}: nothing more after {DEADLINE_S} s")


class Commands:
    """The lines {"do": ...} of stdin, read beside the client's own loop."""

    def __init__(self):
        self.waiting = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in lines():
            self.waiting.put(line["do"])
        self.waiting.put("close")

    def next(self):
        try:
            return self.waiting.get_nowait()
        except queue.Empty:
            return None


def administer(admin, code_of):
    """Answers calls from stdin with the methods of admin, one line each."""
    for request in lines():
        call = request.pop("call")
        try:
            method = getattr(admin, call, None)
            if method is None:
                raise Lacks(call)
            say(answer=method(**request))
        except Lacks:
            say(lacks=True)
        except Exception as error:  # whatever it is, the test shall see it
            say(error={"code": code_of(error), "text": f"{type(error).__name__}: {error}"})


def main(verbs):
    verbs[sys.argv[1]]()
