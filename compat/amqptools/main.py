"""Runs scenarios with librabbitmq's command-line tools and prints one line for each: python main.py URI [SCENARIO ...]"""

import contextlib
import subprocess
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import harness  # noqa: E402
from harness import expect, given  # noqa: E402


class Broker:
    def __init__(self, uri):
        self.uri = uri.rstrip("/")
        self.queue = f"compat.amqptools.{uuid.uuid4().hex[:12]}"

    def call(self, tool, *arguments, body="", uri=None):
        """What the tool prints, and its exit status."""
        done = subprocess.run([f"amqp-{tool}", "--url", uri or self.uri, *arguments], input=body, capture_output=True, text=True, timeout=10)
        return (done.stdout + done.stderr).strip(), done.returncode

    def clean_up(self):
        self.call("delete-queue", "--queue", self.queue)


def get(broker):
    expect("declared", broker.call("declare-queue", "--queue", broker.queue, "--durable"), (broker.queue, 0))
    expect("from an empty queue", broker.call("get", "--queue", broker.queue)[1], 2)
    expect("published", broker.call("publish", "--routing-key", broker.queue, "--persistent", "--body", "Grüß Gott"), ("", 0))
    expect("message", broker.call("get", "--queue", broker.queue), ("Grüß Gott", 0))


def consume(broker):
    broker.call("declare-queue", "--queue", broker.queue, "--durable")
    for text in "one", "two", "three":
        broker.call("publish", "--routing-key", broker.queue, "--content-type", "text/plain", body=text)
    said, status = broker.call("consume", "--queue", broker.queue, "--count", "3", "cat")
    expect("messages", (said, status), ("onetwothree", 0))
    expect("nothing left", broker.call("delete-queue", "--queue", broker.queue), ("0", 0))


def bind(broker):
    """A consumer that binds a queue of its own to an exchange."""
    command = ["amqp-consume", "--url", broker.uri, "--exclusive", "--exchange", "amq.topic", "--routing-key", f"{broker.queue}.#", "--count", "1", "cat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as consumer:
        first = consumer.stdout.readline()  # `Server provided queue name: ...`
        expect(first, "amq.gen-" in first, True)
        for _ in range(50):  # it is bound some time after that
            broker.call("publish", "--exchange", "amq.topic", "--routing-key", f"{broker.queue}.a.b", "--body", "by topic")
            with contextlib.suppress(subprocess.TimeoutExpired):
                consumer.wait(0.2)
                break
        said, _ = consumer.communicate(timeout=2)
    expect("message", (said.strip(), consumer.returncode), ("by topic", 0))


def tls(broker):
    uri = given("COMPAT_URI_TLS").rstrip("/")
    said, status = broker.call("declare-queue", "--queue", broker.queue, "--durable", "--cacert", given("COMPAT_CA"), "--ssl", uri=uri)
    expect("declared", (said, status), (broker.queue, 0))


def refused(broker):
    said, status = broker.call("get", "--queue", broker.queue)
    expect(said, (status, f"NOT_FOUND - no queue '{broker.queue}' in vhost '/'" in said), (1, True))
    said, status = broker.call("get", "--queue", broker.queue, uri=broker.uri.replace("guest:guest", "guest:wrong"))
    expect(said, (status, "ACCESS_REFUSED" in said), (1, True))


SCENARIOS = {
    "amqp-tools-get": get, "amqp-tools-consume": consume, "amqp-tools-bind": bind, "amqp-tools-tls": tls, "amqp-tools-refused": refused,
}

if __name__ == "__main__":
    harness.main(SCENARIOS, Broker)
