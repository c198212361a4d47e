"""Connections, what is refused, and what fails."""

import ssl

import pika
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from broker import PATIENCE, depth, expect, take, until
from harness import control, given


def connection_options(broker):
    parameters = broker.parameters(given("COMPAT_URI_VHOST"))
    parameters.heartbeat = 7
    parameters.channel_max = 20
    parameters.frame_max = 8192
    parameters.client_properties = {"connection_name": "compat: options"}
    with pika.BlockingConnection(parameters) as connection:
        tuned = connection._impl.params
        expect("tuned", (tuned.heartbeat, tuned.channel_max, tuned.frame_max), (7, 20, 8192))
        server = connection._impl.server_properties
        expect("product", server["product"], b"RabbitMQ" if isinstance(server["product"], bytes) else "RabbitMQ")
        for capability in "basic.nack", "consumer_cancel_notify", "publisher_confirms", "exchange_exchange_bindings":
            expect(capability, server["capabilities"][capability], True)
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"x" * 100_000)  # in frames of 8192
        expect("body", len(take(channel, queue)[2]), 100_000)

    for uri, wanted in (
        (broker.uri.replace("guest:guest", "guest:wrong"), ProbableAuthenticationError),
        (broker.uri + "no-such-vhost", ProbableAccessDeniedError),
    ):
        try:
            broker.connect(uri).close()
            raise AssertionError(f"{uri} is let in")
        except AMQPConnectionError as error:
            expect("refused", type(error).__name__, wanted.__name__)


def tls(broker):
    parameters = broker.parameters(given("COMPAT_URI_TLS"))
    context = ssl.create_default_context(cafile=given("COMPAT_CA"))
    parameters.ssl_options = pika.SSLOptions(context, "localhost")
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, b"secret" * 100_000)
        expect("body", take(channel, queue)[2], "secret" * 100_000)


def missing_exchange(broker):
    with broker.connect() as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            channel.basic_publish(f"{broker.prefix}.missing", "k", b"lost")
            raise AssertionError("accepted")
        except ChannelClosedByBroker as error:
            expect("reply code", error.reply_code, 404)
            expect("reply text", error.reply_text, f"NOT_FOUND - no exchange '{broker.prefix}.missing' in vhost '/'")
        expect("another channel", connection.channel().is_open, True)


def permission_denied(broker):
    with broker.connect(given("COMPAT_URI_LIMITED")) as connection:
        channel = connection.channel()
        queue = f"allowed.{broker.prefix}"
        channel.queue_declare(queue, durable=True)
        channel.queue_delete(queue)
        for what, forbidden in {
            "declare": lambda channel: channel.queue_declare(broker.prefix, durable=True),
            "publish": lambda channel: channel.basic_publish("amq.fanout", "", b"x"),
            "consume": lambda channel: channel.exchange_declare("allowed.x", "direct", arguments={"alternate-exchange": "no"}),
        }.items():
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                forbidden(channel)
                raise AssertionError(f"{what} is allowed")
            except ChannelClosedByBroker as error:
                expect(what, (error.reply_code, error.reply_text[:14]), (403, "ACCESS_REFUSED"))


def recovery(broker):
    """The broker is restarted under a publisher and a consumer: an application of pika connects anew."""
    given("COMPAT_CONTROL")
    queue, fleeting = broker.queue("recovery"), broker.queue("classic")
    confirmed, received = [], set()
    connection = broker.connect()
    channel = connection.channel()
    channel.confirm_delivery()
    for name, kind in (queue, "quorum"), (fleeting, "classic"):
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
    for number in range(100):
        for name in queue, fleeting:
            channel.basic_publish("", name, f"{name} {number}".encode(), pika.BasicProperties(delivery_mode=2))
            confirmed.append(f"{name} {number}")
    control("restart")
    try:
        connection.process_data_events(time_limit=PATIENCE)
        raise AssertionError("the connection outlived the broker")
    except AMQPConnectionError:
        pass
    with broker.connect() as connection:
        channel = connection.channel()
        for name in queue, fleeting:
            channel.basic_consume(name, lambda *message: received.add(message[3].decode()), auto_ack=True)
        until("all that was confirmed", lambda: len(received) == 200, channel)
        expect("received", received, set(confirmed))


def blocked(broker):
    given("COMPAT_BLOCK")
    queue = broker.queue("blocked")
    parameters = broker.parameters()
    parameters.blocked_connection_timeout = None
    events = []
    with pika.BlockingConnection(parameters) as connection:
        connection.add_on_connection_blocked_callback(lambda _, frame: events.append(frame.method.reason))
        connection.add_on_connection_unblocked_callback(lambda *_: events.append("unblocked"))
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        control("block")
        try:
            channel.basic_publish("", queue, b"waits")
            until("blocked", lambda: events, channel)
            if not events[0].startswith("low on "):
                raise AssertionError(f"blocked because of {events}")
        finally:
            control("unblock")
        until("unblocked", lambda: "unblocked" in events, channel)
        until("the message", lambda: depth(channel, queue) == 1)


