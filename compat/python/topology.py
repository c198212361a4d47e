"""Exchanges, bindings and queues that are not plain."""

import pika
from pika.exceptions import ChannelClosedByBroker

from broker import depth, expect, take, texts_until, until


def alternate_exchange(broker):
    main, other, queue = broker.exchange("main"), broker.exchange("other"), broker.queue("unrouted")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(other, "fanout", durable=True)
        channel.exchange_declare(main, "direct", durable=True, arguments={"alternate-exchange": other})
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, other)
        channel.confirm_delivery()
        channel.basic_publish(main, "nobody", b"caught", mandatory=True)  # an UnroutableError if it were returned
        method, _, body = take(channel, queue)
        expect("message", (method.exchange, method.routing_key, body), (main, "nobody", "caught"))


def exchange_to_exchange(broker):
    source, middle, queue = broker.exchange("source"), broker.exchange("middle"), broker.queue("end")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(source, "topic", durable=True)
        channel.exchange_declare(middle, "fanout", durable=True)
        channel.queue_declare(queue, durable=True)
        channel.exchange_bind(destination=middle, source=source, routing_key="a.#")
        channel.queue_bind(queue, middle)
        for key in "a.b", "b.a":
            channel.basic_publish(source, key, key.encode())
        expect("message", take(channel, queue)[2], "a.b")
        channel.exchange_unbind(destination=middle, source=source, routing_key="a.#")
        channel.confirm_delivery()
        channel.basic_publish(source, "a.b", b"to nobody")
        expect("left", depth(channel, queue), 0)


def headers_exchange(broker):
    exchange = broker.exchange("headers")
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange, "headers", durable=True)
        interests = {
            "all": {"x-match": "all", "format": "pdf", "pages": 3},
            "any": {"x-match": "any", "format": "pdf", "pages": 3},
        }
        queues = {}
        for name, arguments in interests.items():
            queues[name] = channel.queue_declare("", exclusive=True).method.queue
            channel.queue_bind(queues[name], exchange, arguments=arguments)
            channel.queue_bind(queues[name], exchange, arguments={"x-match": "all", "end": True})
        for text, headers in {
            "both": {"format": "pdf", "pages": 3}, "one": {"format": "pdf", "pages": 4}, "none": {"format": "txt"},
            "end": {"end": True},
        }.items():
            channel.basic_publish(exchange, "", text.encode(), pika.BasicProperties(headers=headers))
        expect("all", texts_until("end", channel, queues["all"]), ["both"])
        expect("any", texts_until("end", channel, queues["any"]), ["both", "one"])


def exclusive_queues(broker):
    with broker.connect() as owner, broker.connect() as stranger:
        queue = owner.channel().queue_declare("", exclusive=True).method.queue
        if not queue.startswith("amq.gen-"):
            raise AssertionError(f"named by the server: {queue!r}")
        try:
            depth(stranger.channel(), queue)
            raise AssertionError("another connection may use an exclusive queue")
        except ChannelClosedByBroker as error:
            expect("reply code", error.reply_code, 405)
        owner.close()

        def gone():
            try:
                depth(stranger.channel(), queue)
            except ChannelClosedByBroker as error:
                return error.reply_code == 404
            return False

        until("it goes with its connection", gone)


def auto_delete(broker):
    queue, exchange = f"{broker.prefix}.fleeting", f"{broker.prefix}.fleeting"
    with broker.connect() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange, "fanout", durable=True, auto_delete=True)
        channel.queue_declare(queue, durable=True, auto_delete=True)
        channel.queue_bind(queue, exchange)
        tag = channel.basic_consume(queue, lambda *_: None)
        expect("while it is consumed from", channel.queue_declare(queue, passive=True).method.consumer_count, 1)
        channel.basic_cancel(tag)
        for what, look in ("queue", lambda each: depth(each, queue)), (
            "exchange", lambda each: each.exchange_declare(exchange, passive=True),
        ):
            try:
                look(connection.channel())
                raise AssertionError(f"the {what} is still there")
            except ChannelClosedByBroker as error:
                expect("reply code", error.reply_code, 404)
