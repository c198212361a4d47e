"""What the scenarios share: connections, names of their own, and waiting for messages."""

import time
import uuid

import pika

from harness import expect  # noqa: F401, the scenarios take it from here

PATIENCE = 4  # seconds to wait for one message


class Broker:
    def __init__(self, uri):
        self.uri = uri
        self.prefix = f"compat.python.{uuid.uuid4().hex[:12]}"
        self.queues = []
        self.exchanges = []

    def parameters(self, uri=None):
        parameters = pika.URLParameters(uri or self.uri)
        parameters.socket_timeout = PATIENCE
        parameters.blocked_connection_timeout = PATIENCE
        return parameters

    def connect(self, uri=None):
        return pika.BlockingConnection(self.parameters(uri))

    def queue(self, label):
        """A queue name that no other run uses; clean_up deletes the queue."""
        self.queues.append(f"{self.prefix}.{label}")
        return self.queues[-1]

    def exchange(self, label):
        """The same for an exchange."""
        self.exchanges.append(f"{self.prefix}.{label}")
        return self.exchanges[-1]

    def clean_up(self):
        if not self.queues and not self.exchanges:
            return
        with self.connect() as connection:
            channel = connection.channel()
            for queue in self.queues:
                channel.queue_delete(queue)
            for exchange in self.exchanges:
                channel.exchange_delete(exchange)


def messages(channel, queue, auto_ack=False):
    """The queue's messages as (method, properties, body); gives up when none comes for a while."""
    for message in channel.consume(queue, auto_ack=auto_ack, inactivity_timeout=PATIENCE):
        if message[0] is None:
            raise TimeoutError(f"no message within {PATIENCE} s from {queue}")
        yield message


def texts_until(last, channel, queue):
    """The bodies that the queue holds before the one that says it is the last."""
    texts = []
    for _, _, body in messages(channel, queue, auto_ack=True):
        if body.decode() == last:
            break
        texts.append(body.decode())
    channel.cancel()
    return texts


def depth(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def take(channel, queue):
    """One message by basic.get, which may take a moment to come."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method:
            return method, properties, body.decode()
        time.sleep(0.02)
    raise TimeoutError(f"no message within {PATIENCE} s in {queue}")


def until(what, condition, channel=None):
    """Waits, with the connection served meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE} s")
        if channel:
            channel.connection.process_data_events(time_limit=0.02)
        else:
            time.sleep(0.02)
