"""Exchanges, connections, what is refused, and what fails, with py-amqp."""

import amqp
from harness import control, expect, given
from pyamqp_broker import PATIENCE, body, depth, durable, exchange, take, temporary, text, texts_until, until


def alternate_exchange(broker):
    main, other, queue = broker.exchange("main"), broker.exchange("other"), broker.queue("unrouted")
    with broker.connect(confirm_publish=True) as connection:
        channel = connection.channel()
        exchange(channel, other, "fanout")
        exchange(channel, main, "direct", alternate_exchange=other)
        durable(channel, queue)
        channel.queue_bind(queue, other)
        channel.basic_publish(text("caught"), main, "nobody", mandatory=True)  # were it returned, py-amqp would raise
        got = take(channel, queue)
        expect("message", (got.delivery_info["exchange"], got.delivery_info["routing_key"], body(got)), (main, "nobody", "caught"))


def exchange_to_exchange(broker):
    source, middle, queue = broker.exchange("source"), broker.exchange("middle"), broker.queue("end")
    with broker.connect(confirm_publish=True) as connection:
        channel = connection.channel()
        exchange(channel, source, "topic")
        exchange(channel, middle, "fanout")
        durable(channel, queue)
        channel.exchange_bind(middle, source, "a.#")
        channel.queue_bind(queue, middle)
        for key in "a.b", "b.a":
            channel.basic_publish(text(key), source, key)
        expect("message", body(take(channel, queue)), "a.b")
        channel.exchange_unbind(middle, source, "a.#")
        channel.basic_publish(text("to nobody"), source, "a.b")
        expect("left", depth(channel, queue), 0)


def headers_exchange(broker):
    name = broker.exchange("headers")
    with broker.connect() as connection:
        channel = connection.channel()
        exchange(channel, name, "headers")
        queues = {}
        for match in "all", "any":
            queues[match] = temporary(channel)
            channel.queue_bind(queues[match], name, arguments={"x-match": match, "format": "pdf", "pages": 3})
            channel.queue_bind(queues[match], name, arguments={"x-match": "all", "end": True})
        for label, headers in {
            "both": {"format": "pdf", "pages": 3}, "one": {"format": "pdf", "pages": 4}, "none": {"format": "txt"}, "end": {"end": True},
        }.items():
            channel.basic_publish(text(label, application_headers=headers), name)
        expect("all", texts_until("end", channel, queues["all"]), ["both"])
        expect("any", texts_until("end", channel, queues["any"]), ["both", "one"])


def code_of(function, *arguments, **settings):
    """The code with which the broker refuses."""
    try:
        function(*arguments, **settings)
    except amqp.AMQPError as error:
        return error.reply_code
    raise AssertionError("not refused")


def exclusive_queues(broker):
    with broker.connect() as stranger:
        with broker.connect() as owner:
            queue = temporary(owner.channel())
            expect(f"named by the server: {queue}", queue.startswith("amq.gen-"), True)
            expect("to another connection", code_of(depth, stranger.channel(), queue), 405)
        until("it goes with its connection", lambda: code_of(depth, stranger.channel(), queue) == 404)


def auto_delete(broker):
    name = f"{broker.prefix}.fleeting"
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(name, "fanout", durable=True, auto_delete=True)
        channel.queue_declare(name, durable=True, auto_delete=True)
        channel.queue_bind(name, name)
        tag = channel.basic_consume(name)
        expect("while it is consumed from", channel.queue_declare(name, passive=True).consumer_count, 1)
        channel.basic_cancel(tag)
        expect("the queue", code_of(depth, connection.channel(), name), 404)
        expect("the exchange", code_of(connection.channel().exchange_declare, name, "fanout", passive=True), 404)


def many_channels(broker):
    queue = broker.queue("many")
    with broker.connect() as connection:
        channels, seen = [connection.channel() for _ in range(200)], set()
        durable(channels[0], queue)

        def consume(channel):
            def on_message(message):
                seen.add(channel.channel_id)
                channel.basic_ack(message.delivery_tag)

            channel.basic_consume(queue, callback=on_message)

        for channel in channels:
            consume(channel)
        for channel in channels:
            channel.basic_publish(text("x"), routing_key=queue)
        until("a message for each", lambda: len(seen) == 200, connection)


def connection_options(broker):
    uri = given("COMPAT_URI_VHOST")
    settings = dict(heartbeat=7, client_properties={"connection_name": "compat: options"})
    for method in "PLAIN", "AMQPLAIN":
        with broker.connect(uri, login_method=method, **settings) as connection:
            expect("heartbeat", connection.heartbeat, 7)
            expect("as the server wants", (connection.channel_max, connection.frame_max), (2047, 131072))
            expect("product", connection.server_properties["product"], "RabbitMQ")
            channel = connection.channel()
            queue = temporary(channel)
            channel.basic_publish(text("x" * 100_000), routing_key=queue)
            expect("body", len(take(channel, queue).body), 100_000)

    expect("a wrong password", code_of(broker.connect, broker.uri.replace("guest:guest", "guest:wrong")), 403)
    expect("a vhost that is not there", code_of(broker.connect, broker.uri + "no-such-vhost"), 530)


def tls(broker):
    authority = {"ca_certs": given("COMPAT_CA"), "server_hostname": "localhost"}
    with broker.connect(given("COMPAT_URI_TLS"), ssl=authority) as connection:
        channel = connection.channel()
        queue = temporary(channel)
        channel.basic_publish(text("secret" * 100_000), routing_key=queue)
        expect("body", len(take(channel, queue).body), 600_000)


def missing_exchange(broker):
    name = f"{broker.prefix}.missing"
    with broker.connect(confirm_publish=True) as connection:
        try:
            connection.channel().basic_publish(text("lost"), name, "k")
            raise AssertionError("accepted")
        except amqp.NotFound as error:
            expect("reply", error.reply_text, f"NOT_FOUND - no exchange '{name}' in vhost '/'")
        expect("another channel", connection.channel().is_open, True)


def permission_denied(broker):
    with broker.connect(given("COMPAT_URI_LIMITED"), confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_delete(durable(channel, f"allowed.{broker.prefix}"))
        expect("declare", code_of(durable, connection.channel(), broker.prefix), 403)
        expect("publish", code_of(connection.channel().basic_publish, text("x"), "amq.fanout"), 403)
        alternate = {"alternate_exchange": "no"}
        expect("alternate exchange", code_of(exchange, connection.channel(), "allowed.x", "direct", **alternate), 403)


def recovery(broker):
    """The broker is restarted under a publisher and a consumer: an application of py-amqp connects anew."""
    given("COMPAT_CONTROL")
    queues = {kind: broker.queue(kind) for kind in ("quorum", "classic")}
    connection = broker.connect(confirm_publish=True)
    channel = connection.channel()
    for kind, queue in queues.items():
        durable(channel, queue, x_queue_type=kind)
        for number in range(100):
            channel.basic_publish(text(str(number), delivery_mode=2), routing_key=queue)
    control("restart")
    try:
        connection.drain_events(timeout=PATIENCE)
        raise AssertionError("the connection outlived the broker")
    except (OSError, amqp.AMQPError):
        pass
    with broker.connect() as again:
        channel = again.channel()
        for kind, queue in queues.items():
            expect(kind, [body(take(channel, queue)) for _ in range(100)], [str(number) for number in range(100)])


def blocked(broker):
    given("COMPAT_BLOCK")
    queue, events = broker.queue("blocked"), []
    told = dict(on_blocked=lambda reason: events.append(reason), on_unblocked=lambda: events.append("unblocked"))
    with broker.connect(**told) as connection:
        channel = connection.channel()
        durable(channel, queue)
        control("block")
        try:
            channel.basic_publish(text("waits"), routing_key=queue)
            until("blocked", lambda: events, connection)
        finally:
            control("unblock")
        until("unblocked", lambda: "unblocked" in events, connection)
        until("the message", lambda: depth(channel, queue) == 1)
