"""What py-amqp's scenarios share: connections, names of their own, and waiting for messages."""

import socket
import time
import urllib.parse
import uuid

import amqp

PATIENCE = 5  # seconds for one expected event


class Broker:
    def __init__(self, uri):
        self.uri = uri
        self.prefix = f"compat.pyamqp.{uuid.uuid4().hex[:12]}"
        self.queues = []
        self.exchanges = []

    def connect(self, uri=None, **settings):
        """A connection; with `confirm_publish`, each publish waits for its confirm."""
        address = urllib.parse.urlsplit(uri or self.uri)
        connection = amqp.Connection(
            host=f"{address.hostname}:{address.port or 5672}", userid=address.username, password=address.password,
            virtual_host=urllib.parse.unquote(address.path[1:]) or "/", connect_timeout=PATIENCE, read_timeout=PATIENCE, **settings,
        )
        connection.connect()
        return connection

    def queue(self, label):
        """A queue name that no other run uses; clean_up deletes the queue."""
        self.queues.append(f"{self.prefix}.{label}")
        return self.queues[-1]

    def exchange(self, label):
        """The same for an exchange."""
        self.exchanges.append(f"{self.prefix}.{label}")
        return self.exchanges[-1]

    def clean_up(self):
        with self.connect() as connection:
            channel = connection.channel()
            for queue in self.queues:
                channel.queue_delete(queue)
            for exchange in self.exchanges:
                channel.exchange_delete(exchange)


def text(body, **properties):
    return amqp.Message(body, **properties)


def durable(channel, queue, **arguments):
    channel.queue_declare(queue, durable=True, auto_delete=False, arguments=with_dashes(arguments))
    return queue


def temporary(channel):
    """A queue named by the server, which goes with its connection."""
    return channel.queue_declare("", exclusive=True, auto_delete=False).queue


def exchange(channel, name, kind, **arguments):
    channel.exchange_declare(name, kind, durable=True, auto_delete=False, arguments=with_dashes(arguments))
    return name


def with_dashes(arguments):
    return {name.replace("_", "-"): value for name, value in arguments.items()}


def depth(channel, queue):
    return channel.queue_declare(queue, passive=True).message_count


def body(message):
    return message.body if isinstance(message.body, str) else bytes(message.body).decode()


def take(channel, queue):
    """One message by basic.get, which may take a moment to come."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if message := channel.basic_get(queue, no_ack=True):
            return message
        time.sleep(0.02)
    raise TimeoutError(f"no message within {PATIENCE} s in {queue}")


def until(what, condition, connection=None):
    """Waits, with the connection served meanwhile."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE} s")
        if connection:
            serve(connection, 0.05)
        else:
            time.sleep(0.02)


def serve(connection, seconds):
    """Takes what comes, at least for this long if nothing does."""
    try:
        connection.drain_events(timeout=seconds)
    except socket.timeout:
        pass


def texts_until(last, channel, queue):
    """The bodies that the queue holds before the one that says it is the last."""
    texts = []
    tag = channel.basic_consume(queue, no_ack=True, callback=lambda message: texts.append(body(message)))
    until(f"{last!r} in {queue}", lambda: last in texts, channel.connection)
    channel.basic_cancel(tag)
    return texts[: texts.index(last)]
